"""Small faults, one feature each: where the source is changed, and the item whose tests must notice.

They are in ``mutations/*.toml``, one file per section of the table. Of each: ``item``, the words of the table;
``file``, ``old``, ``new``, a text that occurs once and what stands there instead; ``also``, further changes of that
kind, for a feature that is written once per form; ``forms``, where it breaks, by default wherever the item is proved.
A change of an asynchronous file is carried into the synchronous one that is generated from it.

``tools/check_proof.py`` runs them; ``test_proof.py`` only sees that they still fit the source.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutation", "applied", "mutations"]

FOLDER = Path(__file__).with_name("mutations")


@dataclass(frozen=True)
class Change:
    """One text in place of another."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """One fault. ``item`` is the key of an Item."""

    item: str
    changes: tuple[Change, ...]
    forms: tuple[str, ...] | None

    @property
    def name(self) -> str:
        where = f" ({', '.join(self.forms)})" if self.forms else ""
        return f"{self.item}{where}, {self.changes[0].file}"


def mutations() -> list[Mutation]:
    """All faults, in the order of the table."""
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        content = tomllib.loads(path.read_text("utf-8"))
        for row in content["mutation"]:
            changes = tuple(Change(each["file"], each["old"], each["new"]) for each in (row, *row.get("also", ())))
            forms = tuple(row["forms"]) if "forms" in row else None
            found.append(Mutation(f"{content['section']}: {row['item']}", changes, forms))
    return found


def applied(mutation: Mutation, root: Path) -> dict[Path, str]:
    """The changed files below ``root`` with their new text; nothing is written."""
    texts: dict[Path, str] = {}
    for change in mutation.changes:
        path = root / change.file
        text = texts.get(path) or path.read_text("utf-8")
        assert text.count(change.old) == 1, f"{change.file} holds {text.count(change.old)} times: {change.old}"
        texts[path] = text.replace(change.old, change.new)
    return texts
