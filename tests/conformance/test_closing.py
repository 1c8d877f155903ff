"""The end of a worker: what runs is finished, what has not started is handed back, and nothing stays behind."""

from __future__ import annotations

import time
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from tests.conformance.world import World

ALL_FORMS = pytest.mark.forms("sync", "asyncio", "trio", "uvloop")


async def handle_nothing(job: Any) -> None:
    """Does nothing."""


@ALL_FORMS
async def test_what_runs_is_finished_and_acknowledged(world: World) -> None:
    started, gate = world.gate(), world.gate()
    done: list[int] = []

    async def handle(job: Any) -> None:
        if job.data == 2:
            started.open()
        await gate.passed()
        done.append(job.data)

    worker = world.worker(handle, concurrency=3, name="mine")
    async with world.queue() as queue, worker:
        await queue.add_bulk([("w", number) for number in range(3)])
        await started.passed()
        assert "mine" in world.consumers()

        async def let_go() -> None:
            await world.until(lambda: worker.is_closed)
            await world.flavour.sleep(0.02)
            assert not done
            gate.open()

        await world.flavour.together(worker.close, let_go)
        assert sorted(done) == [0, 1, 2]
        assert world.is_empty()
        assert "mine" not in world.consumers()
        assert not world.admin.exists(world.key("promoter:lock"))


@ALL_FORMS
async def test_what_has_not_started_goes_to_the_next_worker_at_once(world: World) -> None:
    """The lease is 30 s; whoever had to wait for it would not pass."""
    started, gate = world.gate(), world.gate()
    first: list[int] = []
    second: list[tuple[int, int, int]] = []

    async def slow(job: Any) -> None:
        first.append(job.data)
        started.open()
        await gate.passed()

    async def quick(job: Any) -> None:
        second.append((job.data, job.deliveries, job.attempts_made))

    async with world.queue() as queue:
        worker = world.worker(slow, concurrency=1, name="first")
        async with worker:
            # One runs; three more are leased by hand, as the prefetch of a faster worker would be.
            await queue.add("w", 0)
            await started.passed()
            await queue.add_bulk([("w", number) for number in range(1, 6)])
            world.admin.xreadgroup("default", "first", {world.key("stream"): ">"}, count=3)
            assert len(world.pending()) >= 4

            async def take_over() -> None:
                await world.until(lambda: worker.is_closed)
                async with world.worker(quick, name="second"):
                    await world.until(lambda: len(second) == 5)
                gate.open()

            await world.flavour.together(worker.close, take_over)
    assert first == [0]
    # Nobody had begun them, so the hand-back counts as no delivery and no attempt.
    assert sorted(second) == [(number, 0, 1) for number in range(1, 6)]
    assert world.is_empty()


async def test_nothing_is_taken_after_close(world: World) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    async with world.queue() as queue:
        for number in range(10):
            async with world.worker(handle):
                pass
            await queue.add("w", number)
            # A read that was left blocked would have had the entry at once.
            assert (len(world.stream()), world.pending()) == (1, [])
            world.admin.xtrim(world.key("stream"), maxlen=0, approximate=False)
    assert ran == []


async def test_close_is_idempotent_and_joins_the_same_end(world: World) -> None:
    started, gate = world.gate(), world.gate()

    async def handle(job: Any) -> None:
        started.open()
        await gate.passed()

    worker = world.worker(handle)
    closed: list[int] = []
    worker.on("closed", lambda: closed.append(1))
    async with world.queue() as queue, worker:
        await queue.add("w", 1)
        await started.passed()

        async def close() -> bool:
            await worker.close()
            return gate.is_open

        async def let_go() -> None:
            await world.until(lambda: worker.is_closed)
            gate.open()

        assert (await world.flavour.together(close, close, let_go))[:2] == [True, True]
        await worker.close()
    await worker.close()
    assert closed == [1]


@pytest.mark.parametrize("force", [False, True])
async def test_close_from_a_handler_starts_the_end_and_does_not_wait_for_it(world: World, force: bool) -> None:
    done: list[int] = []

    async def handle(job: Any) -> None:
        await worker.close()
        done.append(job.data)

    worker = world.worker(handle, concurrency=1, autorun=False)
    async with world.queue() as queue:
        await queue.add_bulk([("w", number) for number in range(3)])
        async with worker:
            await worker.run()
    assert done == [0]
    assert len(world.stream()) == 2
    assert world.pending() == [] or {row["consumer"] for row in world.pending()} == {b"handed-back"}


@pytest.mark.forms("sync")
@pytest.mark.parametrize("event", ["ready", "completed"])
async def test_close_from_a_listener(world: World, event: str) -> None:
    worker = world.worker(handle_nothing, autorun=False)
    worker.on(event, lambda *_: worker._target.close())
    async with world.queue() as queue, worker:
        await queue.add("w", 1)
        await worker.run()
    assert world.is_empty() or event == "ready"


@pytest.mark.parametrize("event", ["ready", "completed"])
@pytest.mark.forms("asyncio", "trio")
async def test_close_from_a_coroutine_listener(world: World, event: str) -> None:
    worker = world.worker(handle_nothing, autorun=False)
    closed: list[bool] = []

    @worker.on(event)
    async def enough(*_: Any) -> None:
        await worker.close()
        closed.append(True)

    async with world.queue() as queue, worker:
        await queue.add("w", 1)
        await worker.run()
    assert closed
    assert world.is_empty() or event == "ready"


@pytest.mark.forms("asyncio", "trio")
async def test_close_from_a_handler_in_a_thread(world: World) -> None:
    def handle(job: Any) -> None:
        anyio.from_thread.run(worker.close)

    worker = world.worker(handle, autorun=False)
    async with world.queue() as queue, worker:
        await queue.add("w", 1)
        await worker.run()
    assert world.is_empty()


@pytest.mark.forms("asyncio", "trio")
async def test_close_from_another_threads_event_loop(world: World) -> None:
    worker = world.worker(handle_nothing)
    async with worker:
        await anyio.to_thread.run_sync(lambda: world.flavour.run(worker.close))
        assert worker.is_closed


async def test_a_job_that_does_not_end_is_given_up_after_the_drain_timeout(world: World) -> None:
    started, gate = world.gate(), world.gate()

    async def handle(job: Any) -> None:
        started.open()
        await gate.passed()

    worker = world.worker(handle, drain_timeout_ms=100, name="impatient")
    async with world.queue() as queue:
        async with worker:
            await queue.add("w", 1)
            await started.passed()
            begun = time.monotonic()
            await worker.close()
            assert 0.1 <= time.monotonic() - begun < 10
        # Not acknowledged: whoever comes next runs it again.
        assert len(world.stream()) == 1
        gate.open()


async def test_a_job_given_up_runs_again_elsewhere(world: World) -> None:
    started, gate = world.gate(), world.gate()
    again: list[tuple[int, bool]] = []

    async def stuck(job: Any) -> None:
        started.open()
        await gate.passed()

    async def quick(job: Any) -> None:
        again.append((job.data, job.redelivered))

    worker = world.worker(stuck, lease_ms=300)
    async with world.queue() as queue:
        async with worker:
            await queue.add("w", 1)
            await started.passed()
            await worker.close(force=True)
        async with world.worker(quick, lease_ms=300):
            await world.until(lambda: again and world.is_empty())
    gate.open()
    assert again == [(1, True)]


async def test_force_beside_a_close_that_waits(world: World) -> None:
    started, gate = world.gate(), world.gate()

    async def handle(job: Any) -> None:
        started.open()
        await gate.passed()

    worker = world.worker(handle)
    async with world.queue() as queue, worker:
        await queue.add("w", 1)
        await started.passed()

        async def hurry() -> None:
            await world.until(lambda: worker.is_closed)
            await worker.close(force=True)

        await world.flavour.together(worker.close, hurry)
        assert len(world.stream()) == 1
    gate.open()


async def test_the_acks_of_everything_that_ran_are_written_before_close_returns(world: World) -> None:
    ran: list[int] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    for ack in ("batch", "each"):
        ran.clear()
        async with world.queue() as queue, world.worker(handle, ack=ack) as worker:
            await queue.add_bulk([("w", number) for number in range(2_000)], return_jobs=False)
            await world.until(lambda: len(ran) > 300)
            await worker.close()
            assert len(world.stream()) == 2_000 - len(ran)
        world.admin.delete(world.key("stream"))
