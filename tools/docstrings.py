"""How the reference pages show docstrings (an extension of griffe, named in ``mkdocs.yml``).

Docstrings here are prose that reads well in ``help()``: "``delay``: milliseconds or timedelta. ``attempts``: …", and
"Raises InvalidOptionError, …". On a page, parameters become a list, and the names of errors and option types become
links. Methods that only refuse become one line of their class. Nothing is told that the code does not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

PARAMETERS = re.compile(r"(?:^|(?<=[.;:)] ))((?:``\w+``(?:, | and | or )?)+): ")
WORD = re.compile(r"``.+?``|`.+?`|\b[A-Z][a-z]+[A-Z]\w+\b")
LINKED = ("errors", "options", "native", "address", "_core.dead_letters", "_core.repeat", "_core.opaque")
"""The modules whose classes docstrings name."""


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of the package once it is loaded."""

    def on_alias_instance(self, *, alias: griffe.Alias, **_: Any) -> None:
        """Called for every import. Who reads the code without running it is shown the standard dataclasses."""
        alias.target_path = re.sub(r"^chasquimq\._dataclass\.", "dataclasses.", alias.target_path)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called once, with all modules."""
        names = {found.name: found.path for module in LINKED for found in _own_classes(pkg[module])}
        objects = list(_objects(pkg))
        for found in objects:
            if found.docstring is not None:
                paragraphs = re.split(r"\n\s*\n", found.docstring.value)
                found.docstring.value = "\n\n".join(_shown(paragraph, names) for paragraph in paragraphs)
        classes = [found for found in objects if isinstance(found, griffe.Class)]
        refused = {found.path: _refused(found) for found in classes}
        for found in classes:
            if found.docstring is not None and (methods := refused[found.path]):
                found.docstring.value += (
                    f"\n\n**Not supported:** {', '.join(f'`{name}`' for name in methods)}. They raise "
                    f"[`NotSupportedError`][{names['NotSupportedError']}], whose message says what to use instead."
                )
            for name in refused[found.path]:
                found.members.pop(name, None)


def _objects(owner: griffe.Object) -> Iterator[griffe.Object]:
    for member in owner.members.values():
        if not member.is_alias:
            yield member
            yield from _objects(member)


def _own_classes(module: griffe.Object) -> Iterator[griffe.Object]:
    return (member for member in module.members.values() if not member.is_alias and member.is_class)


def _refused(found: griffe.Class) -> list[str]:
    """The public methods, inherited ones too, that do nothing but raise."""
    return [
        member.name
        for owner in (found, *found.mro())
        for member in owner.members.values()
        if not member.is_alias and member.is_function and member.is_public and str(member.returns) == "NoReturn"
    ]


def _shown(paragraph: str, names: dict[str, str]) -> str:
    if paragraph.startswith("    "):
        return paragraph  # code
    text = _linked(" ".join(paragraph.split()), names)
    text = re.sub(r"^Raises\b", "**Raises**", text)
    before, *rest = PARAMETERS.split(text)
    rows = [f"* {of}: {meaning.strip()}" for of, meaning in zip(rest[::2], rest[1::2], strict=True)]
    return "\n\n".join(part for part in (before.strip(), "\n".join(rows)) if part)


def _linked(text: str, names: dict[str, str]) -> str:
    def link(found: re.Match[str]) -> str:
        word = found[0]
        return f"[`{word}`][{names[word]}]" if word in names else word

    return WORD.sub(link, text)
