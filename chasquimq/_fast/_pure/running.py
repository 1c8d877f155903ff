"""Where every run passes: the job of an entry that starts, and the plain end of one that returned.

The ordinary case is done here in one call each; what is out of the ordinary (a lease in doubt, data that cannot be
decoded, a listener, a value to keep) is handed to the owner, ``_core.worker``, which decides.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Container
from typing import Any, Generic, Protocol, TypeVar

from chasquimq._fast._pure.entries import Entry
from chasquimq._fast._pure.job_state import JobState

__all__ = ["Runs", "end_job"]

JobT = TypeVar("JobT", bound=JobState)


class Clock(Protocol):
    """``_core.clock.Clock``."""

    def wall_ms(self) -> int: ...
    def monotonic_ms(self) -> float: ...


class Owner(Protocol):
    """What is asked to handle the rest."""

    def doubted(self, entry: Entry) -> None:
        """The entry must not be started: its lease is over, or known to be lost."""

    def undecodable(self, job: Any, error: ValueError) -> None:
        """The data of the job could not be decoded."""

    def tell_active(self, job: Any) -> None:
        """Somebody listens to ``active``."""

    def complete_in_full(self, job: Any, entry: Entry) -> None:
        """The run ended with ``job.returnvalue``, and somebody wants to hear of it or to keep the value."""


class Runs(Generic[JobT]):
    """The starts and plain ends of one worker's runs. Callable from any thread."""

    def __init__(
        self,
        owner: Owner,
        job_class: type[JobT],
        *,
        clock: Clock,
        decode: Callable[[bytes], Any],
        listened: Container[str],
        started: deque[Entry] | None,
        completed: deque[Entry],
        keeps_values: bool,
    ) -> None:
        """``decode`` makes the data of a payload, or raises ValueError.

        ``listened``: the names of the events that somebody listens to, looked at anew each time. ``started``,
        ``completed``: where starts and ends are noted; None notes no starts. ``keeps_values``: return values other than
        None are the owner's business.
        """
        self._owner = owner
        self._job_class = job_class
        self._clock = clock
        self._decode = decode
        self._listened = listened
        self._started = started
        self._completed = completed
        self._keeps_values = keeps_values
        self._numbers = itertools.count(1)
        self.ended = 0
        """How many runs have ended so far."""

    def start(self, entry: Entry) -> JobT | None:
        """The job to run, or None when it must not or cannot be run (the owner knows already)."""
        now = self._clock.monotonic_ms()
        if entry.lost or now >= entry.lease_until:
            self._owner.doubted(entry)
            return None
        job = self._job_class.__new__(self._job_class)
        job.id = entry.job_id
        job.name = entry.name
        job.timestamp = entry.created_at_ms
        job.attempts_made = entry.attempt + 1
        job.deliveries = entry.deliveries
        job.processed_on = entry.started_on = self._clock.wall_ms()
        job._entry = entry
        job._started_ms = now
        job._progress_sink = self._owner
        if self._started is not None:
            self._started.append(entry)
        try:
            job.data = self._decode(entry.payload)
        except ValueError as error:
            self._owner.undecodable(job, error)
            return None
        if "active" in self._listened:
            self._owner.tell_active(job)
        return job

    def complete(self, job: JobT, result: Any) -> None:
        """The handler returned."""
        entry = end_job(job, self._clock.monotonic_ms())
        job.returnvalue = result
        if (result is not None and self._keeps_values) or "completed" in self._listened:
            self._owner.complete_in_full(job, entry)
        else:
            self._completed.append(entry)
        self.count_end()

    def count_end(self) -> None:
        """One more run has ended."""
        self.ended = next(self._numbers)


def end_job(job: JobState, monotonic_ms: float) -> Entry:
    """Notes the end of a run in the job and its entry, and returns the entry."""
    entry = job._entry
    assert entry is not None  # noqa: S101 - set by Runs.start()
    elapsed_ms = max(0.0, monotonic_ms - job._started_ms)
    entry.duration_us = int(elapsed_ms * 1000)
    job.finished_on = entry.finished_on = entry.started_on + int(elapsed_ms)
    return entry
