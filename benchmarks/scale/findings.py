"""The tables of docs/scale.md that come from simulations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.scale.capacity import EVENTS_KEPT, EVENTS_PER_JOB, RATES, WAYS, Figures, Way, rounded
from benchmarks.scale.commands import CommandCosts
from benchmarks.scale.fleet import Observed
from benchmarks.scale.keys import MOST, busiest_share, largest_share, shards_for
from benchmarks.scale.limits import Study
from benchmarks.scale.simulation.shard import SECOND, Load, Outcome

__all__ = [
    "FLEETS",
    "breaks_table",
    "commands_table",
    "fleet_table",
    "limits_table",
    "outages_table",
    "shards_table",
    "spread_table",
    "waits_table",
]

COMMANDS = {
    "turn": "a turn of the event loop",
    "cold": "more, after it slept",
    "add": "a write with adds",
    "row": "each job in it",
    "read": "a read",
    "entry": "each job in it",
    "wake": "more, when it had to wait",
    "write": "a write with ends",
    "start": "each start that it tells",
    "end": "each end",
}
PLANNED = 0.8
"""How much of what a core bears is planned for."""
RATES_OF_ONE_CORE = (1_000, 5_000, 10_000, 20_000, 40_000, 80_000)
SHARDS = (8, 50, 500, 5_000)
KEYS = 1_000_000
SKEWS = {0.0: "all alike", 0.5: "uneven (n^-0.5)", 0.8: "very uneven (n^-0.8)", 1.0: "Zipf's law (n^-1)"}
TYPICAL = WAYS[1]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One row of the table of outages."""

    name: str
    rate: float | None
    """None: as much as is planned for."""
    changes: Mapping[str, Any]
    workers: int = 1
    """Times as many as it takes."""


AWAY = (2.0, 17.0)
LONG_AWAY = (2.0, 62.0)
TROUBLES = (
    Trouble("the server is away for 15 s (a failover)", 20_000, {"core_away": AWAY, "seconds": 120.0}),
    Trouble("the same, under the planned load", None, {"core_away": AWAY, "seconds": 250.0}),
    Trouble("the same, with twice the workers", None, {"core_away": AWAY, "seconds": 120.0}, workers=2),
    Trouble("the workers are away for 60 s (a deployment)", 20_000, {"workers_away": LONG_AWAY, "seconds": 400.0}),
    Trouble("the same, with twice the workers", 20_000, {"workers_away": LONG_AWAY, "seconds": 200.0}, workers=2),
)
FLEETS = ((1_000, 2, 1), (2_000, 4, 10), (6_000, 8, 30), (10_000, 14, 100))
"""Jobs a second, worker processes, and how many jobs are added together."""


def commands_table(costs: Mapping[Way, CommandCosts]) -> Iterator[Sequence[str]]:
    """What each command costs the core."""
    yield ["Redis CPU, µs", *(way.name for way in costs)]
    for name, shown in COMMANDS.items():
        yield [shown, *(f"{getattr(cost, name):.1f}" for cost in costs.values())]


def waits_table(study: Study, rates: Sequence[int] = RATES_OF_ONE_CORE) -> Iterator[Sequence[str]]:
    """How busy the core is, and after what time jobs start, at several rates."""
    columns = [f"{what}: {way.name}" for way in WAYS for what in ("busy", "starts after, ms")]
    yield ["jobs/s", "worker processes", *columns]
    for rate in rates:
        cells = []
        for way in WAYS:
            outcome = study.at(way, rate)
            bears = rate <= study.limit(way)
            cells += [f"{outcome.busy:.0%}", f"{_ms(outcome, 0.5)} / {_ms(outcome, 0.99)}"] if bears else ["—", "—"]
        yield [rounded(rate), f"{study.load(WAYS[0], rate).workers:,}", *cells]


def limits_table(study: Study, figures: Figures) -> Iterator[Sequence[str]]:
    """What a core bears, beside what was calculated."""
    yield ["", *(way.name for way in WAYS)]
    limits = {way: study.limit(way) for way in WAYS}
    at_limit = {way: study.at(way, limit) for way, limit in limits.items()}
    yield ["jobs/s that one core bears, simulated", *(rounded(limit) for limit in limits.values())]
    yield ["the same, calculated (100 % busy)", *(rounded(1e6 / way.redis_us(figures)) for way in WAYS)]
    yield ["Redis CPU per job there, µs", *(rounded(outcome.redis_us) for outcome in at_limit.values())]
    yield ["jobs in a read there", *(f"{outcome.per_read:.1f}" for outcome in at_limit.values())]
    slow = {way: study.at(way, 5_000) for way in WAYS}
    yield ["Redis CPU per job at 5,000 jobs/s, µs", *(rounded(outcome.redis_us) for outcome in slow.values())]
    yield ["jobs in a read at 5,000 jobs/s", *(f"{outcome.per_read:.1f}" for outcome in slow.values())]


def spread_table(keys: int = KEYS, shards: Sequence[int] = SHARDS) -> Iterator[Sequence[str]]:
    """How much more than the average the busiest shard gets."""
    yield [f"busiest shard ÷ average, {keys:,} keys", *(f"{number:,} shards" for number in shards)]
    for skew, shown in SKEWS.items():
        yield [shown, *(f"{busiest_share(keys, number, skew) * number:.2f}" for number in shards)]


def shards_table(study: Study, keys: int = KEYS) -> Iterator[Sequence[str]]:
    """How many shards a rate needs, by how jobs choose theirs."""
    yield ["jobs/s", "way", "jobs choose freely", *(f"by key, {shown}" for shown in SKEWS.values())]
    for rate in RATES:
        for way in WAYS:
            times = rate / (PLANNED * study.limit(way))
            free = math.ceil(times)
            yield [rounded(rate), way.name, f"{free:,}", *(_shards_by_key(times, keys, skew) for skew in SKEWS)]


def outages_table(study: Study, figures: Figures, troubles: Sequence[Trouble] = TROUBLES) -> Iterator[Sequence[str]]:
    """What becomes of a shard when its server or its workers are away for a while."""
    yield [
        "",
        "jobs/s",
        "refused at first",
        "longest queue",
        "its MiB",
        "longest wait, s",
        "nothing late after, s",
    ]
    for trouble in troubles:
        rate = trouble.rate or PLANNED * study.limit(TYPICAL)
        load = study.load(TYPICAL, rate)
        load = replace(load, workers=load.workers * trouble.workers, **trouble.changes)
        outcome = study.run(TYPICAL, load)
        end = load.warm_up + load.seconds
        still_late = outcome.left > rate or outcome.late_until > end - 1
        back_at = (load.core_away or load.workers_away or (0.0, 0.0))[1]
        yield [
            trouble.name,
            rounded(rate),
            rounded(outcome.refused),
            rounded(outcome.longest_queue),
            rounded(outcome.longest_queue * figures.sizes["waiting"] / 2**20),
            rounded(outcome.waits.longest / SECOND),
            f"more than {end - back_at:.0f}" if still_late else rounded(max(0.0, outcome.late_until - back_at)),
        ]


def breaks_table(study: Study, figures: Figures) -> Iterator[Sequence[str]]:
    """At which rate of one shard each thing gives way, the first one first (as in the typical way)."""
    rate_of: dict[str, Callable[[Way], float]] = {
        "the events stream holds less than 10 s": lambda way: _if(way.events, EVENTS_KEPT / EVENTS_PER_JOB / 10),
        "ten minutes without workers take more than 4 GiB": lambda _: 4 * 2**30 / figures.sizes["waiting"] / 600,
        "the core is 80 % busy": lambda way: _busy_at(study, way, 0.8),
        "the core bears no more: 99 % wait 100 ms longer": study.limit,
        "a network of 1 Gbit/s is full": lambda way: 1e9 / 8 / way.bytes(figures),
    }
    yield ["jobs/s at which", *(way.name for way in WAYS)]
    found = {name: [rate(way) for way in WAYS] for name, rate in rate_of.items()}
    for name, rates in sorted(found.items(), key=lambda row: row[1][WAYS.index(TYPICAL)]):
        yield [name, *("—" if math.isinf(rate) else rounded(rate) for rate in rates)]


def fleet_table(pairs: Sequence[tuple[Load, Observed, Outcome]]) -> Iterator[Sequence[str]]:
    """Small fleets that were real, and what the simulation says of the same load."""
    yield [
        *("jobs/s", "worker processes", "added together"),
        *(
            f"{what}, {whose}"
            for what in ("jobs in a read", "ends in a write", "Redis CPU per job, µs")
            for whose in ("real", "simulated")
        ),
    ]
    for load, real, simulated in pairs:
        yield [
            *(rounded(real.rate), f"{load.workers}", f"{load.group}"),
            *(f"{real.per_read:.1f}", f"{simulated.per_read:.1f}"),
            *(f"{real.per_end:.1f}", f"{simulated.per_end:.1f}"),
            *(rounded(real.redis_us), rounded(simulated.redis_us)),
        ]


def _busy_at(study: Study, way: Way, busy: float) -> float:
    low, high = 0.0, study.limit(way)
    for _ in range(6):
        middle = (low + high) / 2
        low, high = (middle, high) if study.at(way, middle).busy < busy else (low, middle)
    return high


def _shards_by_key(times: float, keys: int, skew: float) -> str:
    if times <= 1:
        return "1"
    if largest_share(keys, skew) > 1 / times:
        return "never enough"
    number = shards_for(times, keys, skew)
    return f"{number:,}" if number else f"over {MOST:g} times as many"


def _ms(outcome: Outcome, share: float) -> str:
    return rounded(outcome.waits.quantile(share) / 1000)


def _if(condition: bool, rate: float) -> float:
    return rate if condition else math.inf
