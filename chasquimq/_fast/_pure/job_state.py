"""What a job is made of, in the form that costs least to make: one is made for every run and every add.

Holds values only. The properties and methods that users know are added by ``chasquimq.job`` and the frontends.
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

from chasquimq._fast._pure.entries import Entry

__all__ = ["JobState", "begin_job", "end_job"]

JobT = TypeVar("JobT", bound="JobState")


class JobState:
    """The fields of a job; ``chasquimq.job.BaseJob`` says what they mean."""

    id: str
    name: str
    data: Any
    timestamp: int
    attempts_made: int
    deliveries: int
    delay: int
    progress: Any
    returnvalue: Any
    failed_reason: str | None
    processed_on: int | None
    finished_on: int | None
    queue: Any
    is_duplicate: bool
    _opts: Any
    _entry: Entry | None
    _progress_sink: Any
    _started_ms: float

    def __new__(cls, *_args: object, **_keywords: object) -> Self:
        self = super().__new__(cls)
        self.id = self.name = ""
        self.data = None
        self.timestamp = self.attempts_made = self.deliveries = self.delay = 0
        self.progress = 0
        self.returnvalue = self.failed_reason = self.processed_on = self.finished_on = self.queue = None
        self.is_duplicate = False
        self._opts = self._entry = self._progress_sink = None
        self._started_ms = 0.0
        return self


def begin_job(job_class: type[JobT], entry: Entry, wall_ms: int, monotonic_ms: float) -> JobT:
    """The job of an entry whose run begins now, without its data; notes the time in both."""
    job = job_class.__new__(job_class)
    job.id = entry.job_id
    job.name = entry.name
    job.timestamp = entry.created_at_ms
    job.attempts_made = entry.attempt + 1
    job.deliveries = entry.deliveries
    job.processed_on = entry.started_on = wall_ms
    job._entry = entry
    job._started_ms = monotonic_ms
    return job


def end_job(job: JobState, monotonic_ms: float) -> Entry:
    """Notes the end of a run in the job and its entry, and returns the entry."""
    entry = job._entry
    assert entry is not None  # noqa: S101 - set by begin_job()
    elapsed_ms = max(0.0, monotonic_ms - job._started_ms)
    entry.duration_us = int(elapsed_ms * 1000)
    job.finished_on = entry.finished_on = entry.started_on + int(elapsed_ms)
    return entry
