"""One queue on one Redis core: how it is loaded, and what came of it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from benchmarks.scale.commands import CommandCosts
from benchmarks.scale.simulation.core import Core, Request
from benchmarks.scale.simulation.timeline import Timeline
from benchmarks.scale.simulation.waits import Waits
from benchmarks.scale.simulation.worker import Handlers, WorkerProcess

__all__ = ["Load", "Outcome", "simulate", "workers_for"]

SLOTS_BUSY = 0.8
"""How busy the handlers' slots are planned to be."""
SECOND = 1e6
SAMPLE = 0.05 * SECOND
_REPEAT = 1.0 * SECOND
"""How long a caller waits before it adds again what was refused; the half of it is jitter."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes, and who is there for it."""

    rate: float
    """Jobs a second."""
    workers: int
    group: int = 1
    """How many jobs are added in one write."""
    handlers: Handlers = field(default_factory=Handlers)
    way: float = 50.0
    """From a client to the server."""
    seconds: float = 3.0
    warm_up: float = 1.0
    """What happens before is not counted."""
    core_away: tuple[float, float] | None = None
    """Seconds. Callers whose adds fail meanwhile repeat them until they succeed."""
    workers_away: tuple[float, float] | None = None
    """Seconds in which no worker reads."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, after the warm-up."""

    busy: float
    """Share of the time in which the core worked."""
    redis_us: float
    """Per ended job."""
    per_read: float
    per_end: float
    """Jobs in a read that brought some, and in a write with ends."""
    waits: Waits
    """From the first attempt to add a job to the start of its handler; microseconds."""
    longest_queue: int
    left: int
    """Unread at the end."""
    late_until: float
    """The second in which the last late job started; 0 when none was late."""
    slots_busy: float
    refused: int
    """Jobs that were refused when they were first added."""
    ended: int


def workers_for(rate: float, handlers: Handlers) -> int:
    """How many worker processes a rate needs."""
    return max(1, math.ceil(rate * handlers.duration / SECOND / handlers.concurrency / SLOTS_BUSY))


def simulate(load: Load, costs: CommandCosts, seed: int) -> Outcome:
    """Runs the shard; the same seed gives the same outcome."""
    return _Shard(load, costs, seed).run()


class _Shard:
    def __init__(self, load: Load, costs: CommandCosts, seed: int) -> None:
        self._load = load
        # Arrivals draw from a source of their own, so that two shards under the same load get the same jobs.
        self._arrivals, self._draw = random.Random(seed), random.Random(seed + 1)
        self._timeline = timeline = Timeline()
        self._core = Core(timeline, costs, way=load.way, away=_microseconds(load.core_away))
        self._waits = Waits()
        away = _microseconds(load.workers_away)
        self._workers = [
            WorkerProcess(timeline, self._core, load.handlers, self._waits, self._draw, away=away)
            for _ in range(load.workers)
        ]
        self._longest_queue = self._samples = self._running = self._refused = 0

    def run(self) -> Outcome:
        load, core, timeline = self._load, self._core, self._timeline
        for worker in self._workers:
            timeline.at(self._draw.uniform(0, 1000), worker.read)
        timeline.at(0.0, self._produce)
        timeline.run(load.warm_up * SECOND)
        before = core.busy, core.reads, core.read, core.writes, core.ended
        self._waits.clear()
        timeline.at(load.warm_up * SECOND, self._sample)
        timeline.run((load.warm_up + load.seconds) * SECOND)
        now = core.busy, core.reads, core.read, core.writes, core.ended
        busy, reads, read, writes, ended = (after - earlier for after, earlier in zip(now, before, strict=True))
        return Outcome(
            busy=busy / load.seconds / SECOND,
            redis_us=busy / ended if ended else math.nan,
            per_read=read / reads if reads else math.nan,
            per_end=ended / writes if writes else math.nan,
            waits=self._waits,
            longest_queue=self._longest_queue,
            left=core.waiting,
            late_until=self._waits.late_until / SECOND,
            slots_busy=self._running / self._samples / load.workers / load.handlers.concurrency,
            refused=self._refused,
            ended=int(ended),
        )

    # -- producers: whoever adds is somebody else, and does not wait for the others --------------------------------

    def _produce(self, time: float) -> None:
        load = self._load
        self._core.send(time, Request(self, time, rows=load.group))
        if self._core.is_away(time):
            self._refused += load.group
        self._timeline.at(time + self._arrivals.expovariate(load.rate / load.group / SECOND), self._produce)

    def answered(self, _time: float, _request: Request) -> None:
        """A producer has its answer."""

    def lost(self, time: float, request: Request) -> None:
        """A producer is told that its jobs are not there."""
        self._timeline.at(time + _REPEAT * self._draw.uniform(0.5, 1.0), self._add_again, request)

    def _add_again(self, time: float, request: Request) -> None:
        self._core.send(time, request)

    def _sample(self, time: float) -> None:
        self._longest_queue = max(self._longest_queue, self._core.waiting)
        self._running += sum(worker.running for worker in self._workers)
        self._samples += 1
        self._timeline.at(time + SAMPLE, self._sample)


def _microseconds(span: tuple[float, float] | None) -> tuple[float, float] | None:
    return (span[0] * SECOND, span[1] * SECOND) if span else None
