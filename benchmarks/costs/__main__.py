"""``python -m benchmarks.costs``: what each setting that makes a queue safer costs.

Every round tries each choice on a server of its own, in one order and then in the other. The table has the
medians of the ratios to the first choice of the same round, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.costs.choices import CHOICES, WORK, price
from benchmarks.report.parts import fill_in, markdown_table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

Rounds = list[list[dict[str, float]]]
"""For each round and each choice, jobs a second by kind of work."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of jobs; default: %(default)s")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(PAGE.parents[1])}")
    options = parser.parse_args()
    rounds: Rounds = []
    for number in range(options.rounds):
        order = list(enumerate(CHOICES))
        if number % 2:
            order.reverse()
        found: dict[int, dict[str, float]] = {}
        for place, choice in order:
            found[place] = price(choice, options.share)
            print(f"round {number + 1}, {choice.name}: {_rates(found[place])}", file=sys.stderr, flush=True)
        rounds.append([found[place] for place in range(len(CHOICES))])
    text = "\n".join([*markdown_table(cost_rows(rounds)), "", _note(rounds)])
    print(text)
    if options.write:
        PAGE.write_text(fill_in(PAGE.read_text(), {"costs": text}))
    return 0


def cost_rows(rounds: Rounds) -> Iterator[Sequence[str]]:
    """The table; ratios are formed within each round."""
    yield [
        "jobs a second, ÷ the first row",
        *(f"`{work}`" if work != "run" else "run and acknowledge" for work in WORK),
    ]
    first = [statistics.median(found[0][work] for found in rounds) for work in WORK]
    yield [CHOICES[0].name, *(f"{rate:,.0f} a second" for rate in first)]
    for place, choice in enumerate(CHOICES[1:], 1):
        yield [choice.name, *(_ratios([found[place][work] / found[0][work] for found in rounds]) for work in WORK)]


def _ratios(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _rates(found: dict[str, float]) -> str:
    return ", ".join(f"{work} {rate:,.0f}/s" for work, rate in found.items())


def _note(rounds: Rounds) -> str:
    day = datetime.now(UTC).date().isoformat()
    return (
        f"Made by `python -m benchmarks.costs --write` on {day}: {len(rounds)} rounds, a synchronous producer and "
        "worker, client and servers on the same two cores and the same disk."
    )


if __name__ == "__main__":
    sys.exit(main())
