"""From CPU times, bytes and sizes per job to what one Redis core carries and what a rate needs. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BUSY",
    "RATES",
    "WAYS",
    "Figures",
    "Way",
    "breaking_table",
    "core_table",
    "needs_table",
    "notes",
    "promotion_rate",
    "rounded",
]

BUSY = 0.8
"""How busy a core is planned to be: what is left is for bursts, snapshots and failover."""
RATES = (10_000, 1_000_000, 100_000_000)
HANDLER_S = 0.1
"""How long a job is taken to run, where running jobs are counted."""
CONCURRENCY = 100
CONNECTIONS_PER_WORKER = 5
OUTAGE_S = 600
"""How long workers are taken to be away, where waiting jobs are counted."""
EVENTS_KEPT = 100_000
EVENTS_PER_JOB = 2
_ADDS = {"add": "one by one", "add-100": "100 in flight", "bulk-1000": "add_bulk of 1,000"}
_ENDS = {"consume": "no events", "consume-events": "events", "consume-results": "events and results"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured: medians by case, side and figure, and sizes in bytes."""

    medians: Mapping[str, Mapping[str, Mapping[str, float]]]
    sizes: Mapping[str, float]
    side: str

    def of(self, case: str, figure: str) -> float:
        """NaN when it was not measured."""
        return float(self.medians.get(case, {}).get(self.side, {}).get(figure, math.nan))


@dataclass(frozen=True, slots=True)
class Way:
    """How jobs come and how they end: two of the measured cases."""

    name: str
    added: str
    ended: str

    @property
    def group(self) -> int:
        """How many jobs are added in one write."""
        return {"add": 1, "add-100": 100, "bulk-1000": 1_000}[self.added]

    @property
    def retry_safe(self) -> bool:
        """Whether the rows are those of ``add``, which may be sent twice."""
        return self.added != "bulk-1000"

    @property
    def events(self) -> bool:
        return self.ended != "consume"

    @property
    def results(self) -> bool:
        return self.ended == "consume-results"

    def redis_us(self, figures: Figures) -> float:
        return figures.of(self.added, "redis_us") + figures.of(self.ended, "redis_us")

    def client_us(self, figures: Figures) -> float:
        return figures.of(self.added, "client_us") + figures.of(self.ended, "client_us")

    def bytes(self, figures: Figures) -> float:
        """To and from the server."""
        ends = (figures.of(case, figure) for case in (self.added, self.ended) for figure in ("to_redis", "from_redis"))
        return sum(ends)

    def per_core(self, figures: Figures) -> float:
        """Jobs a second that one Redis core carries."""
        return BUSY * 1e6 / self.redis_us(figures)


WAYS = (
    Way("bulk adds, no events", "bulk-1000", "consume"),
    Way("100 adds in flight, events", "add-100", "consume-events"),
    Way("single adds, events, results", "add", "consume-results"),
)


def core_table(figures: Figures) -> Iterator[Sequence[str]]:
    """Jobs a second on one core, by how they are added and how they end."""
    yield ["added", *_ENDS.values()]
    for added, shown in _ADDS.items():
        capacities = [Way("", added, ended).per_core(figures) for ended in _ENDS]
        yield [shown, *(rounded(capacity) for capacity in capacities)]


def needs_table(figures: Figures, rates: Sequence[int] = RATES) -> Iterator[Sequence[str]]:
    """What each rate needs, for each way."""
    yield [
        *("jobs/s", "way", "Redis cores", "cores of producers and workers", "Gbit/s in all", "Mbit/s per Redis core"),
        f"worker processes at {HANDLER_S * 1000:.0f} ms a job",
        "their connections",
        f"GiB after {OUTAGE_S // 60} minutes without workers",
    ]
    for rate in rates:
        for way in WAYS:
            cores = math.ceil(rate / way.per_core(figures))
            bits = rate * way.bytes(figures) * 8
            workers = math.ceil(rate * HANDLER_S / CONCURRENCY)
            backlog = rate * OUTAGE_S * figures.sizes["waiting"]
            yield [
                rounded(rate),
                way.name,
                f"{cores:,}",
                rounded(math.ceil(rate * way.client_us(figures) / BUSY / 1e6)),
                rounded(bits / 1e9),
                rounded(bits / cores / 1e6),
                rounded(workers),
                rounded(workers * CONNECTIONS_PER_WORKER),
                rounded(backlog / 2**30),
            ]


def breaking_table(figures: Figures) -> Iterator[Sequence[str]]:
    """What one Redis core at its limit means for everything else, for each way."""
    yield ["on one Redis core", *(way.name for way in WAYS)]
    capacities = [way.per_core(figures) for way in WAYS]
    yield ["jobs/s", *(rounded(capacity) for capacity in capacities)]
    yield [
        "Redis CPU per job, µs",
        *(rounded(way.redis_us(figures)) for way in WAYS),
    ]
    yield [
        "traffic, Mbit/s",
        *(rounded(way.bytes(figures) * 8 * capacity / 1e6) for way, capacity in zip(WAYS, capacities, strict=True)),
    ]
    yield [
        f"history in the events stream ({EVENTS_KEPT:,} entries), s",
        *("—" if way.ended == "consume" else rounded(_history_s(way, figures)) for way in WAYS),
    ]
    yield [
        "growth without workers, GiB a minute",
        *(rounded(capacity * 60 * figures.sizes["waiting"] / 2**30) for capacity in capacities),
    ]
    yield [
        f"memory of running jobs at {HANDLER_S * 1000:.0f} ms a job, MiB",
        *(
            rounded(capacity * HANDLER_S * (figures.sizes["waiting"] + figures.sizes["running"]) / 2**20)
            for capacity in capacities
        ),
    ]
    yield [
        "worker processes that it takes, by their CPU",
        *(rounded(math.ceil(way.per_core(figures) * figures.of(way.ended, "client_us") / 1e6)) for way in WAYS),
    ]


def _history_s(way: Way, figures: Figures) -> float:
    return EVENTS_KEPT / EVENTS_PER_JOB / way.per_core(figures)


def promotion_rate(figures: Figures) -> float:
    """Delayed jobs a second on one core, from adding them to their end without events."""
    return BUSY * 1e6 / figures.of("delayed-20000", "redis_us")


def rounded(value: float) -> str:
    """Two significant digits: the figures are no better than that."""
    if math.isnan(value):
        return "not measured"
    if value == 0:
        return "0"
    digits = 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(rounded) >= size:
            return f"{rounded / size:.3g}{unit}"
    return f"{rounded:.10g}"


def notes(figures: Figures, circumstances: Mapping[str, Any]) -> str:
    """Where the tables' figures come from, in a sentence."""
    kind = "short rounds on a shared machine" if circumstances["quick"] else f"{circumstances['rounds']} rounds"
    return (
        f"Calculated from the run of {circumstances['date']} ({kind}; {circumstances['processor']}; "
        f"{circumstances['server']}), side `{figures.side}`, with Redis cores and client cores {BUSY:.0%} busy."
    )
