"""A worker, a consumer and a scheduler, cancelled wherever they wait.

A cancelled worker drains, as a closed one does. Whatever the moment: each job is done once, or a second worker has it
at once; the cancellation reaches the caller; and no connection, thread, name or lock is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import chasquimq.aio
import chasquimq.sync
from chasquimq._net.event_loop import is_asyncio
from tests.conformance.cancelling import WAYS, Way, as_coroutine
from tests.conformance.world import World
from tests.conftest import other_clients

pytestmark = pytest.mark.forms("asyncio", "trio")

CALLS = ("run", "close", "__aenter__", "__aexit__")
"""The public coroutine functions of each of the three classes; all of them are cancelled here."""

JOBS = 6
MOST_SUSPENSIONS = 200
CANCELLATIONS = 5
KINDS = ("Worker", "Consumer")


class Book:
    """Jobs, and handlers that write down their ends."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.begun = 0
        self.done: Counter[str] = Counter()

    async def handle(self, job: Any) -> None:
        self.begun += 1
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        self.done[job.id] += 1

    def make(self, kind: str, **options: Any) -> Any:
        return getattr(chasquimq.aio, kind)(
            self.world.name,
            self.handle,
            **{"connection": self.world.url, "concurrency": 2, "drain_delay": 60_000, **options},
        )

    async def everything_is_done_by_another(self, added: set[str]) -> None:
        """Each job was completed once, and nothing else is left."""
        async with self.make("Worker"):
            await self.world.until(self.world.is_empty, "another worker does what is left, at once")
        ends = Counter(event["id"] for event in self.world.events() if event["e"] == "completed")
        assert ends == Counter(added), "a job was acknowledged twice, or never"
        assert set(self.done) == added
        assert set(self.world.consumers()) <= {"handed-back"}
        assert not self.world.pending()


def add_jobs(world: World, count: int = JOBS) -> set[str]:
    with chasquimq.sync.Queue(world.name, connection=world.url) as queue:
        return {job.id for job in queue.add_bulk([("w", number) for number in range(count)])}


async def nothing_is_left(world: World, clients: set[str]) -> None:
    await world.until(lambda: not set(other_clients(world.admin)) - clients, "connections go")
    await world.until(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "chasquimq-housekeeper"],
        "the housekeeper goes",
    )
    for lock in ("promoter:lock", "scheduler:lock"):
        assert not world.admin.exists(world.key(lock))


Act = Callable[[Any, Book], Awaitable[Any]]


async def run(worker: Any, book: Book) -> None:
    """Runs it until everything is done; then it is closed."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close_when, worker, lambda: book.begun == JOBS or worker.is_closed)
        await worker.run()


async def run_and_drain(worker: Any, book: Book) -> None:
    """It is closed when the first job has begun."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close_when, worker, lambda: book.begun or worker.is_closed)
        await worker.run()


async def close_when(worker: Any, condition: Callable[[], Any]) -> None:
    while not condition():
        await anyio.sleep(0.002)
    await worker.close()


async def in_a_block(worker: Any, book: Book) -> None:
    async with worker:
        while book.begun < JOBS:
            await anyio.sleep(0.002)


async def in_a_block_and_closed(worker: Any, book: Book) -> None:
    async with worker:
        while not book.begun:
            await anyio.sleep(0.002)
        await worker.close()


async def cancelled_everywhere(world: World, kind: str, way: Way, act: Act) -> None:
    clients = set(other_clients(world.admin))
    for at in range(1, MOST_SUSPENSIONS):
        world.admin.delete(world.key("events"))
        added = add_jobs(world)
        book = Book(world)
        worker = book.make(kind)
        with anyio.fail_after(10):
            ended = await way(lambda worker=worker, book=book: act(worker, book), at)
        assert worker.is_closed or not book.begun
        await worker.close()
        await book.everything_is_done_by_another(added)
        await nothing_is_left(world, clients)
        if not ended.was_struck:
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("act", [run, run_and_drain, in_a_block, in_a_block_and_closed])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_cancelled_everywhere(world: World, kind: str, act: Act) -> None:
    for way in WAYS[world.flavour.name].values():
        await cancelled_everywhere(world, kind, way, act)


async def keep_schedule(scheduler: Any, book: Book) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close_when, scheduler, lambda: scheduler.is_leader or scheduler.is_closed)
        await scheduler.run()


async def keep_schedule_in_a_block(scheduler: Any, book: Book) -> None:
    async with scheduler:
        while not scheduler.is_leader:
            await anyio.sleep(0.002)


@pytest.mark.parametrize("act", [keep_schedule, keep_schedule_in_a_block])
async def test_a_scheduler_cancelled_everywhere(world: World, act: Act) -> None:
    """Another one takes over at once, and every window fires once."""
    clients = set(other_clients(world.admin))
    with chasquimq.sync.Queue(world.name, connection=world.url) as queue:
        queue.add("w", 0, repeat={"every": 3_600_000})
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            scheduler = chasquimq.aio.Scheduler(world.name, connection=world.url, tick_ms=3_600_000)
            with anyio.fail_after(10):
                ended = await way(lambda scheduler=scheduler: act(scheduler, Book(world)), at)
            await scheduler.close()
            await nothing_is_left(world, clients)
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")
    assert not world.stream()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["run", "block"])
async def test_one_cancellation_more_does_not_cut_the_drain_short(world: World, kind: str, shape: str) -> None:
    """Whatever cancels a worker cancels it until it has ended: a timeout, then its caller's, then the loop's end."""
    gate, begun, goes_on = anyio.Event(), anyio.Event(), anyio.Event()
    done: list[str] = []
    clients = set(other_clients(world.admin))

    async def handle(job: Any) -> None:
        begun.set()
        await gate.wait()
        done.append(job.id)

    worker = getattr(chasquimq.aio, kind)(world.name, handle, connection=world.url)

    async def in_its_block() -> None:
        async with worker:
            await goes_on.wait()

    (added,) = add_jobs(world, 1)
    running = Cancellable(worker.run if shape == "run" else in_its_block)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.run)
        await begun.wait()
        for _ in range(CANCELLATIONS):
            running.cancel()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        assert worker.is_closed
        assert not running.has_ended
        gate.set()
    assert running.was_cancelled
    assert done == [added]
    assert world.is_empty()
    await nothing_is_left(world, clients)


class Cancellable:
    """A task that is cancelled in the manner of its event loop, as often as one likes."""

    def __init__(self, start: Callable[[], Awaitable[Any]]) -> None:
        self._start = start
        self._scopes = [anyio.CancelScope() for _ in range(CANCELLATIONS)]
        self._task: asyncio.Task[Any] | None = None
        self.was_cancelled = self.has_ended = False

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            next(scope for scope in reversed(self._scopes) if not scope.cancel_called).cancel()

    async def run(self) -> None:
        if is_asyncio():
            self._task = asyncio.create_task(as_coroutine(self._start()))
            await asyncio.wait([self._task])
            self.was_cancelled = self._task.cancelled()
        else:
            with contextlib.ExitStack() as scopes:
                for scope in self._scopes:
                    scopes.enter_context(scope)
                await self._start()
            self.was_cancelled = any(scope.cancelled_caught for scope in self._scopes)
        self.has_ended = True
