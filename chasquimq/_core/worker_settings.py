"""From the options of a Worker to its settings: every check, before any I/O."""

from __future__ import annotations

import functools
from types import FunctionType, MethodType
from typing import Any

from chasquimq._core.keys import HANDED_BACK
from chasquimq._core.outcome import RetryPolicy
from chasquimq._dataclass import dataclass, field
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, NotSupportedError, shown
from chasquimq.options import MAX_ATTEMPTS, WorkerOptions, flag, to_backoff, to_utf8, whole_number
from chasquimq.times import Duration, duration_ms

__all__ = ["WorkerSettings", "check_processor", "is_coroutine_function", "worker_settings"]

_MIN_LEASE_MS = 100
_MAX_CONCURRENCY = 100_000
_MAX_PROCESSES = 1_000
_START_METHODS = ("fork", "spawn")
_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
_DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """A worker's options, checked and in plain units."""

    consumer: bytes
    concurrency: int = 100
    autorun: bool = True
    block_ms: int = 5_000
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    store_results: bool = False
    result_ttl_s: int = 3_600
    events: bool = True
    lease_ms: int = 30_000
    drain_timeout_ms: int = 30_000
    ack_each: bool = False
    max_payload_bytes: int = 1_048_576
    run_scheduler: bool = True
    scheduler_tick_ms: int = 1_000
    processes: int = 1
    start_method: str | None = None


def worker_settings(options: WorkerOptions, generated_name: str) -> WorkerSettings:
    """Checks the options; ``generated_name`` is the consumer's name if the user gives none."""
    return WorkerSettings(
        consumer=_consumer(options.name, generated_name),
        concurrency=100
        if options.concurrency is None
        else whole_number("concurrency", options.concurrency, minimum=1, maximum=_MAX_CONCURRENCY),
        autorun=flag("autorun", options.autorun, default=True),
        block_ms=_duration("drain_delay", options.drain_delay, default=5_000, minimum=1),
        retry=_retry_policy(options),
        store_results=flag("store_results", options.store_results, default=False),
        result_ttl_s=-(-_duration("result_ttl_ms", options.result_ttl_ms, default=3_600_000, minimum=1) // 1000),
        events=flag("events", options.events, default=True),
        lease_ms=_duration("lease_ms", options.lease_ms, default=30_000, minimum=_MIN_LEASE_MS),
        drain_timeout_ms=_duration("drain_timeout_ms", options.drain_timeout_ms, default=30_000, minimum=0),
        ack_each=_ack_each(options.ack),
        max_payload_bytes=1_048_576
        if options.max_payload_bytes is None
        else whole_number("max_payload_bytes", options.max_payload_bytes, minimum=1),
        run_scheduler=flag("run_scheduler", options.run_scheduler, default=True),
        scheduler_tick_ms=_duration("scheduler_tick_ms", options.scheduler_tick_ms, default=1_000, minimum=1),
        processes=1
        if options.processes is None
        else whole_number("processes", options.processes, minimum=1, maximum=_MAX_PROCESSES),
        start_method=_start_method(options.start_method),
    )


def check_processor(processor: Any) -> None:
    """A handler is a function. Strings and paths name sandboxed processors, which are not supported."""
    if isinstance(processor, str | bytes) or hasattr(processor, "__fspath__"):
        raise NotSupportedError(
            f"the processor is {type(processor).__name__}: sandboxed processors (module names, paths) are not "
            "supported. Import the function and pass it."
        )
    if not callable(processor):
        raise InvalidOptionTypeError(
            f"the processor is {type(processor).__name__}; expected a function that takes a job."
        )


def is_coroutine_function(processor: Any) -> bool:
    """Whether calling the processor gives something to await; also for objects with an async ``__call__``."""
    if isinstance(processor, functools.partial):
        return is_coroutine_function(processor.func)
    function = processor.__func__ if isinstance(processor, MethodType) else processor
    if type(function) is FunctionType and not vars(function):
        return bool(function.__code__.co_flags & _CO_COROUTINE)
    # Marked, wrapped or compiled functions and callable objects: inspect knows them, and takes long to load.
    import inspect  # noqa: PLC0415

    return inspect.iscoroutinefunction(processor) or inspect.iscoroutinefunction(
        getattr(type(processor), "__call__", None)  # noqa: B004 - the method itself is looked at
    )


def _consumer(name: str | None, generated_name: str) -> bytes:
    if name is None:
        return generated_name.encode()
    if not isinstance(name, str):
        raise InvalidOptionTypeError(f"name is {type(name).__name__}; expected a text, unique for each worker.")
    if not name.strip():
        raise InvalidOptionError("name is blank. Leave it out to have one generated; it must be unique.")
    consumer = to_utf8("name", name)
    if consumer == HANDED_BACK:
        raise InvalidOptionError(f"name is {name!r}, which is reserved for entries that were handed back.")
    return consumer


def _retry_policy(options: WorkerOptions) -> RetryPolicy:
    if options.max_attempts is not None and options.max_stalled_count is not None:
        raise InvalidOptionError(
            "max_attempts and max_stalled_count are two names of one option: the total number of runs. Give one."
        )
    attempts = options.max_attempts if options.max_attempts is not None else options.max_stalled_count
    limit = 3 if attempts is None else whole_number("max_attempts", attempts, minimum=1, maximum=MAX_ATTEMPTS)
    if options.backoff is None:
        return RetryPolicy(max_attempts=limit)
    kind, delay, max_delay, multiplier, jitter = to_backoff(options.backoff).to_wire()
    return RetryPolicy(
        max_attempts=limit,
        kind=kind,
        delay_ms=delay,
        max_delay_ms=_DEFAULT_RETRY.max_delay_ms if max_delay is None else max_delay,
        multiplier=_DEFAULT_RETRY.multiplier if multiplier is None else multiplier,
        jitter_ms=0 if jitter is None else jitter,
    )


def _duration(option: str, value: Duration | None, *, default: int, minimum: int) -> int:
    if value is None:
        return default
    whole = duration_ms(option, value)
    if whole < minimum:
        raise InvalidOptionError(f"{option} is {whole} ms; expected at least {minimum} ms.")
    return whole


def _start_method(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value in _START_METHODS):
        return value
    raise InvalidOptionError(
        f"start_method is {shown(value)}; expected 'fork', 'spawn', or None for what is safe here."
    )


def _ack_each(value: object) -> bool:
    if value not in (None, "batch", "each"):
        raise InvalidOptionError(f"ack is {shown(value)}; expected 'batch' or 'each'.")
    return value == "each"
