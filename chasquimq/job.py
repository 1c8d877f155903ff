"""The job: what ``add`` returns and what a handler receives. The two frontends add the methods that wait.

A job is a value in this process. The stream carries its id, name, data and attempt; progress, return value and
failure reason are only what this process knows (product page, Job).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, NoReturn, TypeVar

from chasquimq._fast import Entry, JobState
from chasquimq.errors import NotSupportedError
from chasquimq.options import BackoffOptions, JobsOptions, MissedFires, RepeatOptions
from chasquimq.times import duration_ms, instant_ms

__all__ = ["BaseJob", "DataT", "ResultT", "carried"]

DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")

_NO_OPTIONS = JobsOptions()


class BaseJob(JobState, Generic[DataT, ResultT]):
    """The properties of a job, the same in both frontends; the values themselves are kept by ``JobState``."""

    __slots__ = ()

    id: str
    """A generated ULID, or the caller's ``job_id``; the resolved spec key for a repeatable job."""
    name: str
    """The dispatch name; may be empty."""
    data: DataT
    """What was added."""
    timestamp: int
    """Submission time, milliseconds since the epoch."""
    attempts_made: int
    """Which run this is: 0 never yet run, 1 in the first run."""
    deliveries: int
    """How often this entry was handed to a worker before; more than 0 after a worker died or a lease was lost."""
    progress: Any
    """What the handler reported last; known to this process only."""
    returnvalue: ResultT | None
    """What the handler returned, or ``wait_for_result`` found; known to this process only."""
    failed_reason: str | None
    """The text of the error that ended this run; known to this process only."""
    delay: int
    """Original delay in milliseconds."""
    processed_on: int | None
    """When the handler was started, milliseconds since the epoch."""
    finished_on: int | None
    """When the handler ended, milliseconds since the epoch."""
    queue: Any
    """The Queue that added the job; None inside a handler."""
    is_duplicate: bool
    """True when ``add`` found the job id within its deduplication window and added nothing."""

    def __init__(self, id: str, name: str, data: DataT, timestamp: int) -> None:  # noqa: A002
        self.id = id
        self.name = name
        self.data = data
        self.timestamp = timestamp

    @property
    def priority(self) -> int:
        """Always 0: a stream is first in, first out."""
        return 0

    @property
    def lease_lost(self) -> bool:
        """True when the job's lease could not be kept: another worker may be running it too."""
        return self._entry is not None and self._entry.lost

    @property
    def opts(self) -> JobsOptions:
        """The options that the job was added with, as far as they travel with it."""
        if self._opts is None:
            self._opts = _NO_OPTIONS if self._entry is None else _options_of(self._entry)
        options: JobsOptions = self._opts
        return options

    @property
    def redelivered(self) -> bool:
        """Whether an earlier delivery of this entry may already have done some of the work."""
        return self.deliveries > 0

    @property
    def stacktrace(self) -> list[str]:
        """Reserved by the product; empty."""
        return []

    def is_delayed(self) -> bool:
        """Whether the job was added with a delay."""
        return self.delay > 0

    def to_json(self) -> dict[str, Any]:
        """A snapshot for logs, with the names of the product page in snake_case.

        It can be written as JSON if data, progress and return value can; ``opts`` holds the options that were given.
        """
        return {
            "id": self.id,
            "name": self.name,
            "data": self.data,
            "opts": _plain(self.opts),
            "attempts_made": self.attempts_made,
            "progress": self.progress,
            "returnvalue": self.returnvalue,
            "failed_reason": self.failed_reason,
            "stacktrace": self.stacktrace,
            "timestamp": self.timestamp,
            "delay": self.delay,
            "priority": self.priority,
            "processed_on": self.processed_on,
            "finished_on": self.finished_on,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process it goes as the value that it is: without its Queue, and without the worker that runs it.
        return carried(self, self.opts)

    def __repr__(self) -> str:
        # Data may be private or huge; a log line names the job only.
        return f"<Job {self.id} {self.name!r} attempts_made={self.attempts_made}>"

    def _refuse(self, method: str, instead: str) -> NoReturn:
        raise NotSupportedError(f"Job.{method}() is not supported. {instead}")

    def log(self, row: str) -> NoReturn:
        """Not supported (product page): nothing per job is kept in Redis."""
        self._refuse("log", f"Use the logging module; this row was not kept: {row!r:.60}")

    def get_state(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("get_state", "Follow the job with QueueEvents or wait_for_result().")

    def remove(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("remove", "Use queue.remove(job_id) for a delayed job that was added with a job_id.")

    def retry(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("retry", "Use queue.replay_dlq() for dead letters.")

    def discard(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("discard", "Raise UnrecoverableError in the handler to skip the remaining retries.")

    def update(self, data: object) -> NoReturn:
        """Not supported (product page): an entry of a stream cannot be changed."""
        self._refuse("update", f"Add a new job with the new data ({type(data).__name__}).")

    def update_data(self, data: object) -> NoReturn:
        """Not supported (product page): an entry of a stream cannot be changed."""
        self._refuse("update_data", f"Add a new job with the new data ({type(data).__name__}).")

    def is_completed(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("is_completed", "Use wait_for_result() with store_results=True.")

    def is_failed(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("is_failed", "Follow the job with QueueEvents.")

    def is_active(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("is_active", "Follow the job with QueueEvents.")

    def is_waiting(self) -> NoReturn:
        """Not supported (product page)."""
        self._refuse("is_waiting", "Follow the job with QueueEvents.")


_CARRIED = (
    "id",
    "name",
    "data",
    "timestamp",
    "attempts_made",
    "deliveries",
    "delay",
    "progress",
    "returnvalue",
    "failed_reason",
    "processed_on",
    "finished_on",
    "is_duplicate",
)


def carried(job: JobState, options: JobsOptions) -> tuple[Any, ...]:
    """What ``pickle`` makes a job of again."""
    return _restored, (type(job), {name: getattr(job, name) for name in _CARRIED}, options)


def _restored(kind: type[JobState], values: dict[str, Any], options: JobsOptions) -> JobState:
    job = kind.__new__(kind)
    for name, value in values.items():
        setattr(job, name, value)
    job._opts = options
    return job


def _plain(option: Any) -> Any:
    """An option as JSON can carry it: what was given, with durations and instants in milliseconds."""
    if isinstance(option, timedelta):
        return duration_ms("an option", option)
    if isinstance(option, datetime):
        return instant_ms("an option", option)
    if isinstance(option, JobsOptions | BackoffOptions | RepeatOptions | MissedFires):
        option = {name: getattr(option, name) for name in option.__slots__}
    if isinstance(option, Mapping):
        return {name: _plain(value) for name, value in option.items() if value is not None}
    return option


def _options_of(entry: Entry) -> JobsOptions:
    backoff: BackoffOptions | None = None
    if entry.backoff is not None:
        kind, delay, max_delay, multiplier, jitter = entry.backoff
        if multiplier is not None and not 0 <= multiplier < float("inf"):
            multiplier = None  # other producers write what ours refuses; a reader of options gets the default
        backoff = BackoffOptions(
            type="fixed" if kind == "fixed" else "exponential",
            delay=delay,
            max_delay=max_delay,
            multiplier=multiplier,
            jitter_ms=jitter,
        )
    return JobsOptions(attempts=entry.max_attempts, backoff=backoff, job_id=entry.job_id)
