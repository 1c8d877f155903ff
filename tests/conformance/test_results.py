"""Return values: stored on request, waited for, and never a reason to run a job again."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from chasquimq import (
    AbortError,
    InvalidJobIdError,
    NotSupportedError,
    PayloadEncodeError,
    WaitForResultOptions,
    WaitForResultTimeoutError,
)
from chasquimq._core.result_policy import FollowingPolicy
from chasquimq._core.result_watch import ResultWatch
from tests.conformance.world import World


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_the_result_can_be_waited_for_and_read(world: World) -> None:
    async def handle(job: Any) -> dict[str, Any]:
        return {"twice": job.data * 2, "raw": b"\xff"}

    async with world.queue() as queue, world.worker(handle, store_results=True):
        job = await queue.add("w", 21)
        assert await job.wait_for_result(interval_ms=5) == {"twice": 42, "raw": b"\xff"}
        assert job.returnvalue == {"twice": 42, "raw": b"\xff"}
        assert await queue.get_job_result(job.id) == {"twice": 42, "raw": b"\xff"}
    stored = world.admin.get(world.key(f"result:{job.id}"))
    assert stored == msgpack.packb({"twice": 42, "raw": b"\xff"})


@pytest.mark.parametrize("value", [False, 0, "", [], {}, 0.0, b""])
async def test_falsy_results_are_results(world: World, value: Any) -> None:
    async def handle(job: Any) -> Any:
        return value

    async with world.queue() as queue, world.worker(handle, store_results=True):
        job = await queue.add("w", 1)
        result = await job.wait_for_result(interval_ms=5)
    assert result == value
    assert type(result) is type(value)


async def test_none_is_no_result(world: World) -> None:
    async def handle(job: Any) -> None:
        """Returns nothing."""

    async with world.queue() as queue, world.worker(handle, store_results=True):
        job = await queue.add("w", 1)
        await world.until(lambda: "completed" in world.event_names(job.id))
        with pytest.raises(WaitForResultTimeoutError, match="within 30 ms") as timeout:
            await job.wait_for_result(timeout_ms=30, interval_ms=5)
        assert isinstance(timeout.value, TimeoutError)
        assert await queue.get_job_result(job.id) is None
    assert not world.admin.exists(world.key(f"result:{job.id}"))


async def test_results_are_stored_on_request_only(world: World) -> None:
    async def handle(job: Any) -> int:
        return 1

    async with world.queue() as queue, world.worker(handle):
        job = await queue.add("w", 1)
        await world.until(world.is_empty)
        assert await queue.get_job_result(job.id) is None


async def test_a_failed_job_stores_nothing(world: World) -> None:
    async def handle(job: Any) -> int:
        raise ValueError

    async with world.queue() as queue, world.worker(handle, store_results=True, max_attempts=1):
        job = await queue.add("w", 1)
        await world.until(world.dead)
        with pytest.raises(WaitForResultTimeoutError):
            await job.wait_for_result(timeout_ms=timedelta(milliseconds=20), interval_ms=5)


@pytest.mark.parametrize(
    ("option", "seconds"),
    [({}, 3600), ({"result_ttl_ms": 1_500}, 2), ({"result_ttl_ms": timedelta(minutes=2)}, 120)],
)
async def test_results_expire_after_whole_seconds_rounded_up(world: World, option: Any, seconds: int) -> None:
    async def handle(job: Any) -> int:
        return 1

    async with world.queue() as queue, world.worker(handle, store_results=True, **option):
        job = await queue.add("w", 1)
        await job.wait_for_result(interval_ms=5)
        assert 1000 * (seconds - 1) < world.admin.pttl(world.key(f"result:{job.id}")) <= 1000 * seconds


async def test_the_wait_can_be_aborted(world: World) -> None:
    async with world.queue() as queue:
        job = await queue.add("w", 1)
        gate = world.gate()

        async def wait() -> None:
            with pytest.raises(AbortError, match=job.id):
                await job.wait_for_result(timeout_ms=60_000, interval_ms=60_000, signal=gate.signal)

        async def abort() -> None:
            gate.open()

        await world.flavour.together(wait, abort)
        with pytest.raises(AbortError):  # a signal that is set already ends the wait at once
            await job.wait_for_result(signal=gate.signal)


async def test_options_of_the_wait_come_as_value_mapping_or_keyword(world: World) -> None:
    async with world.queue() as queue:
        job = await queue.add("w", 1)
        for options in (
            {"opts": WaitForResultOptions(timeout_ms=10_000, interval_ms=1), "timeout_ms": 5},
            {"opts": {"timeout_ms": 5}},
            {"timeout_ms": 0},
        ):
            with pytest.raises(WaitForResultTimeoutError):
                await job.wait_for_result(**options)
        for wrong, error in (({"timeout_ms": -1}, ValueError), ({"opts": {"timeout": 5}}, TypeError)):
            with pytest.raises(error):
                await job.wait_for_result(**wrong)


async def test_the_wait_takes_half_a_minute_and_looks_ten_times_a_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defaults, on a clock that only the pauses between two looks move, where no stream tells of anything."""
    pauses: list[float] = []
    rest_ms = ResultWatch.rest_ms

    def rest(watch: ResultWatch, wait: Any, now_ms: float) -> float:
        pauses.append(rest_ms(watch, wait, now_ms))
        return 0.0

    module = f"chasquimq.{'aio' if world.flavour.is_async else 'sync'}._result_waits"
    monkeypatch.setattr(f"{module}.SystemClock", SimpleNamespace(monotonic_ms=lambda: sum(pauses)))
    monkeypatch.setattr(FollowingPolicy, "is_worth_it", lambda *_: False)
    monkeypatch.setattr(ResultWatch, "rest_ms", rest)
    async with world.queue() as queue:
        job = await queue.add("w", 1)
        with pytest.raises(WaitForResultTimeoutError, match="within 30000 ms"):
            await job.wait_for_result()
    assert max(pauses) == pytest.approx(100)
    assert sum(pauses) == pytest.approx(30_000)


async def test_inside_a_handler_there_is_nothing_to_wait_for(world: World) -> None:
    errors: list[Exception] = []

    async def handle(job: Any) -> None:
        try:
            await job.wait_for_result()
        except NotSupportedError as error:
            errors.append(error)

    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", 1)
        await world.until(lambda: errors)
    assert "get_job_result" in str(errors[0])


class Unwritable:
    """No MessagePack for it."""


@pytest.mark.parametrize("value", [Unwritable(), 2**70, {1, 2}], ids=["object", "big int", "set"])
async def test_a_result_that_cannot_be_stored_is_reported_and_the_job_is_completed(world: World, value: Any) -> None:
    runs: list[int] = []
    errors: list[Exception] = []
    completed: list[Any] = []

    async def handle(job: Any) -> Any:
        runs.append(job.attempts_made)
        return value

    worker = world.worker(handle, store_results=True)
    worker.on("error", errors.append)
    worker.on("completed", lambda job, result, prev: completed.append(result))
    async with world.queue() as queue, worker:
        job = await queue.add("w", 1)
        await world.until(lambda: errors and world.is_empty())
        assert await queue.get_job_result(job.id) is None
    assert runs == [1]
    assert completed == [value]
    assert isinstance(errors[0], PayloadEncodeError)
    assert job.id in "".join(errors[0].__notes__)
    assert not world.dead()
    assert world.event_names(job.id) == ["active", "completed"]


async def test_a_result_too_deep_to_write_is_reported_too(world: World) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    runs: list[int] = []
    errors: list[Exception] = []

    async def handle(job: Any) -> Any:
        runs.append(1)
        return deep

    worker = world.worker(handle, store_results=True)
    worker.on("error", errors.append)
    async with world.queue() as queue, worker:
        await queue.add("w", 1)
        await world.until(lambda: errors and world.is_empty())
    assert runs == [1]
    while deep:  # taken apart level by level: the interpreter's own clean-up is recursive
        deep = deep.pop()


async def test_results_of_others_are_read_as_they_are(world: World) -> None:
    world.admin.set(world.key("result:theirs"), msgpack.packb({"from": "node"}), ex=60)
    async with world.queue() as queue:
        assert await queue.get_job_result("theirs") == {"from": "node"}
        assert await queue.get_job_result("nobody's") is None
        with pytest.raises(InvalidJobIdError):
            await queue.get_job_result("")


async def test_many_results_at_once(world: World) -> None:
    async def handle(job: Any) -> int:
        return job.data + 1

    async with world.queue() as queue, world.worker(handle, store_results=True):
        jobs = await queue.add_bulk([("w", number) for number in range(300)])
        results = [await job.wait_for_result(interval_ms=5) for job in jobs]
    assert results == list(range(1, 301))
