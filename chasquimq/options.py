"""The options of the product page as frozen values, and how given ones are merged and checked.

Every option can be given as a keyword or in an options value (``opts=``), which may also be a plain mapping;
keywords win. ``None`` means "not given". Checks run here, before any I/O, and nothing here does I/O.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from chasquimq._dataclass import dataclass, field_names, replace
from chasquimq.address import ConnectionOptions
from chasquimq.errors import (
    InvalidJobIdError,
    InvalidOptionError,
    InvalidOptionTypeError,
    NotSupportedError,
    shown,
)
from chasquimq.times import GREATEST, Duration, Instant, duration_ms

__all__ = [
    "BackoffOptions",
    "BackoffSpec",
    "BulkJob",
    "ConnectionOptions",
    "JobsOptions",
    "MissedFires",
    "QueueEventsOptions",
    "QueueOptions",
    "RepeatOptions",
    "WaitForResultOptions",
    "WorkerOptions",
]

MAX_NAME_BYTES = 256
MAX_ATTEMPTS = 2**32 - 1
DEFAULT_BACKOFF_CAP_MS = 30_000

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffOptions:
    """How long to wait before a retry (product page, BackoffOptions).

    ``type``: ``"fixed"`` waits ``delay`` each time, ``"exponential"`` waits ``delay * multiplier ** (n - 1)``
    before the n-th retry. ``delay``: milliseconds or timedelta, default 100. ``max_delay``: cap of the computed
    wait; without it 30 s, or ``delay`` if that is longer. ``multiplier``: default 2. ``jitter_ms``: up to so many
    milliseconds are added or taken away at random; default 0.

    Raises InvalidOptionError, InvalidOptionTypeError.
    """

    type: Literal["fixed", "exponential"]
    delay: Duration = 100
    max_delay: Duration | None = None
    multiplier: float | None = None
    jitter_ms: Duration | None = None

    def __post_init__(self) -> None:
        if self.type not in ("fixed", "exponential"):
            raise InvalidOptionError(f"backoff type is {shown(self.type)}; expected 'fixed' or 'exponential'.")
        duration_ms("backoff delay", self.delay)
        if self.max_delay is not None:
            duration_ms("backoff max_delay", self.max_delay)
        if self.jitter_ms is not None:
            duration_ms("backoff jitter_ms", self.jitter_ms)
        multiplier = self.multiplier
        if multiplier is not None:
            if isinstance(multiplier, bool) or not isinstance(multiplier, int | float):
                raise InvalidOptionTypeError(f"backoff multiplier is {type(multiplier).__name__}; expected a number.")
            if not 0 <= multiplier <= sys.float_info.max:  # an int may be more than that and less than infinity
                raise InvalidOptionError(f"backoff multiplier is {shown(multiplier)}; expected a number from 0 on.")

    def to_wire(self) -> tuple[str, int, int | None, float | None, int | None]:
        """The five positions of the wire's backoff array (docs/wire-format.md, job envelope)."""
        delay = duration_ms("backoff delay", self.delay)
        cap = None if self.max_delay is None else duration_ms("backoff max_delay", self.max_delay)
        if cap is None and delay > DEFAULT_BACKOFF_CAP_MS:
            # A worker caps at 30 s what names no cap; written out, every kind of worker waits what was asked.
            cap = delay
        jitter = None if self.jitter_ms is None else duration_ms("backoff jitter_ms", self.jitter_ms)
        multiplier = None if self.multiplier is None else float(self.multiplier)
        return (self.type, delay, cap, multiplier, jitter)


class BackoffSpec:
    """Builds ``BackoffOptions`` (product page, BackoffSpec)."""

    @staticmethod
    def fixed(delay: Duration, *, jitter_ms: Duration | None = None) -> BackoffOptions:
        """The same wait before every retry: milliseconds or timedelta, ``jitter_ms`` more or less by chance."""
        return BackoffOptions(type="fixed", delay=delay, jitter_ms=jitter_ms)

    @staticmethod
    def exponential(
        delay: Duration,
        *,
        multiplier: float = 2.0,
        max_delay_ms: Duration | None = None,
        jitter_ms: Duration | None = None,
    ) -> BackoffOptions:
        """``delay``, then ``multiplier`` times as long before each further retry, up to ``max_delay_ms``."""
        return BackoffOptions(
            type="exponential",
            delay=delay,
            max_delay=max_delay_ms,
            multiplier=multiplier,
            jitter_ms=jitter_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedFires:
    """What happens to fires that nobody was there to do (product page, MissedFiresOption).

    ``kind``: ``"skip"`` (default) leaves them out, ``"fire-once"`` has one job stand for all, ``"fire-all"`` makes up
    for each. ``max_catchup``: the most fires of one catching-up, at least 1; required with ``"fire-all"``, refused
    otherwise.

    Raises InvalidOptionError, InvalidOptionTypeError.
    """

    kind: Literal["skip", "fire-once", "fire-all"] = "skip"
    max_catchup: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("skip", "fire-once", "fire-all"):
            raise InvalidOptionError(f"missed_fires kind is {shown(self.kind)}; expected skip, fire-once or fire-all.")
        if self.kind == "fire-all":
            whole_number("missed_fires max_catchup", self.max_catchup, minimum=1)
        elif self.max_catchup is not None:
            raise InvalidOptionError("missed_fires max_catchup goes with kind='fire-all' only.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatOptions:
    """A recurring job: exactly one of ``pattern`` and ``every`` (product page, RepeatOptions).

    ``pattern``: a cron expression of 5 fields, 6 with leading seconds, 7 with a trailing year, or a nickname such as
    ``@daily``. ``tz``: its time zone: an IANA name, an offset like ``+05:30``, ``UTC`` (default) or ``Z``; ignored with
    ``every``. ``every``: an interval, milliseconds or timedelta, at least 1 ms; the first fire is one interval after
    the add. ``limit``: how often it fires in all, default without end. ``start_date``, ``end_date``: it does not fire
    before, not after: an aware datetime, milliseconds since the epoch, or an ISO 8601 text with a time zone.
    ``missed_fires``: what happens to fires that nobody was there to do: MissedFires, a mapping of its fields, or the
    name of a kind; default ``"skip"``. ``immediately``, ``job_id``: accepted, no effect.

    The values are checked by ``add``: InvalidOptionError, InvalidOptionTypeError.
    """

    pattern: str | None = None
    every: Duration | None = None
    limit: int | None = None
    immediately: bool | None = None
    start_date: Instant | str | None = None
    end_date: Instant | str | None = None
    tz: str | None = None
    job_id: str | None = None
    missed_fires: MissedFires | Mapping[str, Any] | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsOptions:
    """The options of one job (product page, JobsOptions). All default to "not given".

    ``delay``: milliseconds, timedelta, or an aware datetime at which the job becomes due; 0 = at once.
    ``attempts``: total number of runs allowed, default the worker's. ``backoff``: a number of milliseconds
    (fixed) or BackoffOptions. ``job_id``: stable id; a second add of it within the deduplication window adds
    nothing. ``timestamp``: the submission time that the job carries, default now. ``repeat``: RepeatOptions or a
    mapping of the same names: a recurring job is stored instead. ``repeat_job_key``: its key, default made of name and
    pattern. ``remove_on_complete``, ``remove_on_fail``: accepted, no effect. ``priority``, ``lifo``: accepted, ignored
    with one warning (a stream is first in, first out). ``parent``: raises NotSupportedError.

    The values are checked by ``add``: InvalidOptionError, InvalidOptionTypeError, InvalidJobIdError.
    """

    delay: Duration | Instant | None = None
    attempts: int | None = None
    backoff: Duration | BackoffOptions | Mapping[str, Any] | None = None
    job_id: str | None = None
    repeat: RepeatOptions | Mapping[str, Any] | None = None
    repeat_job_key: str | None = None
    timestamp: Instant | None = None
    priority: int | None = None
    lifo: bool | None = None
    remove_on_complete: bool | int | None = None
    remove_on_fail: bool | int | None = None
    parent: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.parent is not None:
            raise NotSupportedError(
                "parent / child flows are not supported. Add the next job from the handler of the one before."
            )
        if self.priority is not None:
            _warn_ignored("priority")
        if self.lifo is not None:
            _warn_ignored("lifo")


@dataclass(frozen=True, slots=True)
class BulkJob:
    """One row of ``add_bulk``.

    ``name``: dispatch name, at most 256 bytes, may be empty. ``data``: anything MessagePack can carry. ``opts``: the
    job's options, JobsOptions or a mapping of the same names; default those of the queue.
    """

    name: str
    data: Any
    opts: JobsOptions | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """The options of a Queue as one reusable value (product page, QueueOptions); see ``Queue`` for the meanings."""

    connection: Any = None
    default_job_options: JobsOptions | Mapping[str, Any] | None = None
    prefix: str | None = None
    max_payload_bytes: int | None = None
    max_delay_ms: Duration | None = None
    dedup_window_ms: Duration | None = None
    events: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of a Worker as one reusable value (product page, WorkerOptions); see ``Worker`` for the meanings."""

    connection: Any = None
    concurrency: int | None = None
    autorun: bool | None = None
    drain_delay: Duration | None = None
    max_stalled_count: int | None = None
    max_attempts: int | None = None
    name: str | None = None
    run_scheduler: bool | None = None
    scheduler_tick_ms: Duration | None = None
    store_results: bool | None = None
    result_ttl_ms: Duration | None = None
    events: bool | None = None
    lease_ms: Duration | None = None
    drain_timeout_ms: Duration | None = None
    ack: Literal["batch", "each"] | None = None
    backoff: Duration | BackoffOptions | Mapping[str, Any] | None = None
    max_payload_bytes: int | None = None
    processes: int | None = None
    start_method: Literal["fork", "spawn"] | None = None
    remove_on_complete: Any = None
    remove_on_fail: Any = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEventsOptions:
    """The options of QueueEvents as one value (product page, QueueEventsOptions); see there for the meanings."""

    connection: Any = None
    prefix: str | None = None
    autorun: bool | None = None
    last_event_id: str | None = None
    blocking_timeout: Duration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForResultOptions:
    """The options of ``Job.wait_for_result`` as one value (product page, WaitForResultOptions).

    ``timeout_ms``: the time in all, milliseconds or timedelta, default 30,000. ``interval_ms``: the longest time
    between two looks while the events stream does not tell of the job, default 100. ``signal``: a threading.Event
    (sync) or anyio.Event (aio) that ends the wait.
    """

    timeout_ms: Duration | None = None
    interval_ms: Duration | None = None
    signal: Any = None


def keywords(**given: Any) -> dict[str, Any]:
    """The keywords that were given: those that are not None."""
    return {name: value for name, value in given.items() if value is not None}


def merge(kind: type[OptionsT], opts: object, given: Mapping[str, Any]) -> OptionsT:
    """One options value of ``opts`` (value, mapping or None) and the keywords ``given``, which win.

    Raises InvalidOptionTypeError for an unknown option or an ``opts`` of another type.
    """
    keywords = {name: value for name, value in given.items() if value is not None}
    if opts is None:
        return build(kind, keywords)
    if isinstance(opts, kind):
        return replace(opts, **keywords) if keywords else opts  # type: ignore[type-var]
    if isinstance(opts, Mapping):
        return build(kind, {**opts, **keywords})
    raise InvalidOptionTypeError(
        f"opts is {type(opts).__name__}; expected {kind.__name__}, a mapping of the same names, or None."
    )


def build(kind: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
    """``kind(**values)`` with a clear error for names that do not exist."""
    known = field_names(kind)
    unknown = [str(name) for name in values if name not in known]
    if unknown:
        raise InvalidOptionTypeError(
            f"unknown option {', '.join(map(repr, sorted(unknown)))} for {kind.__name__}. "
            f"Known: {', '.join(sorted(known))}."
        )
    return kind(**values)


def to_backoff(value: Duration | BackoffOptions | Mapping[str, Any]) -> BackoffOptions:
    """A backoff as users write it: a plain duration means a fixed wait."""
    if isinstance(value, BackoffOptions):
        return value
    if isinstance(value, Mapping):
        if "type" not in value:
            raise InvalidOptionError("backoff needs a type: 'fixed' or 'exponential'.")
        return build(BackoffOptions, value)
    return BackoffOptions(type="fixed", delay=duration_ms("backoff", value))


def whole_number(option: str, value: object, *, minimum: int, maximum: int = GREATEST) -> int:
    """``value`` if it is an int within the bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidOptionTypeError(f"{option} is {type(value).__name__}; expected a whole number.")
    if not minimum <= value <= maximum:
        upper = "" if maximum == GREATEST > value else f" and at most {maximum}"
        raise InvalidOptionError(f"{option} is {shown(value)}; expected at least {minimum}{upper}.")
    return value


def flag(option: str, value: object, *, default: bool) -> bool:
    """``value`` if it is True or False; ``default`` if it was not given."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidOptionTypeError(f"{option} is {type(value).__name__}; expected True or False.")
    return value


def check_job_id(job_id: object) -> str:
    """A caller's job id: any text that is not blank."""
    if not isinstance(job_id, str):
        raise InvalidJobIdError(
            f"job_id is {type(job_id).__name__}; expected a text. Use str(...) on whatever identifies the job."
        )
    if not job_id.strip():
        raise InvalidJobIdError(
            "job_id is blank. Leave it out to have one generated, or give the text that makes this job unique."
        )
    to_utf8("job_id", job_id)
    return job_id


def to_utf8(option: str, text: str) -> bytes:
    """``text`` as UTF-8; a lone surrogate, which no other language could read, is refused."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidOptionError(
            f"{option} cannot be written as UTF-8 ({error.reason} at position {error.start})."
        ) from error


def check_name(name: object) -> str:
    """A job's dispatch name: a text of at most 256 bytes as UTF-8, which may be empty."""
    if not isinstance(name, str):
        raise InvalidOptionTypeError(f"the job name is {type(name).__name__}; expected a text.")
    if len(to_utf8("the job name", name)) > MAX_NAME_BYTES:
        raise InvalidOptionError(f"the job name is longer than {MAX_NAME_BYTES} bytes. Put what varies into the data.")
    return name


_warned: set[str] = set()


def _warn_ignored(option: str) -> None:
    if option not in _warned:
        _warned.add(option)
        warnings.warn(
            f"the job option {option!r} is accepted and ignored: a stream is first in, first out. "
            "Use a queue of its own for urgent jobs. (This warning is given once.)",
            UserWarning,
            stacklevel=_level_of_caller(),
        )


def _level_of_caller() -> int:
    """How far up the stack the caller of this package is: options are made by users, and deep inside ``add`` too."""
    level, frame = 0, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("chasquimq", "dataclasses"):
        level, frame = level + 1, frame.f_back
    return level + 1
