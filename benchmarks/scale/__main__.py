"""``python -m benchmarks.scale``: prints what one Redis core carries and what many jobs a second need.

Uses the figures of the last report (docs/benchmarks/figures.json) and measures sizes in memory on a private server.
With ``--simulate`` it measures what commands cost, and simulates shards under load and in trouble.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.macro.case import FLAVOURS
from benchmarks.macro.meter import Probe
from benchmarks.macro.runner import HOST
from benchmarks.report.document import FIGURES
from benchmarks.report.parts import fill_in, markdown_table
from benchmarks.scale.capacity import (
    RATES,
    WAYS,
    Figures,
    Way,
    breaking_table,
    core_table,
    needs_table,
    notes,
    promotion_rate,
)
from benchmarks.scale.commands import CommandCosts, measure_costs
from benchmarks.scale.findings import (
    FLEETS,
    breaks_table,
    commands_table,
    fleet_table,
    limits_table,
    outages_table,
    shards_table,
    spread_table,
    waits_table,
)
from benchmarks.scale.fleet import Observed, observe
from benchmarks.scale.limits import Study
from benchmarks.scale.simulation.shard import Load, Outcome, simulate
from benchmarks.scale.sizes import measure_sizes
from tests.servers.process import RedisServer

LOOPBACK_US = 10.0
"""One way on the loopback interface."""
PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    # An event loop's: what its tasks add at the same time shares writes, which threads do not.
    parser.add_argument("--side", default="asyncio", choices=FLAVOURS, help="whose figures; default: %(default)s")
    parser.add_argument("--rate", type=int, action="append", metavar="N", help="jobs a second; may be repeated")
    parser.add_argument(
        "--simulate", action="store_true", help="simulate shards and run small fleets, too: a quarter of an hour"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the simulation; default: %(default)s")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(PAGE.parents[1])}")
    options = parser.parse_args()

    if not FIGURES.exists():
        sys.exit(f"there is no {FIGURES.name} yet: make a report first, python -m benchmarks --report")
    stored = json.loads(FIGURES.read_text())
    with RedisServer("redis-8.6") as server:
        assert server.port is not None
        sizes = measure_sizes(HOST, server.port)
    figures = Figures(stored["medians"], sizes.to_json(), options.side)
    found = itertools.chain(
        _calculated(figures, stored["circumstances"], options.rate or RATES),
        _simulated(figures, options.seed) if options.simulate else (),
    )
    parts = {}
    for name, part in found:
        print(part, end="\n\n", flush=True)
        parts[name] = part
    if options.write:
        PAGE.write_text(fill_in(PAGE.read_text(), parts))
    return 0


def _calculated(figures: Figures, circumstances: Mapping[str, Any], rates: Sequence[int]) -> Iterator[tuple[str, str]]:
    yield "source", notes(figures, circumstances)
    yield "core", _table(core_table(figures))
    yield "needs", _table(needs_table(figures, rates))
    yield "breaking", _table(breaking_table(figures))
    yield "sizes", _table(_sizes(figures))
    yield "promotion", f"* Delayed jobs, added one by one and promoted: about {promotion_rate(figures):,.0f} a second."


def _simulated(figures: Figures, seed: int) -> Iterator[tuple[str, str]]:
    costs = {way: _costs(way) for way in WAYS}
    yield "commands", _table(commands_table(costs))
    yield "fleets", _table(fleet_table([_fleet(*fleet, costs[WAYS[0]], seed) for fleet in FLEETS]))
    study = Study(costs, seed)
    yield "limits", _table(limits_table(study, figures))
    yield "waits", _table(waits_table(study))
    yield "spread", _table(spread_table())
    yield "shards", _table(shards_table(study))
    yield "outages", _table(outages_table(study, figures))
    yield "breaks", _table(breaks_table(study, figures))


def _costs(way: Way) -> CommandCosts:
    with RedisServer("redis-8.6", config={"enable-debug-command": "yes"}) as server:
        assert server.port is not None
        return measure_costs(HOST, server.port, retry_safe=way.retry_safe, events=way.events, results=way.results)


def _fleet(rate: float, workers: int, group: int, costs: CommandCosts, seed: int) -> tuple[Load, Observed, Outcome]:
    load = Load(rate, workers, group, way=LOOPBACK_US)
    with RedisServer("redis-8.6") as server:
        assert server.port is not None
        probe = Probe(HOST, server.port)
        try:
            return load, observe(server.url, probe, load), simulate(load, costs, seed)
        finally:
            probe.close()


def _table(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(markdown_table(rows))


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
