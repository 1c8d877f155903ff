"""The reference pages have every public name, and the guides every option."""

import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from chasquimq import BackoffOptions, RepeatOptions, WaitForResultOptions, aio, sync

from .conftest import ROOT

DOCS = ROOT / "docs"
PAGES = {page: page.read_text("utf-8") for page in (DOCS / "reference").rglob("*.md")}
SHOWN = {path for text in PAGES.values() for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}
VALUES = {"IMPLEMENTATION", "__version__"}
MODULES = (
    "chasquimq",
    "chasquimq.sync",
    "chasquimq.aio",
    "chasquimq.options",
    "chasquimq.errors",
    "chasquimq.events",
    "chasquimq.native",
    "chasquimq.embedded",
    "chasquimq.testing",
    "chasquimq.testing.aio",
    "chasquimq.pytest_plugin",
)
NOT_FOR_USERS = {"pytest_addoption"}
# Where names of types are that do not say themselves where they are from.
HOMES_OF_ALIASES = ("chasquimq.states", "chasquimq.sync.worker", "chasquimq.aio.worker")


def places(module: str, name: str) -> set[str]:
    """Where a public name may be said to be: in its module, or where its code is; of what is compiled, in its twin."""
    found = getattr(import_module(module), name)
    code = f"{getattr(found, '__module__', module)}.{getattr(found, '__qualname__', name)}"
    aliases = {f"{home}.{name}" for home in HOMES_OF_ALIASES if getattr(import_module(home), name, None) is found}
    return {f"{module}.{name}", code, code.replace("._fast.", "._fast._pure."), *aliases}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_a_page(module: str) -> None:
    names = set(import_module(module).__all__) - VALUES - NOT_FOR_USERS
    assert names
    assert not {name for name in names if not places(module, name) & SHOWN}


def test_every_value_is_on_a_page() -> None:
    package = PAGES[DOCS / "reference" / "package.md"]
    assert all(f"| `{name}` |" in package for name in VALUES)


def parameters(function: Any) -> set[str]:
    return {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def fields(options: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(options)}


OPTIONS = {
    "Queue": ("producing.md", parameters(sync.Queue)),
    "Queue.add": ("producing.md", parameters(sync.Queue.add)),
    "Worker": ("workers.md", parameters(sync.Worker)),
    "QueueEvents": ("events.md", parameters(aio.QueueEvents)),
    "BackoffOptions": ("retries.md", fields(BackoffOptions)),
    "RepeatOptions": ("repeatable.md", fields(RepeatOptions)),
    "WaitForResultOptions": ("results.md", fields(WaitForResultOptions)),
}


def told_in_tables(page: Path) -> set[str]:
    """The names in the first two columns of a page's tables: the option, or the object and its option."""
    rows = re.findall(r"^\| (.*?) \| (.*?) \|", page.read_text("utf-8"), re.MULTILINE)
    return {name for row in rows for cell in row for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("owner", OPTIONS)
def test_every_option_is_in_a_table_of_its_guide(owner: str) -> None:
    page, options = OPTIONS[owner]
    assert options
    assert not options - told_in_tables(DOCS / "guides" / page)
