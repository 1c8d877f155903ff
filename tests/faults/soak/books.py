"""Judges what a soak run has measured: does anything grow with the work that is done?

It looks at numbers only, so that leaks can be forged to see that each is found. Levels are compared, not single values:
a median over a fifth of the run after the warm-up, and one over its end, in relation to the jobs in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

KIB, MIB = 1024.0, 1024.0 * 1024.0
WARM_UP = 0.3
"""This share of a run is for buffers, caches, threads and the allocator to reach their size."""
LEVEL = 0.2
"""A level is taken over this share of a run."""
FREE_BYTES = 2 * MIB
"""What an allocator may still take after the warm-up, however little is done."""
BYTES_PER_JOB = 4.0
"""What may remain of a job; the smallest object of Python has 16 bytes, most leaks have hundreds."""
SPARE = 2
"""Threads and descriptors that may be had at one time and not at another: who leads has a connection to listen on."""
SPARE_CONNECTIONS = 12
"""The same for all processes together, one of which may be starting while another one leaves."""
SERVER_FREE_BYTES = 3 * MIB
"""What an emptied server may hold more than a new one: the scripts, and what it keeps for clients to come."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process from outside; ``memory``: what it has for itself alone, in bytes."""

    at: float
    memory: int
    fds: int
    threads: int


@dataclass(frozen=True, slots=True)
class ServerSample:
    at: float
    memory: int
    connections: int


Looked = TypeVar("Looked", Sample, ServerSample)


@dataclass
class Life:
    """A process that lived through the whole run."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    stands: list[tuple[float, int]] = field(default_factory=list)
    """How many jobs it had handled when, in its own words."""
    counts: bool = True

    def jobs_at(self, at: float) -> int:
        return max((jobs for told_at, jobs in self.stands if told_at <= at), default=0)


@dataclass(frozen=True)
class Growth:
    """What became of one process between the warm-up and the end."""

    name: str
    jobs: int
    """In its whole life."""
    jobs_between: int
    before: float
    after: float
    fds: tuple[int, int]
    """The most before and after the middle of what is looked at."""
    threads: tuple[int, int]
    counts: bool = True

    @property
    def bytes_per_job(self) -> float:
        return (self.after - self.before) / max(1, self.jobs_between)

    def breaches(self) -> list[str]:
        found = []
        grown, allowed = self.after - self.before, FREE_BYTES + BYTES_PER_JOB * self.jobs_between
        if grown > allowed:
            found.append(
                f"{self.name} has grown by {grown / KIB:,.0f} KiB over {self.jobs_between:,} jobs; "
                f"{allowed / KIB:,.0f} KiB are allowed"
            )
        for what, (before, after) in {"descriptors": self.fds, "threads": self.threads}.items():
            if after > before + SPARE:
                found.append(f"{self.name} had up to {before} {what}, and has {after} later on")
        if self.counts and not self.jobs_between:
            found.append(f"{self.name} did nothing")
        return found


def growth_of(life: Life, begin: float, end: float) -> Growth:
    length = end - begin
    warm, late = begin + WARM_UP * length, end - LEVEL * length
    middle = (warm + end) / 2
    first = _between(life.samples, warm, warm + LEVEL * length)
    last = _between(life.samples, late, end)
    early = _between(life.samples, warm, middle)
    later = _between(life.samples, middle, end)
    if not (first and last and early and later):
        raise ValueError(f"{life.name} was not looked at often enough")
    return Growth(
        life.name,
        jobs=life.jobs_at(end),
        jobs_between=life.jobs_at(end - LEVEL * length / 2) - life.jobs_at(warm + LEVEL * length / 2),
        before=median(sample.memory for sample in first),
        after=median(sample.memory for sample in last),
        fds=(max(sample.fds for sample in early), max(sample.fds for sample in later)),
        threads=(max(sample.threads for sample in early), max(sample.threads for sample in later)),
        counts=life.counts,
    )


@dataclass(frozen=True)
class ServerBook:
    """The server: new, at its fullest, and when everybody has left and nothing waits."""

    new: int
    fullest: int
    emptied: int
    connections: tuple[int, int]

    def breaches(self) -> list[str]:
        found = []
        if self.emptied > self.new + SERVER_FREE_BYTES:
            found.append(
                f"the emptied server holds {self.emptied / KIB:,.0f} KiB, {self.new / KIB:,.0f} KiB when it was new"
            )
        before, after = self.connections
        if after > before + SPARE_CONNECTIONS:
            found.append(f"the server had up to {before} connections, and has {after} later on")
        return found


def server_book(samples: Sequence[ServerSample], begin: float, end: float, new: int, emptied: int) -> ServerBook:
    warm = begin + WARM_UP * (end - begin)
    middle = (warm + end) / 2
    early, later = _between(samples, warm, middle), _between(samples, middle, end)
    most = max(sample.connections for sample in early), max(sample.connections for sample in later)
    return ServerBook(new, max(sample.memory for sample in samples), emptied, most)


def _between(samples: Iterable[Looked], begin: float, end: float) -> list[Looked]:
    return [sample for sample in samples if begin <= sample.at <= end]
