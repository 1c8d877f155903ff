"""What the demo prints: a progress bar on a terminal, a few plain lines elsewhere, and the closing tables."""

import sys
import time
from collections.abc import Mapping, Sequence

from examples.demo.modules import Measure
from examples.demo.tally import Tally

BAR_WIDTH = 32
EVERY_PERCENT = 20
"""How often a line is printed when the output is no terminal."""


class Progress:
    """The progress of one worker; call ``show`` as often as you like."""

    def __init__(self, label: str, tally: Tally) -> None:
        self._label = label
        self._tally = tally
        self._started = time.monotonic()
        self._is_terminal = sys.stdout.isatty()
        self._next_percent = EVERY_PERCENT
        self._is_done = False

    def show(self) -> None:
        if self._is_done:
            return
        tally = self._tally
        self._is_done = is_done = tally.is_finished
        percent = 100 * tally.ended // max(1, tally.expected)
        if self._is_terminal:
            bar = "#" * (BAR_WIDTH * percent // 100)
            end = "\n" if is_done else ""
            print(f"\r  {self._label:<8} [{bar:<{BAR_WIDTH}}] {self._text(percent)}", end=end, flush=True)
        elif percent >= self._next_percent:
            self._next_percent = percent - percent % EVERY_PERCENT + EVERY_PERCENT
            print(f"  {self._label:<8} {self._text(percent)}", flush=True)

    def _text(self, percent: int) -> str:
        tally = self._tally
        seconds = time.monotonic() - self._started
        return (
            f"{percent:3} %  {tally.ended}/{tally.expected} ended, "
            f"{tally.retries} retries, {tally.dead} dead, {tally.ended / max(seconds, 0.001):.0f} jobs/s "
        )


def print_table(rows: Sequence[tuple[str, Sequence[object]]]) -> None:
    """Rows of a label and one value per flavour."""
    for label, values in rows:
        print(f"  {label:<28}" + "".join(f"{_readable(value):>12}" for value in values))


def print_largest(measures: Mapping[str, Measure], count: int = 5) -> None:
    """The modules with most lines."""
    print("\nThe largest modules")
    largest = sorted(measures.items(), key=lambda item: item[1]["lines"], reverse=True)
    for path, found in largest[:count]:
        print(f"  {path:<40}{found['lines']:>8,} lines{found['definitions']:>8,} definitions")


def _readable(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
