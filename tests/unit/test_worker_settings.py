"""Every option of a worker: its default, its bounds, and what is refused."""

import functools
import inspect
import math
from datetime import timedelta
from pathlib import Path

import pytest

from chasquimq._core.outcome import RetryPolicy
from chasquimq._core.worker_settings import WorkerSettings, check_processor, is_coroutine_function, worker_settings
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, NotSupportedError
from chasquimq.options import BackoffSpec, WorkerOptions


def settings(**options):
    return worker_settings(WorkerOptions(**options), "c-generated")


def test_the_defaults_are_the_documented_ones():
    assert settings() == WorkerSettings(
        consumer=b"c-generated",
        concurrency=100,
        autorun=True,
        block_ms=5_000,
        retry=RetryPolicy(3, "exponential", 100, 30_000, 2.0, 100),
        store_results=False,
        result_ttl_s=3_600,
        events=True,
        lease_ms=30_000,
        drain_timeout_ms=30_000,
        ack_each=False,
        max_payload_bytes=1_048_576,
        run_scheduler=True,
        scheduler_tick_ms=1_000,
    )


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("name", "worker-é", "consumer", "worker-é".encode()),
        ("concurrency", 1, "concurrency", 1),
        ("concurrency", 100_000, "concurrency", 100_000),
        ("autorun", False, "autorun", False),
        ("drain_delay", 1, "block_ms", 1),
        ("drain_delay", timedelta(seconds=2), "block_ms", 2_000),
        ("store_results", True, "store_results", True),
        ("result_ttl_ms", 1, "result_ttl_s", 1),
        ("result_ttl_ms", 1_000, "result_ttl_s", 1),
        ("result_ttl_ms", 1_500, "result_ttl_s", 2),
        ("result_ttl_ms", timedelta(days=1), "result_ttl_s", 86_400),
        ("events", False, "events", False),
        ("lease_ms", 100, "lease_ms", 100),
        ("drain_timeout_ms", 0, "drain_timeout_ms", 0),
        ("ack", "each", "ack_each", True),
        ("ack", "batch", "ack_each", False),
        ("max_payload_bytes", 1, "max_payload_bytes", 1),
        ("run_scheduler", False, "run_scheduler", False),
        ("scheduler_tick_ms", 1, "scheduler_tick_ms", 1),
    ],
)
def test_an_option_is_taken_up_to_its_bounds(option, value, field, expected):
    assert getattr(settings(**{option: value}), field) == expected


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "a\ud800"),
        ("concurrency", 0),
        ("concurrency", -1),
        ("concurrency", 100_001),
        ("drain_delay", 0),
        ("drain_delay", 0.5),
        ("result_ttl_ms", 0),
        ("lease_ms", 99),
        ("lease_ms", 99.9),
        ("lease_ms", math.nan),
        ("drain_timeout_ms", -1),
        ("ack", "none"),
        ("ack", ["batch"]),
        ("ack", True),
        ("max_payload_bytes", 0),
        ("scheduler_tick_ms", 0),
        ("max_attempts", 0),
        ("max_attempts", 2**32),
        ("max_stalled_count", 0),
        ("backoff", -1),
        ("backoff", {"delay": 5}),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(option, value):
    with pytest.raises(InvalidOptionError, match=option.replace("max_stalled_count", "max_attempts").split("_ms")[0]):
        settings(**{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", b"worker"),
        ("name", 5),
        ("concurrency", "4"),
        ("concurrency", 4.0),
        ("concurrency", True),
        ("autorun", 1),
        ("autorun", "no"),
        ("drain_delay", "5s"),
        ("store_results", 1),
        ("events", 0),
        ("lease_ms", True),
        ("max_payload_bytes", 1e6),
        ("run_scheduler", "yes"),
        ("max_attempts", 2.0),
        ("max_attempts", True),
        ("backoff", "fast"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(option, value):
    with pytest.raises(InvalidOptionTypeError, match=option):
        settings(**{option: value})


def test_the_name_of_the_handed_back_entries_is_no_workers():
    # A worker of that name would find the entries that others handed back to be its own.
    with pytest.raises(InvalidOptionError, match="handed-back"):
        settings(name="handed-back")


# -- retries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["max_attempts", "max_stalled_count"])
def test_the_budget_has_two_names(option):
    assert settings(**{option: 7}).retry.max_attempts == 7
    assert settings(**{option: 2**32 - 1}).retry.max_attempts == 2**32 - 1


def test_of_which_one_is_given():
    with pytest.raises(InvalidOptionError, match="two names of one option"):
        settings(max_attempts=3, max_stalled_count=3)


@pytest.mark.parametrize(
    ("backoff", "policy"),
    [
        (250, RetryPolicy(3, "fixed", 250, 30_000, 2.0, 0)),
        (timedelta(minutes=2), RetryPolicy(3, "fixed", 120_000, 120_000, 2.0, 0)),
        ({"type": "exponential"}, RetryPolicy(3, "exponential", 100, 30_000, 2.0, 0)),
        (
            BackoffSpec.exponential(50, multiplier=3, max_delay_ms=900, jitter_ms=7),
            RetryPolicy(3, "exponential", 50, 900, 3.0, 7),
        ),
        (BackoffSpec.fixed(0), RetryPolicy(3, "fixed", 0, 30_000, 2.0, 0)),
    ],
)
def test_the_wait_before_retries_is_the_one_that_was_asked_for(backoff, policy):
    assert settings(backoff=backoff).retry == policy


# -- processors ------------------------------------------------------------------------------------------------


def plain(job):
    return job


async def coroutine(job):
    return job


class Callable:
    def __call__(self, job):
        return job


class AsyncCallable:
    async def __call__(self, job):
        return job


@functools.wraps(coroutine)
def plain_around_a_coroutine(job):
    return coroutine(job)


@functools.wraps(plain)
async def coroutine_around_a_plain_one(job):
    return plain(job)


async def rows(job):
    yield job


def marked(job):
    return coroutine(job)


CAN_BE_MARKED = hasattr(inspect, "markcoroutinefunction")  # from Python 3.12 on
if CAN_BE_MARKED:
    inspect.markcoroutinefunction(marked)


@pytest.mark.parametrize("processor", [plain, coroutine, Callable(), AsyncCallable(), functools.partial(plain), print])
def test_anything_callable_is_a_processor(processor):
    check_processor(processor)


@pytest.mark.parametrize("processor", ["tasks.send", b"tasks", Path("processor.py")])
def test_a_sandboxed_processor_is_not_supported(processor):
    with pytest.raises(NotSupportedError, match="Import the function"):
        check_processor(processor)


@pytest.mark.parametrize("processor", [None, 5, [plain]])
def test_what_cannot_be_called_is_no_processor(processor):
    with pytest.raises(InvalidOptionTypeError, match="expected a function"):
        check_processor(processor)


@pytest.mark.parametrize(
    ("processor", "is_one"),
    [
        (plain, False),
        (coroutine, True),
        (Callable(), False),
        (AsyncCallable(), True),
        (functools.partial(coroutine), True),
        (functools.partial(functools.partial(AsyncCallable())), True),
        (functools.partial(plain), False),
        (AsyncCallable().__call__, True),
        (Callable().__call__, False),
        (plain_around_a_coroutine, False),
        (coroutine_around_a_plain_one, True),
        (rows, False),
        (marked, CAN_BE_MARKED),
        (print, False),
        (AsyncCallable, False),
    ],
)
def test_a_coroutine_function_is_recognised_in_every_dress(processor, is_one):
    assert is_coroutine_function(processor) is is_one
