"""Charts as SVG text: horizontal bars, and ranges on a logarithmic axis. No dependencies, no scripts, no fonts.

The output is the same for the same figures, so that a report made again changes only where they did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["WIDTH", "Row", "bars", "ranges"]

WIDTH = 760
LABEL_WIDTH = 130
VALUE_WIDTH = 110
ROW_HEIGHT = 24
HEAD_HEIGHT = 58
FOOT_HEIGHT = 34
BAR_HEIGHT = 14
COLOURS = {"ours": "#b5452c", "floor": "#b9bcc0", "peer": "#4a7a9c"}
_INK, _FAINT, _RULE = "#24292f", "#6e7781", "#dfe2e6"
_LEGEND = {"ours": "chasquimq", "floor": "floor: a bare client", "peer": "other libraries"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a chart. ``values``: for bars value, lowest, highest; for ranges from left to right."""

    label: str
    kind: str
    """"ours", "floor" or "peer"."""
    values: tuple[float, ...]
    shown: str
    """The figures as text, at the end of the line."""


def bars(title: str, unit: str, rows: Sequence[Row]) -> str:
    """A bar per row from zero, with a whisker from the lowest to the highest run."""
    top = max(max(row.values) for row in rows)
    scale = _Linear(_nice_ceiling(top))

    def draw(row: Row, y: float) -> Iterator[str]:
        value, lowest, highest = row.values
        yield _rect(LABEL_WIDTH, y - BAR_HEIGHT / 2, scale.x(value) - LABEL_WIDTH, BAR_HEIGHT, COLOURS[row.kind])
        yield _line(scale.x(lowest), y, scale.x(highest), y, _INK, 1.2)

    return "\n".join(_chart(title, unit, rows, scale, draw))


def ranges(title: str, unit: str, rows: Sequence[Row]) -> str:
    """A line per row from its first value to its last, with a dot at each, on a logarithmic axis."""
    values = [value for row in rows for value in row.values if value > 0]
    scale = _Logarithmic(10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values))))

    def draw(row: Row, y: float) -> Iterator[str]:
        points = [scale.x(value) for value in row.values]
        yield _line(points[0], y, points[-1], y, COLOURS[row.kind], 3)
        for position, x in enumerate(points):
            radius = 5 if position == 0 else 3.5
            fill = COLOURS[row.kind] if position == 0 else "#ffffff"
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{COLOURS[row.kind]}"/>'

    return "\n".join(_chart(title, unit, rows, scale, draw))


class _Linear:
    def __init__(self, top: float) -> None:
        self._top = top

    def x(self, value: float) -> float:
        return LABEL_WIDTH + (WIDTH - LABEL_WIDTH - VALUE_WIDTH) * min(value, self._top) / self._top

    def ticks(self) -> list[float]:
        return [self._top * step / 5 for step in range(6)]


class _Logarithmic:
    def __init__(self, low: float, high: float) -> None:
        self._low = math.log10(low)
        self._high = max(math.log10(high), self._low + 1)

    def x(self, value: float) -> float:
        share = (math.log10(max(value, 1e-12)) - self._low) / (self._high - self._low)
        return LABEL_WIDTH + (WIDTH - LABEL_WIDTH - VALUE_WIDTH) * min(max(share, 0), 1)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(round(self._low), round(self._high) + 1)]


def _chart(title: str, unit: str, rows: Sequence[Row], scale: _Linear | _Logarithmic, draw: object) -> Iterator[str]:
    height = HEAD_HEIGHT + ROW_HEIGHT * len(rows) + FOOT_HEIGHT
    bottom = height - FOOT_HEIGHT + 4
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" font-family="system-ui, sans-serif" font-size="12">'
    )
    yield f"<title>{escape(title)}</title>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    yield _text(12, 20, title, _INK, size=14, weight="600")
    yield from _legend({row.kind: None for row in rows})
    for tick in scale.ticks():
        x = scale.x(tick)
        yield _line(x, HEAD_HEIGHT - 8, x, bottom, _RULE, 1)
        yield _text(x, bottom + 14, _short(tick), _FAINT, anchor="middle", size=11)
    yield _text(WIDTH - VALUE_WIDTH + 8, bottom + 14, unit, _FAINT, size=11)
    for position, row in enumerate(rows):
        y = HEAD_HEIGHT + ROW_HEIGHT * position + ROW_HEIGHT / 2 - 4
        weight = "600" if row.kind == "ours" else "400"
        yield _text(LABEL_WIDTH - 8, y + 4, row.label, _INK, anchor="end", weight=weight)
        yield from draw(row, y)  # type: ignore[operator]  # a function of this module
        yield _text(WIDTH - VALUE_WIDTH + 8, y + 4, row.shown, _INK)
    yield "</svg>\n"


def _legend(kinds: dict[str, None]) -> Iterator[str]:
    x = 12.0
    for kind in kinds:
        yield _rect(x, 31, 10, 10, COLOURS[kind])
        yield _text(x + 15, 40, _LEGEND[kind], _FAINT, size=11)
        x += 30 + 6.2 * len(_LEGEND[kind])


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height}" fill="{fill}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}"/>'


def _text(
    x: float, y: float, text: str, fill: str, *, anchor: str = "start", size: int = 12, weight: str = "400"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _nice_ceiling(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 … times a power of ten: an axis that ends there has readable ticks."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if step * power >= value)


def _short(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    if value >= 1_000:
        return f"{value / 1_000:g} k"
    return f"{value:g}"
