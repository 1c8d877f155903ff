"""One worker process: a reader, handlers in slots, and an acker, on one core of their own.

It asks for entries and waits out broken connections as the library does, by the library's own rules.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from benchmarks.scale.simulation.core import Core, Group, Request
from benchmarks.scale.simulation.timeline import Timeline
from benchmarks.scale.simulation.waits import Waits
from chasquimq._core.reading import Intake
from chasquimq._core.reconnect import worker_delay_ms

__all__ = ["Handlers", "WorkerProcess"]

CLIENT_TURN = 60.0
CLIENT_JOB = 40.0
"""What a worker process spends per answer that arrives or request that leaves, and per job. Assumed: nothing that is
measured tells the two apart. Together they make about what asyncio workers with handlers that sleep spent on a job."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the handlers of every worker process are like."""

    concurrency: int = 100
    duration: float = 100_000.0
    """On average; exponentially distributed when ``vary``."""
    vary: bool = True
    events: bool = False
    """Whether the start of each job is told, too."""
    gathers: bool = True
    """Whether ends may wait a moment for others; not where results are stored."""


class WorkerProcess:
    """Takes jobs from ``core`` until the end; not between the two times of ``away``."""

    def __init__(
        self,
        timeline: Timeline,
        core: Core,
        handlers: Handlers,
        waits: Waits,
        draw: random.Random,
        *,
        away: tuple[float, float] | None = None,
    ) -> None:
        self._timeline = timeline
        self._core = core
        self._handlers = handlers
        self._waits = waits
        self._draw = draw
        self._away = away
        self._intake = Intake(handlers.concurrency)
        self._ready: deque[Group] = deque()
        self._running = 0
        self._held = self._ended = 0
        """Entries in this worker's hands, and how many have ended so far (``LeaseBook``, ``Runs.ended``)."""
        self._starts = self._ends = 0
        """To be written."""
        self._is_writing = False
        self._has_read_under_way = False
        self._free_at = 0.0
        self._failures = {True: 0, False: 0}
        """In a row, of reads and of writes."""
        if away is not None:
            timeline.at(away[1], self.read)

    @property
    def running(self) -> int:
        return self._running

    # -- reader ----------------------------------------------------------------------------------------------------

    def read(self, time: float) -> None:
        """Asks for what there is room for, unless that is done already."""
        if self._has_read_under_way or (self._away is not None and self._away[0] <= time < self._away[1]):
            return
        count = self._intake.wanted(self._held, self._ended, time / 1000)
        if count:
            self._has_read_under_way = True
            self._core.send(time, Request(self, time, count=count))

    def received(self, time: float, groups: list[Group]) -> None:
        """Entries have arrived: they start as soon as there are slots, and the next read goes out."""
        self._has_read_under_way = False
        self._failures[True] = 0
        jobs = sum(jobs for _, jobs in groups)
        self._held += jobs
        self._ready.extend(groups)
        self._timeline.at(self._spend(time, CLIENT_TURN + CLIENT_JOB * jobs), self._received)

    def _received(self, time: float) -> None:
        self._start(time)
        self.read(time)

    # -- handlers --------------------------------------------------------------------------------------------------

    def _start(self, time: float) -> None:
        handlers = self._handlers
        while self._ready and (free := handlers.concurrency - self._running) > 0:
            sent_at, jobs = self._ready.popleft()
            started = min(jobs, free)
            if started < jobs:
                self._ready.appendleft((sent_at, jobs - started))
            self._running += started
            self._waits.record(time, sent_at, started)
            if handlers.vary:
                for _ in range(started):
                    self._timeline.at(time + self._draw.expovariate(1 / handlers.duration), self._end, 1)
            else:
                self._timeline.at(time + handlers.duration, self._end, started)
            if handlers.events:
                self._starts += started
        if self._starts:
            self._write_soon(time)

    def _end(self, time: float, jobs: int) -> None:
        self._running -= jobs
        self._ended += jobs
        self._ends += jobs
        if self._ready:
            self._start(time)
        self._write_soon(time)

    # -- acker -----------------------------------------------------------------------------------------------------

    def _write_soon(self, time: float) -> None:
        if not self._is_writing:
            self._is_writing = True
            gathering_ms = self._intake.gathering_ms if self._handlers.gathers else 0.0
            self._timeline.at(time + gathering_ms * 1000, self._gathered)

    def _gathered(self, time: float) -> None:
        self._timeline.at(self._spend(time, CLIENT_TURN), self._write)

    def _write(self, time: float) -> None:
        starts, self._starts = self._starts, 0
        ends, self._ends = self._ends, 0
        self._core.send(time, Request(self, time, starts=starts, ends=ends))

    def answered(self, time: float, request: Request) -> None:
        """Starts and ends are written: there is room for more."""
        self._failures[False] = 0
        self._is_writing = False
        self._held -= request.ends
        if self._starts or self._ends:
            self._write_soon(time)
        self.read(time)

    # -- trouble ---------------------------------------------------------------------------------------------------

    def lost(self, time: float, request: Request) -> None:
        """Tries again after the library's pause."""
        is_read = bool(request.count)
        self._failures[is_read] += 1
        again_at = time + worker_delay_ms(self._failures[is_read], self._draw.random()) * 1000
        if is_read:
            self._has_read_under_way = False
            self._timeline.at(again_at, self.read)
        else:
            self._starts += request.starts
            self._ends += request.ends
            self._timeline.at(again_at, self._write)

    def _spend(self, time: float, client: float) -> float:
        """Uses the process' own core; returns when that is done."""
        self._free_at = max(time, self._free_at) + client
        return self._free_at
