"""The proof table: every item of the product page, in the page's order, with its Python names and its tests.

The items are in ``items/*.toml``, one file per section of the page. Of each: ``page``, the item in the page's own
words; ``python``, the names that stand for it; ``tests``, the tests that fail when it is broken, as paths below
``tests``, each run in all ``forms`` of the item, by default sync, asyncio and trio. ``shared = true`` marks items
whose code is the same for all forms, so that a test that is about none of them does for all.

``docs/proof.md`` is written from here (``tools/write_proof.py``); ``test_proof.py`` keeps the table honest, and
``tools/check_proof.py`` breaks features to see that the tests fail.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import chasquimq
import chasquimq.aio
import chasquimq.events
import chasquimq.sync

__all__ = ["FORMS", "Item", "forms_of", "items", "resolve"]

ITEMS = Path(__file__).parent / "items"
FORMS = ("sync", "asyncio", "trio")


@dataclass(frozen=True)
class Item:
    """One promise."""

    section: str
    page: str
    python: tuple[str, ...]
    tests: tuple[str, ...]
    forms: tuple[str, ...] = FORMS
    shared: bool = False

    @property
    def key(self) -> str:
        return f"{self.section}: {self.page}"


def forms_of(test: str, collected: set[str]) -> set[str]:
    """The forms in which a test is among the collected node ids; ``{"shared"}`` for one that is about no form."""
    runs = {node.removeprefix(test) for node in collected if re.fullmatch(re.escape(test) + r"(\[.*\])?", node)}
    return {_form_of(parameters) for parameters in runs}


def _form_of(parameters: str) -> str:
    """The form in the parameters of a test, ``[sync-5]`` or ``[5-sync]``; uvloop runs are beside the three."""
    found = re.search(rf"(?<![^\[-])({'|'.join((*FORMS, 'uvloop'))})(?![^\]-])", parameters)
    return found[1] if found else "shared"


def items() -> list[Item]:
    """The whole table."""
    return list(_read())


def _read() -> Iterator[Item]:
    for path in sorted(ITEMS.glob("*.toml")):
        content = tomllib.loads(path.read_text("utf-8"))
        for row in content["item"]:
            listed = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
            yield Item(section=content["title"], **{**row, **listed})


# -- names -------------------------------------------------------------------------------------------------------------

NAME = re.compile(r"(?:(?P<dunder>with|iter) )?(?P<path>[\w.]+)(?:\((?:'(?P<event>[\w-]+)'|(?P<parameter>\w+))\))?")
"""``Queue.add``, ``Queue.add(delay)``, ``Worker.on('ready')``, ``with Queue``, ``iter QueueEvents``."""
DUNDERS = {
    "with": (("__enter__", "__exit__"), ("__aenter__", "__aexit__")),
    "iter": (("__iter__", "__next__"), ("__aiter__", "__anext__")),
}


def resolve(name: str) -> None:
    """Looks a name of the table up, in both forms if it has two. Raises AssertionError if it does not exist."""
    parts = NAME.fullmatch(name)
    assert parts, f"{name!r} is no name"
    first, *rest = parts["path"].split(".")
    if first not in chasquimq.sync.__all__:
        _look_up(_member(chasquimq, first), rest, parts, 0)
        return
    for position, form in enumerate((chasquimq.sync, chasquimq.aio)):
        _look_up(_member(form, first), rest, parts, position)


def _look_up(found: Any, path: list[str], parts: re.Match[str], position: int) -> None:
    owner = found
    for name in path:
        owner, found = found, _member(found, name)
    for dunder in DUNDERS[parts["dunder"]][position] if parts["dunder"] else ():
        _member(found, dunder)
    if parts["parameter"]:
        assert parts["parameter"] in signature(found).parameters, f"{found} takes no {parts['parameter']}"
    if parts["event"]:
        found(owner("a-queue", print) if owner.__name__ == "Worker" else owner("a-queue"), parts["event"], print)


def _member(owner: Any, name: str) -> Any:
    known = {key for base in getattr(owner, "__mro__", ()) for key in vars(base).get("__annotations__", {})}
    assert hasattr(owner, name) or name in known, f"{owner} has no {name}"
    return getattr(owner, name, None)
