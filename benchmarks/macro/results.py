"""From runs to figures: medians, ratios of runs of the same round, their spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from benchmarks.macro.case import Case
from benchmarks.peers import PEERS

__all__ = ["UNITS", "Measured", "Ratio", "figure_of"]

UNITS = {
    "rate": "jobs/s",
    "client_us": "client µs/job",
    "redis_us": "Redis µs/job",
    "busy": "Redis busy",
    "queued": "queued",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "cpu_ms_per_s": "CPU ms/s",
    "commands_per_s": "commands/s",
    "requests_per_s": "requests/s",
    "redis_ms_per_s": "Redis ms/s",
    "bytes_over_payload": "bytes/job over the payload",
    "bytes_per_job": "bytes/job",
    "growth_kib": "growth KiB",
    "last_mib": "RSS MiB",
    "import_ms": "import ms",
    "python_ms": "Python itself ms",
    "ready_ms": "ready ms",
    "to_redis": "bytes/job to Redis",
    "from_redis": "bytes/job from Redis",
    "rss_mib": "peak RSS MiB",
    "rate_1": "jobs/s, 1 process",
    "rate_2": "2 processes",
    "rate_4": "4 processes",
    "gain": "4 ÷ 1",
    "busy_last": "Redis busy at 4",
}


def figure_of(result: Mapping[str, Any], name: str) -> float:
    """One figure of one run; NaN when the run does not have it."""
    jobs, wall = result["jobs"], result["wall_s"]
    if name == "rate":
        return float(jobs / wall)
    if name == "client_us":
        return float(result["client_cpu_s"] / jobs * 1e6)
    if name == "redis_us":
        return float(result["redis_cpu_s"] / jobs * 1e6)
    if name == "busy":
        return float(result["redis_cpu_s"] / wall)
    if name == "queued":
        return float(result["queued_s"] / wall)
    if name in ("to_redis", "from_redis"):
        return float(result[f"{name}_bytes"] / jobs)
    found = result["figures"].get(name)
    return math.nan if found is None else float(found)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median with its spread."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lowest:.2f} to {self.highest:.2f})"


@dataclass(slots=True)
class Measured:
    """All runs of one case."""

    case: Case
    params: Mapping[str, Any]
    rounds: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    """One mapping per round, from the side to its result; a side that failed in a round is not in it."""
    voids: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def sides(self) -> list[str]:
        """The sides with at least one valid run, in order of appearance."""
        found: dict[str, None] = {}
        for results in self.rounds:
            found.update(dict.fromkeys(results))
        return list(found)

    def median(self, side: str, figure: str) -> float:
        values = [figure_of(results[side], figure) for results in self.rounds if side in results]
        return statistics.median(values) if values else math.nan

    def ratio(self, side: str, other: str, figure: str) -> Ratio | None:
        """``side ÷ other``, from the rounds that have both."""
        values: Sequence[float] = [
            figure_of(results[side], figure) / divisor
            for results in self.rounds
            if side in results and other in results and (divisor := figure_of(results[other], figure))
        ]
        if not values or any(math.isnan(value) for value in values):
            return None
        return Ratio(statistics.median(values), min(values), max(values))

    def best_of_field(self, figure: str, *, highest: bool) -> str | None:
        """The peer with the best median, or None when there was none."""
        known = [side for side in self.sides() if side in PEERS and not math.isnan(self.median(side, figure))]
        if not known:
            return None
        return (max if highest else min)(known, key=lambda side: self.median(side, figure))

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case.name,
            "params": dict(self.params),
            "rounds": self.rounds,
            "voids": self.voids,
            "missing": self.missing,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        from benchmarks.macro.scenarios import case_named

        case = case_named(found["case"])
        return cls(case, found["params"], found["rounds"], found["voids"], found["missing"])
