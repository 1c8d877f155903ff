"""``python -m benchmarks.scale``: prints what one Redis core carries and what many jobs a second need.

Uses the figures of the last report (docs/benchmarks/figures.json) and measures sizes in memory on a private server.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.macro.case import FLAVOURS
from benchmarks.macro.runner import HOST
from benchmarks.report.document import FIGURES
from benchmarks.report.parts import fill_in, markdown_table
from benchmarks.scale.capacity import (
    RATES,
    Figures,
    breaking_table,
    core_table,
    needs_table,
    notes,
    promotion_rate,
)
from benchmarks.scale.sizes import measure_sizes

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    # An event loop's: what its tasks add at the same time shares writes, which threads do not.
    parser.add_argument("--side", default="asyncio", choices=FLAVOURS, help="whose figures; default: %(default)s")
    parser.add_argument("--rate", type=int, action="append", metavar="N", help="jobs a second; may be repeated")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(PAGE.parents[1])}")
    options = parser.parse_args()
    from tests.servers.process import RedisServer

    if not FIGURES.exists():
        sys.exit(f"there is no {FIGURES.name} yet: make a report first, python -m benchmarks --report")
    stored = json.loads(FIGURES.read_text())
    with RedisServer("redis-8.6") as server:
        assert server.port is not None
        sizes = measure_sizes(HOST, server.port)
    figures = Figures(stored["medians"], sizes.to_json(), options.side)
    parts = {
        "source": notes(figures, stored["circumstances"]),
        "core": "\n".join(markdown_table(core_table(figures))),
        "needs": "\n".join(markdown_table(needs_table(figures, options.rate or RATES))),
        "breaking": "\n".join(markdown_table(breaking_table(figures))),
        "sizes": "\n".join(markdown_table(_sizes(figures))),
        "promotion": f"* Delayed jobs, added one by one and promoted: about {promotion_rate(figures):,.0f} a second.",
    }
    for part in parts.values():
        print(part, end="\n\n")
    if options.write:
        PAGE.write_text(fill_in(PAGE.read_text(), parts))
    return 0


def _sizes(figures: Figures) -> Iterator[Sequence[str]]:
    yield ["in Redis' memory", "bytes"]
    names = {
        "waiting": "a waiting job",
        "running": "more while a worker holds it",
        "delayed": "a delayed job, or a retry",
        "event": "an entry of the events stream",
        "result": "a stored result",
        "connection": "a connection that was just used",
    }
    for name, shown in names.items():
        yield [shown, f"{figures.sizes[name]:,.0f}"]


if __name__ == "__main__":
    sys.exit(main())
