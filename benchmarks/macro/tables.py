"""Results as text, for the terminal and for the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.macro.case import FLAVOURS
from benchmarks.macro.results import UNITS, Measured
from benchmarks.peers import PEERS, REFERENCE

__all__ = ["lines_of", "markdown_of", "number"]


def number(value: float, figure: str) -> str:
    """A figure as it is shown."""
    if math.isnan(value):
        return "—"
    if figure == "rate" or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}"


def _rows(measured: Measured) -> tuple[list[str], list[list[str]]]:
    case = measured.case
    first = case.figures[0]
    sides = measured.sides()
    bases = [base for base in (*case.floors, REFERENCE) if base in sides]
    heads = ["side", *(UNITS[figure] for figure in case.figures), *(f"÷ {base}" for base in bases)]
    rows = []
    for side in sides:
        row = [side, *(number(measured.median(side, figure), figure) for figure in case.figures)]
        for base in bases:
            ratio = None if side == base else measured.ratio(side, base, first)
            row.append("" if ratio is None else str(ratio))
        rows.append(row)
    return heads, rows


def _notes(measured: Measured) -> Iterator[str]:
    yield from measured.case.notes
    fewer = {
        side: jobs
        for side in measured.sides()
        for jobs in {results[side]["jobs"] for results in measured.rounds if side in results}
        if side in PEERS and jobs and jobs < measured.params["jobs"]
    }
    if fewer:
        shown = ", ".join(f"{side} {jobs:,}" for side, jobs in fewer.items())
        yield f"of {measured.params['jobs']:,} jobs a run; fewer for the slow ones: {shown}"
    yield from (f"void: {reason}" for reason in measured.voids)
    yield from (f"not measured: {side}: {reason}" for side, reason in measured.missing.items())


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([first.strip().ljust(widths[0]), *others])


def lines_of(measured: Measured) -> Iterator[str]:
    """The table of a case for the terminal."""
    heads, rows = _rows(measured)
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    yield f"{measured.case.name}: {measured.case.title}"
    for row in (heads, *rows):
        yield "  " + _padded(row, widths)
    yield from (f"  {note}" for note in _notes(measured))


def markdown_of(measured: Measured) -> Iterator[str]:
    """The same for the report; this library's own rows stand out."""
    heads, rows = _rows(measured)
    for row in (heads, ["---", *["--:"] * (len(heads) - 1)], *rows):
        shown = [f"**{row[0]}**", *row[1:]] if row[0] in FLAVOURS else row
        yield f"| {' | '.join(shown)} |"
    notes = list(_notes(measured))
    if notes:
        yield ""
        yield from (f"* {note}" for note in notes)
