"""Parts of pages that programs fill in, between ``<!-- calculated: name -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["fill_in", "markdown_table"]

_PART = re.compile(r"(<!-- calculated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown_table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, its heads first; figures stand on the right."""
    heads, *body = rows
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join(['---', *['--:'] * (len(heads) - 1)])} |"
    yield from (f"| {' | '.join(row)} |" for row in body)


def fill_in(page: str, parts: Mapping[str, str]) -> str:
    """The page with these parts, and every other one as it is."""
    return _PART.sub(
        lambda found: f"{found[1]}\n{parts[found[2]]}\n\n{found[3]}" if found[2] in parts else found[0], page
    )
