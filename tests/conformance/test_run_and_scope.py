"""``run`` and the scope of a worker: how they start, are joined, cancelled and ended."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from chasquimq import ClosedError, NotSupportedError
from tests.conformance.world import World

ALL_FORMS = pytest.mark.forms("sync", "asyncio", "trio", "uvloop")


async def handle_nothing(job: Any) -> None:
    """Does nothing."""


async def test_run_returns_when_the_worker_has_drained_and_can_be_joined(world: World) -> None:
    ran: list[int] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    worker = world.worker(handle, autorun=False)

    async def close_later() -> None:
        async with world.queue() as queue:
            await queue.add("w", 1)
        await world.until(lambda: ran)
        await worker.close()

    await world.flavour.together(worker.run, worker.run, close_later)
    assert world.is_empty()
    await worker.run()  # the same run, which is over


async def test_without_autorun_entering_the_scope_starts_nothing(world: World) -> None:
    async with world.queue() as queue, world.worker(handle_nothing, autorun=False) as worker:
        await queue.add("w", 1)
        await world.flavour.sleep(0.05)
        assert not worker.is_running()
    assert (len(world.stream()), world.consumers()) == (1, [])


async def test_a_closed_worker_does_not_start_again(world: World) -> None:
    worker = world.worker(handle_nothing)
    await worker.close()
    with pytest.raises(ClosedError):
        await worker.run()
    with pytest.raises(ClosedError):
        async with worker:
            raise AssertionError("the block must not be entered")


@ALL_FORMS
async def test_close_while_it_starts(world: World) -> None:
    for pause in (0, 0, 0.001, 0.003, 0.01):
        worker = world.worker(handle_nothing, autorun=False)

        async def close_soon(worker: Any = worker, pause: float = pause) -> None:
            await world.until(lambda: worker._has_started if world.flavour.is_async else worker._target._has_started)
            await world.flavour.sleep(pause)
            await worker.close()

        await world.flavour.together(worker.run, close_soon)
        assert worker.is_closed


async def test_signals_are_for_the_main_thread_and_the_worker_can_be_closed_all_the_same(world: World) -> None:
    worker = world.worker(handle_nothing, autorun=False)
    outcome: list[BaseException] = []

    def elsewhere() -> None:
        async def run() -> None:
            async with worker:
                await worker.run(handle_signals=True)

        try:
            world.flavour.run(run)
        except BaseException as error:  # noqa: BLE001 - looked at below
            outcome.append(error)

    thread = threading.Thread(target=elsewhere, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it hangs"
    assert isinstance(outcome[0], NotSupportedError)


async def test_an_error_in_the_block_drains_the_worker_and_comes_out_as_it_is(world: World) -> None:
    done: list[int] = []

    async def handle(job: Any) -> None:
        done.append(1)

    async def fail() -> None:
        async with world.queue() as queue, world.worker(handle):
            await queue.add("w", 1)
            await world.until(lambda: done)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fail()
    assert world.is_empty()


@pytest.mark.forms("asyncio", "trio", "uvloop")
async def test_cancelling_run_drains_it(world: World) -> None:
    started, gate = world.gate(), world.gate()
    done: list[int] = []

    async def handle(job: Any) -> None:
        started.open()
        await gate.passed()
        done.append(job.data)

    worker = world.worker(handle, autorun=False)
    async with world.queue() as queue:
        await queue.add("w", 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await started.passed()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await world.until(lambda: worker.is_closed)
                gate.open()
    assert done == [1]
    assert world.is_empty()


@pytest.mark.forms("asyncio", "trio")
async def test_cancelling_the_block_drains_the_worker(world: World) -> None:
    started = world.gate()
    done: list[int] = []

    async def handle(job: Any) -> None:
        started.open()
        await world.flavour.sleep(0.1)
        done.append(job.data)

    async with world.queue() as queue:
        with anyio.CancelScope() as scope:
            async with world.worker(handle):
                await queue.add("w", 1)
                await started.passed()
                scope.cancel()
                await world.flavour.sleep(10)
        assert scope.cancelled_caught
    assert done == [1]
    assert world.is_empty()
