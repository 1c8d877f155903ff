"""Handlers that raise: retries after a backoff, dead letters with the reason, and a worker that lives on."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import msgpack
import pytest

from chasquimq import BackoffSpec, UnrecoverableError
from tests.conformance.world import World


class Expected(Exception):
    """What the handlers of these tests raise."""


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_a_job_that_fails_runs_again_after_its_backoff(world: World) -> None:
    runs: list[tuple[int, int, int]] = []

    async def handle(job: Any) -> None:
        runs.append((job.attempts_made, world.server_ms(), job.deliveries))
        if job.attempts_made < 3:
            raise Expected

    async with world.queue() as queue, world.worker(handle):
        job = await queue.add("w", {"x": 1}, attempts=3, backoff=150)
        await world.until(lambda: len(runs) == 3 and world.is_empty())
    assert [(attempt, deliveries) for attempt, _, deliveries in runs] == [(1, 0), (2, 0), (3, 0)]
    for (_, before, _), (_, after, _) in itertools.pairwise(runs):
        assert 150 <= after - before < 2_500
    assert not world.dead()
    waits = [event["backoff_ms"] for event in world.events() if event["e"] == "retry-scheduled"]
    assert waits == ["150", "150"]
    assert world.event_names(job.id).count("failed") == 2


async def test_while_it_waits_for_a_retry_the_job_is_in_the_delayed_set(world: World) -> None:
    async def handle(job: Any) -> None:
        raise Expected

    async with world.queue() as queue, world.worker(handle):
        job = await queue.add("w", {"x": 1}, attempts=2, backoff=timedelta(seconds=50))
        before = world.server_ms()
        ((member, due),) = await world.until(world.delayed)
    assert member[:5] == b"\x01\x00\x00\x00w"
    retry = [2, ["fixed", 50_000, 50_000, None, None]]
    assert msgpack.unpackb(member[5:]) == [job.id, msgpack.packb({"x": 1}), job.timestamp, 1, retry]
    assert before + 49_000 < due < before + 52_000
    assert not world.stream()


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (BackoffSpec.exponential(10, multiplier=3.0), [10, 30, 90]),
        (BackoffSpec.exponential(10, max_delay_ms=15), [10, 15, 15]),
        (BackoffSpec.fixed(0), [0, 0, 0]),
        ({"type": "fixed", "delay": 20}, [20, 20, 20]),
    ],
)
async def test_the_backoff_is_the_one_that_was_asked_for(world: World, backoff: Any, waits: list[int]) -> None:
    async def handle(job: Any) -> None:
        raise Expected

    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", 1, attempts=4, backoff=backoff)
        await world.until(world.dead)
    assert [int(e["backoff_ms"]) for e in world.events() if e["e"] == "retry-scheduled"] == waits


async def test_the_workers_own_backoff_and_budget_serve_jobs_that_say_nothing(world: World) -> None:
    runs: list[int] = []

    async def handle(job: Any) -> None:
        runs.append(job.attempts_made)
        raise Expected

    async with world.queue() as queue, world.worker(handle, max_attempts=2, backoff=5):
        await queue.add("w", 1)
        await world.until(world.dead)
    assert runs == [1, 2]
    assert [e["backoff_ms"] for e in world.events() if e["e"] == "retry-scheduled"] == ["5"]


@pytest.mark.parametrize("option", [{}, {"max_stalled_count": 3}, {"max_attempts": 3}])
async def test_three_runs_are_the_default(world: World, option: Any) -> None:
    runs: list[int] = []

    async def handle(job: Any) -> None:
        runs.append(job.attempts_made)
        raise Expected

    async with world.queue() as queue, world.worker(handle, backoff=1, **option):
        await queue.add("w", 1)
        await world.until(world.dead)
    assert runs == [1, 2, 3]


async def test_a_job_without_runs_left_becomes_a_dead_letter_that_tells_why(world: World) -> None:
    async def handle(job: Any) -> None:
        raise Expected("the disk is full: größer")

    async with world.queue() as queue, world.worker(handle):
        job = await queue.add("boom", {"x": 1}, attempts=2, backoff=1)
        await world.until(world.dead)
        (letter,) = await queue.peek_dlq()
    assert (letter.name, letter.reason, letter.job_id, letter.data) == ("boom", "retries_exhausted", job.id, {"x": 1})
    assert list(world.dead()[0]) == [b"d", b"n", b"source_id", b"reason", b"detail"]
    assert letter.detail.startswith("Expected: the disk is full: größer\n")
    assert "test_failing.py" in letter.detail
    assert 'raise Expected("the disk is full: größer")' in letter.detail
    # attempt stays as it was in the last run, 0-based: the envelope is not changed by the move
    assert msgpack.unpackb(letter.payload)[3] == 1
    assert world.is_empty()


class CardRefused(UnrecoverableError):
    """An application's own way to say that trying again is of no use."""


@pytest.mark.parametrize("error", [UnrecoverableError, CardRefused])
async def test_unrecoverable_errors_are_not_retried(world: World, error: type[Exception]) -> None:
    runs: list[int] = []

    async def handle(job: Any) -> None:
        runs.append(job.attempts_made)
        raise error("no such customer")

    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", 1, attempts=10)
        await world.until(world.dead)
        (letter,) = await queue.peek_dlq()
    assert runs == [1]
    assert letter.reason == "unrecoverable"
    assert letter.detail.startswith(f"{error.__name__}: no such customer")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


class Unlucky(Exception):
    def __str__(self) -> str:
        return "half a surrogate \ud800"


def a_group() -> BaseException:
    return ExceptionGroup("two things", [ValueError("one"), TypeError("two")])


ODD_ERRORS: dict[str, Any] = {
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "BaseException": BaseException,
    "ExceptionGroup": a_group,
    "BaseExceptionGroup": lambda: BaseExceptionGroup("worse", [KeyboardInterrupt()]),
    "broken __str__": Unprintable,
    "not UTF-8": Unlucky,
    "huge": lambda: ValueError("x" * 3_000_000),
    "empty": ValueError,
    "StopIteration": StopIteration,
    "asyncio.CancelledError": asyncio.CancelledError,
}


@pytest.mark.parametrize("make", ODD_ERRORS.values(), ids=ODD_ERRORS.keys())
async def test_whatever_a_handler_raises_is_a_failed_run_and_the_worker_lives(world: World, make: Any) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)
        if job.data == "odd":
            raise make()

    async with world.queue() as queue, world.worker(handle, concurrency=2) as worker:
        await queue.add("w", "odd", attempts=1)
        await world.until(world.dead)
        await queue.add_bulk([("w", "even")] * 5)
        await world.until(lambda: len(ran) == 6 and world.is_empty())
        assert worker.is_running()
        (letter,) = await queue.peek_dlq()
    assert letter.reason == "retries_exhausted"
    assert len(letter.detail) < 10_000
    failed = [event for event in world.events() if event["e"] == "failed"]
    assert len(failed) == 1
    assert len(failed[0]["reason"]) <= 2_000


@pytest.mark.forms("trio")
async def test_a_cancellation_of_the_handlers_own_doing_is_its_own_affair(world: World) -> None:
    import trio

    done: list[str] = []

    async def handle(job: Any) -> str:
        with trio.move_on_after(0) as scope:
            await trio.sleep_forever()
        if scope.cancelled_caught:
            done.append(job.id)
        return "fine"

    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", 1)
        await world.until(lambda: done and world.is_empty())
    assert not world.dead()


async def test_one_job_that_fails_disturbs_no_other(world: World) -> None:
    ran: list[int] = []

    async def handle(job: Any) -> None:
        if job.data % 3 == 0:
            raise Expected(str(job.data))
        ran.append(job.data)

    async with world.queue() as queue, world.worker(handle, max_attempts=2, backoff=1):
        await queue.add_bulk([("w", number) for number in range(300)])
        await world.until(lambda: len(world.dead()) == 100 and world.is_empty())
    assert sorted(ran) == [number for number in range(300) if number % 3]
