"""The low-level option types of Producer, Consumer and Scheduler (product page, native power-user surface).

Values only: what they mean, their units and their defaults. Every one is translated into the options of the high-level
classes, whose checks it shares; nothing is decided twice. ``None`` means "not given". It must never do I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from chasquimq._core.dead_letters import DlqEntry
from chasquimq._core.opaque import RawJob
from chasquimq._core.repeatable_meta import RepeatableMeta
from chasquimq._dataclass import dataclass, field
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError
from chasquimq.options import (
    BackoffOptions,
    BackoffSpec,
    JobsOptions,
    MissedFires,
    QueueOptions,
    RepeatOptions,
    WorkerOptions,
    build,
    whole_number,
)
from chasquimq.times import Duration, Instant, duration_ms, instant_ms

__all__ = [
    "AddOptions",
    "AddResult",
    "BackoffOptions",
    "BackoffSpec",
    "ConsumerOpts",
    "DlqEntry",
    "JobRetryOverride",
    "MissedFires",
    "MissedFiresPolicy",
    "NamedPayload",
    "ProducerOpts",
    "RawJob",
    "RepeatPattern",
    "RepeatableMeta",
    "RepeatableSpec",
    "RetryOpts",
    "SchedulerOpts",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# -- producing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerOpts:
    """The options of a Producer."""

    connection: Any = None
    """As for Queue: a URL, a mapping, ConnectionOptions, a redis-py client, or None for the environment's."""
    max_payload_bytes: int | None = None
    """The largest encoded job, in bytes; default 1 MiB, which is what consumers accept."""
    max_delay_ms: Duration | None = None
    """The longest delay; default 30 days, 0 = no limit."""
    dedup_window_ms: Duration | None = None
    """How long a ``job_id`` stays reserved after an add, or after the due time of a delayed one; default 1 hour."""

    def to_queue_options(self) -> QueueOptions:
        """The same as options of a Queue."""
        return QueueOptions(
            connection=self.connection,
            max_payload_bytes=self.max_payload_bytes,
            max_delay_ms=self.max_delay_ms,
            dedup_window_ms=self.dedup_window_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRetryOverride:
    """What one job asks of its consumers instead of their own settings."""

    max_attempts: int | None = None
    """The total of runs allowed, at least 1; default the consumer's."""
    backoff: Duration | BackoffOptions | Mapping[str, Any] | None = None
    """The wait before a retry: milliseconds (fixed) or BackoffOptions (see BackoffSpec); default the consumer's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOptions:
    """The options of one job."""

    job_id: str | None = None
    """A stable id; within the deduplication window a second add of it adds nothing. Default: a fresh ULID."""
    delay_ms: Duration | None = None
    """How long until the job becomes due; default 0. Not together with ``at_ms``."""
    at_ms: Instant | None = None
    """When the job becomes due: milliseconds since the epoch or an aware datetime. A past one means at once."""
    retry: JobRetryOverride | Mapping[str, Any] | None = None
    """What the job asks of its consumers; default nothing."""
    timestamp_ms: Instant | None = None
    """The submission time that the job carries; default now."""

    def to_jobs_options(self) -> JobsOptions:
        """The same as options of ``Queue.add``. Raises InvalidOptionError or InvalidOptionTypeError."""
        delay: Duration | Instant | None = self.delay_ms
        if isinstance(delay, datetime):
            raise InvalidOptionTypeError("delay_ms is a datetime; a duration is expected. Give an instant as at_ms.")
        if self.at_ms is not None:
            if delay is not None:
                raise InvalidOptionError("delay_ms and at_ms were both given; one of them says when the job is due.")
            delay = _EPOCH + timedelta(milliseconds=instant_ms("at_ms", self.at_ms))
        retry = _retry(self.retry)
        return JobsOptions(
            job_id=self.job_id,
            delay=delay,
            attempts=retry.max_attempts,
            backoff=retry.backoff,
            timestamp=self.timestamp_ms,
        )


@dataclass(frozen=True, slots=True)
class NamedPayload:
    """One row of ``Producer.add_bulk``."""

    name: str
    """The dispatch name, at most 256 bytes; may be empty."""
    payload: bytes
    """The opaque payload."""
    opts: AddOptions | Mapping[str, Any] | None = None
    """The options of this job."""


@dataclass(frozen=True, slots=True)
class AddResult:
    """What an add of a Producer returns."""

    job_id: str
    """The job's id, generated or given."""
    is_duplicate: bool = False
    """True when the id was known within its deduplication window and nothing was added."""


def jobs_options(opts: object) -> JobsOptions:
    """AddOptions, or a mapping of the same names, as options of ``Queue.add``."""
    if isinstance(opts, AddOptions):
        return opts.to_jobs_options()
    if isinstance(opts, Mapping):
        return build(AddOptions, opts).to_jobs_options()
    raise InvalidOptionTypeError(f"the options are {type(opts).__name__}; expected AddOptions or a mapping.")


def _retry(retry: JobRetryOverride | Mapping[str, Any] | None) -> JobRetryOverride:
    if retry is None:
        return JobRetryOverride()
    if isinstance(retry, JobRetryOverride):
        return retry
    if isinstance(retry, Mapping):
        return build(JobRetryOverride, retry)
    raise InvalidOptionTypeError(f"retry is {type(retry).__name__}; expected JobRetryOverride or a mapping.")


# -- repeating -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatPattern:
    """When a repeatable job fires; made by ``cron`` or ``every``. Exactly one of the two is set."""

    expression: str | None = None
    """A cron expression: 5 fields, 6 with leading seconds, 7 with a trailing year, or a nickname."""
    tz: str | None = None
    """The time zone of the expression: an IANA name, ``+HH:MM`` or UTC (default)."""
    interval_ms: Duration | None = None
    """The time from one fire to the next, at least 1 ms."""

    def __post_init__(self) -> None:
        if (self.expression is None) == (self.interval_ms is None):
            raise InvalidOptionError("a RepeatPattern is either a cron expression or an interval.")
        if self.interval_ms is not None and self.tz is not None:
            raise InvalidOptionError("an interval has no time zone; tz goes with a cron expression.")

    @classmethod
    def cron(cls, expression: str, tz: str | None = None) -> RepeatPattern:
        """Fires whenever the clock of ``tz`` matches the cron expression."""
        return cls(expression=expression, tz=tz)

    @classmethod
    def every(cls, interval_ms: Duration) -> RepeatPattern:
        """Fires one interval after the upsert, and so on."""
        return cls(interval_ms=interval_ms)


class MissedFiresPolicy:
    """Makes the values for fires that nobody was there to do; a builder like BackoffSpec."""

    @staticmethod
    def skip() -> MissedFires:
        """They are left out (default)."""
        return MissedFires()

    @staticmethod
    def fire_once() -> MissedFires:
        """One fire stands for all of them."""
        return MissedFires(kind="fire-once")

    @staticmethod
    def fire_all(max_catchup: int) -> MissedFires:
        """Each is made up for, at most ``max_catchup`` at a time."""
        return MissedFires(kind="fire-all", max_catchup=max_catchup)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatableSpec:
    """A repeatable job as ``Producer.upsert_repeatable`` stores it."""

    job_name: str
    """The dispatch name of every fired job."""
    pattern: RepeatPattern
    """When it fires."""
    payload: bytes = b""
    """The opaque payload of every fired job."""
    key: str | None = None
    """Its identity: an upsert replaces the spec of the same key. Default: made of name and pattern."""
    limit: int | None = None
    """How often it fires in all, at least 1; default without end."""
    start_after_ms: Instant | None = None
    """It does not fire before; milliseconds since the epoch or an aware datetime."""
    end_before_ms: Instant | None = None
    """It does not fire after; milliseconds since the epoch or an aware datetime."""
    missed_fires: MissedFires = field(default_factory=MissedFires)
    """What happens to fires that nobody was there to do (see MissedFiresPolicy); default they are left out."""
    retry: JobRetryOverride | Mapping[str, Any] | None = None
    """What every fired job asks of its consumers; default nothing."""

    def to_jobs_options(self) -> JobsOptions:
        """The same as options of ``Queue.add`` with ``repeat``."""
        retry = _retry(self.retry)
        return JobsOptions(
            attempts=retry.max_attempts,
            backoff=retry.backoff,
            repeat_job_key=self.key,
            repeat=RepeatOptions(
                pattern=self.pattern.expression,
                tz=self.pattern.tz,
                every=self.pattern.interval_ms,
                limit=self.limit,
                start_date=self.start_after_ms,
                end_date=self.end_before_ms,
                missed_fires=self.missed_fires,
            ),
        )


# -- consuming -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOpts:
    """How long a consumer waits before it runs a failed job again, if the job does not say."""

    kind: Literal["fixed", "exponential"] = "exponential"
    """``"fixed"``: ``delay_ms`` each time; ``"exponential"``: ``delay_ms * multiplier ** (n - 1)`` before the n-th."""
    delay_ms: Duration = 100
    """The first wait."""
    max_delay_ms: Duration = 30_000
    """No wait is longer."""
    multiplier: float = 2.0
    """How much longer each wait is than the one before."""
    jitter_ms: Duration = 100
    """Up to so much is added or taken away at random."""

    def to_backoff(self) -> BackoffOptions:
        """The same as BackoffOptions. Raises InvalidOptionError or InvalidOptionTypeError."""
        return BackoffOptions(
            type=self.kind,
            delay=self.delay_ms,
            max_delay=self.max_delay_ms,
            multiplier=self.multiplier,
            jitter_ms=self.jitter_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOpts:
    """The options of a Consumer; those that a Worker has too mean the same."""

    connection: Any = None
    """As for Queue."""
    concurrency: int | None = None
    """Handlers running at a time; default 100."""
    autorun: bool | None = None
    """Whether entering the scope starts the consumer; default True."""
    drain_delay: Duration | None = None
    """How long a read waits for jobs; default 5,000 ms."""
    max_attempts: int | None = None
    """Total runs of a job that does not say itself; default 3."""
    retry: RetryOpts | Mapping[str, Any] | None = None
    """The wait before retries of jobs that do not say themselves; default RetryOpts()."""
    name: str | None = None
    """The consumer's name in the group, unique; default generated."""
    run_scheduler: bool | None = None
    """Whether it fires repeatable jobs; default True."""
    scheduler_tick_ms: Duration | None = None
    """How often the schedule is looked at, at least; default 1,000."""
    store_results: bool | None = None
    """Whether the bytes that a handler returns are kept; default False."""
    result_ttl_ms: Duration | None = None
    """For how long; default 1 hour, rounded up to whole seconds."""
    events: bool | None = None
    """Whether the events stream is written; default True."""
    lease_ms: Duration | None = None
    """How long a job stays this consumer's after its last renewal; default 30,000, at least 100."""
    drain_timeout_ms: Duration | None = None
    """How long ``close()`` waits for running handlers; default 30,000."""
    ack: Literal["batch", "each"] | None = None
    """``"batch"`` (default), or ``"each"``: the end of a job is written before the next one starts."""
    max_payload_bytes: int | None = None
    """Larger entries go to the dead-letter queue; default 1 MiB."""

    def to_worker_options(self) -> WorkerOptions:
        """The same as options of a Worker. Raises InvalidOptionError or InvalidOptionTypeError."""
        retry = build(RetryOpts, self.retry) if isinstance(self.retry, Mapping) else self.retry
        if retry is not None and not isinstance(retry, RetryOpts):
            raise InvalidOptionTypeError(f"retry is {type(retry).__name__}; expected RetryOpts or a mapping.")
        shared = {name: getattr(self, name) for name in self.__slots__ if name != "retry"}
        return WorkerOptions(**shared, backoff=None if retry is None else retry.to_backoff())


# -- scheduling ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOpts:
    """The options of a Scheduler."""

    connection: Any = None
    """As for Queue."""
    tick_ms: Duration | None = None
    """How often the schedule is looked at, at least, and how late a fire of an interval may be without counting as
    missed; default 1,000, at least 1."""
    name: str | None = None
    """Its name in the leader lock, unique; default generated."""

    def checked_tick_ms(self) -> int:
        """``tick_ms`` in whole milliseconds. Raises InvalidOptionError or InvalidOptionTypeError."""
        if self.tick_ms is None:
            return 1_000
        return whole_number("tick_ms", duration_ms("tick_ms", self.tick_ms), minimum=1)

    def holder(self, generated_name: str) -> bytes:
        """What the leader lock holds: ``name``, or the generated one."""
        if self.name is None:
            return generated_name.encode()
        if not isinstance(self.name, str):
            raise InvalidOptionTypeError(f"name is {type(self.name).__name__}; expected a text, unique per scheduler.")
        if not self.name.strip():
            raise InvalidOptionError("name is blank. Leave it out to have one generated; it must be unique.")
        return self.name.encode()
