"""Which chart shows which scenario."""

from __future__ import annotations

import math

from benchmarks.macro.case import FLAVOURS
from benchmarks.macro.results import UNITS, Measured, figure_of
from benchmarks.macro.tables import number
from benchmarks.peers import PEERS
from benchmarks.report.svg import Row, bars, ranges

__all__ = ["plot"]

_PERCENTILES = ("p50_ms", "p99_ms")


def plot(measured: Measured) -> str | None:
    """The SVG of a case: percentiles as ranges, everything else as bars of its first figure; None without figures."""
    first = measured.case.figures[0]
    sides = [side for side in measured.sides() if not math.isnan(measured.median(side, first))]
    if not sides:
        return None
    if first in _PERCENTILES:
        title = f"{_title(measured)}: p50 (full) and p99"
        return ranges(title, "ms", [_range(measured, side) for side in sides])
    return bars(_title(measured), UNITS[first], [_bar(measured, side, first) for side in sides])


def _title(measured: Measured) -> str:
    title = measured.case.title
    return title[0].upper() + title[1:]


def _kind(side: str) -> str:
    return "ours" if side in FLAVOURS else "peer" if side in PEERS else "floor"


def _bar(measured: Measured, side: str, figure: str) -> Row:
    values = [figure_of(results[side], figure) for results in measured.rounds if side in results]
    median = measured.median(side, figure)
    # A figure that noise has pushed below zero has no bar.
    drawn = (max(median, 0.0), max(min(values), 0.0), max(*values, 0.0))
    return Row(side, _kind(side), drawn, number(median, figure))


def _range(measured: Measured, side: str) -> Row:
    medians = tuple(measured.median(side, figure) for figure in _PERCENTILES)
    shown = " / ".join(number(value, "p50_ms") for value in medians)
    return Row(side, _kind(side), medians, shown)
