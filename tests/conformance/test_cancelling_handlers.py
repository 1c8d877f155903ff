"""Handlers that are cancelled: by the end of their worker, by others, or by themselves; and those that will not be.

A job is done when its handler says so, and only then. One that was cut off runs again, at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import chasquimq.aio
import chasquimq.sync
from chasquimq._net.event_loop import is_asyncio
from tests.conformance.cancelling import WAYS
from tests.conformance.test_cancelling_workers import add_jobs, nothing_is_left
from tests.conformance.world import World
from tests.conftest import other_clients

pytestmark = pytest.mark.forms("asyncio", "trio")

MOST_SUSPENSIONS = 100


class Endings:
    """What handlers do when they are cut off."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.cut_off: list[str] = []

    async def lets_go(self, job: Any) -> None:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cut_off.append(job.id)

    async def cleans_up(self, job: Any) -> None:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            self.cut_off.append(job.id)

    async def swallows(self, job: Any) -> None:
        self.begun.set()
        for _ in range(3):
            try:
                await anyio.sleep_forever()
            except BaseException:  # noqa: BLE001 - which is what one must not do
                self.cut_off.append(job.id)

    async def raises_something_else(self, job: Any) -> None:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cut_off.append(job.id)
            raise LookupError("in the middle of being cancelled")

    async def waits_in_a_task_group(self, job: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.lets_go, job)


HANDLERS = ("lets_go", "cleans_up", "swallows", "raises_something_else", "waits_in_a_task_group")


@pytest.mark.parametrize("name", HANDLERS)
@pytest.mark.parametrize("end", ["forced", "drain timeout"])
async def test_a_handler_that_is_cut_off_runs_again(world: World, name: str, end: str) -> None:
    """Whatever it makes of it: the worker ends, and the job is another one's at once, or was done."""
    clients = set(other_clients(world.admin))
    endings = Endings()
    added = add_jobs(world, 3)
    drain_ms = 50 if end == "drain timeout" else 30_000
    worker = world.worker(getattr(endings, name), concurrency=3, drain_timeout_ms=drain_ms, max_attempts=5)
    with anyio.fail_after(15):
        async with worker:
            await endings.begun.wait()
            await worker.close(force=end == "forced")
    await nothing_is_left(world, clients)
    assert set(endings.cut_off) <= added
    await all_is_done_once(world, added)


async def all_is_done_once(world: World, added: set[str], **options: Any) -> None:
    done: Counter[str] = Counter()

    async def handle(job: Any) -> None:
        done[job.id] += 1

    async with world.worker(handle, **options):
        await world.until(world.is_empty, "another worker does what is left, at once")
    ends = Counter(event["id"] for event in world.events() if event["e"] == "completed")
    assert ends == Counter(added)
    assert set(done.values()) <= {1}
    assert not world.pending()
    assert not world.dead()


async def test_a_drain_waits_for_a_handler_in_a_shield(world: World) -> None:
    done: list[str] = []
    begun = anyio.Event()

    async def handle(job: Any) -> None:
        with anyio.CancelScope(shield=True):
            begun.set()
            await anyio.sleep(0.2)
            done.append(job.id)

    (added,) = add_jobs(world, 1)
    async with world.worker(handle) as worker:
        await begun.wait()
        await worker.close(force=True)
    # It could not be cut off, and has done its work; that it says so is not minded any more, or it is.
    assert done == [added]
    await all_is_done_once(world, {added})


async def test_a_handler_that_cancels_its_own_task_has_failed_and_the_others_go_on(world: World) -> None:
    runs: Counter[int] = Counter()

    async def handle(job: Any) -> None:
        runs[job.data] += 1
        if job.data == 0 and runs[0] < 3:
            if is_asyncio():
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await anyio.sleep(1)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep(1)
            raise LookupError("cancelled by itself")

    added = add_jobs(world, 6)
    async with world.worker(handle, concurrency=2, max_attempts=3, backoff=1):
        await world.until(world.is_empty)
        # The tasks of the engine are as good as before.
        added |= add_jobs(world, 6)
        await world.until(world.is_empty)
    ends = Counter(event["id"] for event in world.events() if event["e"] == "completed")
    assert ends == Counter(added)
    assert runs == {0: 4, **dict.fromkeys(range(1, 6), 2)}


@pytest.mark.parametrize("form", ["coroutine", "function"])
async def test_closing_is_cancelled_and_the_worker_ends_all_the_same(world: World, form: str) -> None:
    """Whoever waits for the end may go; the drain goes on."""
    clients = set(other_clients(world.admin))
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            world.admin.delete(world.key("events"))
            begun, gate = threading.Event(), threading.Event()
            (added,) = add_jobs(world, 1)

            async def handle(_job: Any, begun: Any = begun, gate: Any = gate) -> None:
                begun.set()
                while not gate.is_set():
                    await anyio.sleep(0.002)

            def plain(_job: Any, begun: Any = begun, gate: Any = gate) -> None:
                begun.set()
                assert gate.wait(20)

            async def let_go(worker: Any, gate: Any = gate) -> None:
                await world.until(lambda: worker.is_closed)
                gate.set()

            async with world.worker(handle if form == "coroutine" else plain) as worker:
                await world.until(begun.is_set)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(let_go, worker)
                    ended = await way(worker.close, at)
                assert worker.is_closed
                await worker.close()
            assert world.is_empty()
            await all_is_done_once(world, {added})
            await nothing_is_left(world, clients)
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")


@pytest.mark.forms("asyncio")
@pytest.mark.parametrize("shape", ["returns", "raises", "cancels everything twice"])
async def test_the_loop_of_a_program_ends_with_its_worker_at_work(world: World, shape: str) -> None:
    """``asyncio.run`` cancels every task, those of the engine too: it ends, and the jobs are another worker's."""
    clients = set(other_clients(world.admin))
    added = add_jobs(world, 8)
    begun = threading.Event()
    held: list[asyncio.Task[Any]] = []

    async def handle(_job: Any) -> None:
        begun.set()
        await asyncio.sleep(0.01)

    async def program() -> None:
        worker = chasquimq.aio.Worker(world.name, handle, connection=world.url, concurrency=2, lease_ms=500)
        held.append(asyncio.create_task(worker.run()))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        if shape == "raises":
            raise LookupError("mine")
        if shape == "cancels everything twice":
            for _ in range(2):
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
                await asyncio.sleep(0)

    def run() -> None:
        try:
            asyncio.run(program())
        except LookupError:
            assert shape == "raises"

    await bounded(lambda: world.flavour.in_thread(run))
    assert held[0].cancelled()
    await nothing_is_left(world, clients)
    done: Counter[str] = Counter()

    async def handle_the_rest(job: Any) -> None:
        done[job.id] += 1

    async with world.worker(handle_the_rest, lease_ms=500):
        await world.until(world.is_empty)
    ends = Counter(event["id"] for event in world.events() if event["e"] == "completed")
    assert ends == Counter(added)


async def bounded(step: Callable[[], Awaitable[Any]]) -> None:
    with anyio.fail_after(20):
        await step()
