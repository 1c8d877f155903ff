"""Listeners of a worker: who is told what, and that a listener cannot hurt a job."""

from __future__ import annotations

from typing import Any

import pytest

from chasquimq import InvalidOptionError
from tests.conformance.flavours import Flavour
from tests.conformance.world import World


class Recorder:
    """Listens to everything and keeps it."""

    def __init__(self, worker: Any) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []
        for event in ("ready", "active", "progress", "completed", "failed", "error", "closing", "closed"):
            worker.on(event, lambda *arguments, event=event: self.heard.append((event, arguments)))

    def names(self) -> list[str]:
        return [event for event, _ in self.heard]

    def arguments(self, event: str) -> list[tuple[Any, ...]]:
        return [arguments for name, arguments in self.heard if name == event]


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_the_life_of_a_worker_and_its_jobs(world: World) -> None:
    async def handle(job: Any) -> str:
        if job.name == "boom":
            raise ValueError("because")
        return "result"

    worker = world.worker(handle, max_attempts=1)
    recorder = Recorder(worker)
    async with world.queue() as queue, worker:
        fine = await queue.add("fine", 1)
        await world.until(world.is_empty)
        boom = await queue.add("boom", 2)
        await world.until(world.dead)
    assert recorder.names() == ["ready", "active", "completed", "active", "failed", "closing", "closed"]
    assert [recorder.arguments(event) for event in ("ready", "closed")] == [[()], [()]]
    assert [len(arguments) for arguments in recorder.arguments("closing")] == [1]
    (started, prev), _ = recorder.arguments("active")
    assert (started.id, started.attempts_made, prev) == (fine.id, 1, "")
    ((done, result, prev),) = recorder.arguments("completed")
    assert (done.id, done.returnvalue, result, prev) == (fine.id, "result", "result", "")
    assert done.processed_on <= done.finished_on
    ((failed, error, prev),) = recorder.arguments("failed")
    assert (failed.id, failed.failed_reason, prev) == (boom.id, "because", "")
    assert isinstance(error, ValueError)


async def test_progress_reaches_the_listeners_and_stays_with_the_job(world: World) -> None:
    kept: list[Any] = []

    async def handle(job: Any) -> None:
        for progress in (50, {"step": 2}):
            await job.update_progress(progress)
            kept.append(job.progress)

    worker = world.worker(handle)
    recorder = Recorder(worker)
    async with world.queue() as queue, worker:
        job = await queue.add("w", 1)
        await job.update_progress(10)
        assert job.progress == 10
        await world.until(world.is_empty)
    assert kept == [50, {"step": 2}]
    assert [(told.id, progress) for told, progress in recorder.arguments("progress")] == [
        (job.id, 50),
        (job.id, {"step": 2}),
    ]


async def test_on_once_off_and_the_decorators(world: World) -> None:
    async def handle(job: Any) -> None: ...

    worker = world.worker(handle)
    heard: list[tuple[str, Any]] = []

    @worker.on("completed")
    def every(job: Any, result: Any, prev: str) -> None:
        heard.append(("every", job.data))

    @worker.once("completed")
    def first(job: Any, result: Any, prev: str) -> None:
        heard.append(("first", job.data))

    def never(*arguments: Any) -> None:
        heard.append(("never", None))

    assert worker.on("completed", never) is never
    worker.off("completed", never)
    worker.off("completed", never)
    assert (every.__name__, first.__name__) == ("every", "first")
    async with world.queue() as queue, worker:
        for number in (1, 2):
            await queue.add("w", number)
            await world.until(lambda n=number: ("every", n) in heard)
        worker.off("completed", every)
        await queue.add("w", 3)
        await world.until(world.is_empty)
    assert sorted(heard) == [("every", 1), ("every", 2), ("first", 1)]


async def test_an_event_that_does_not_exist_is_refused(flavour: Flavour) -> None:
    worker = flavour.worker("q", print)
    for register in (worker.on, worker.once, worker.off):
        with pytest.raises(InvalidOptionError, match=r"compleeted.*completed"):
            register("compleeted", print)
    with pytest.raises(TypeError, match="listener"):
        worker.on("completed", "print")
    await worker.close()


@pytest.mark.parametrize("event", ["ready", "active", "completed", "failed", "progress", "closing", "closed"])
async def test_a_listener_that_raises_is_reported_and_disturbs_nothing(world: World, event: str) -> None:
    done: list[Any] = []

    async def handle(job: Any) -> None:
        await job.update_progress(1)
        if job.name == "boom":
            raise ValueError
        done.append(job.data)

    worker = world.worker(handle, max_attempts=1)
    errors: list[Exception] = []

    @worker.on(event)
    def broken(*arguments: Any) -> None:
        raise LookupError(event)

    worker.on("error", errors.append)
    async with world.queue() as queue, worker:
        await queue.add_bulk([("w", number) for number in range(5)])
        await queue.add("boom", 1)
        await world.until(lambda: len(done) == 5 and world.dead() and world.is_empty())
    if event != "closed":  # nothing is told after that
        assert errors
        assert {str(error) for error in errors} == {event}
    assert [letter[b"n"] for letter in world.dead()] == [b"boom"]


async def test_an_error_listener_that_raises_ends_nothing(world: World) -> None:
    done: list[Any] = []

    async def handle(job: Any) -> Any:
        done.append(job.data)
        return object()

    worker = world.worker(handle, store_results=True)

    @worker.on("error")
    def broken(error: Exception) -> None:
        raise LookupError

    async with world.queue() as queue, worker:
        await queue.add_bulk([("w", number) for number in range(5)])
        await world.until(lambda: len(done) == 5 and world.is_empty())


@pytest.mark.forms("asyncio", "trio", "uvloop")
@pytest.mark.parametrize("event", ["ready", "active", "completed", "failed", "progress", "closing", "closed"])
async def test_listeners_may_be_coroutine_functions(world: World, event: str) -> None:
    async def handle(job: Any) -> None:
        await job.update_progress(1)
        if job.name == "boom":
            raise ValueError

    worker = world.worker(handle, max_attempts=1)
    heard: list[str] = []

    @worker.on(event)
    async def listen(*arguments: Any) -> None:
        await world.flavour.sleep(0.01)
        heard.append(event)

    async with world.queue() as queue, worker:
        await queue.add("fine", 1)
        await queue.add("boom", 1)
        await world.until(lambda: world.dead() and world.is_empty())
        if event not in ("closing", "closed"):
            await world.until(lambda: heard)
    assert heard


@pytest.mark.forms("asyncio", "trio")
async def test_a_coroutine_listener_that_raises_is_reported(world: World) -> None:
    async def handle(job: Any) -> None: ...

    worker = world.worker(handle)
    errors: list[Exception] = []

    @worker.on("completed")
    async def broken(*arguments: Any) -> None:
        raise LookupError("late")

    @worker.on("error")
    async def told(error: Exception) -> None:
        errors.append(error)

    async with world.queue() as queue, worker:
        await queue.add("w", 1)
        await world.until(lambda: errors)
    assert isinstance(errors[0], LookupError)
