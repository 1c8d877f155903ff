"""Programs with more than one event loop: one after another, or each in a thread of its own."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from chasquimq import aio
from tests.faults.programs import run_scenario

ANSWERS = 100


def in_threads(*mains: tuple[str, Callable[[], Awaitable[object]]]) -> None:
    """Runs each main in a loop of its own, of this backend, in a thread of its own."""
    failures: list[BaseException] = []

    def run(backend: str, main: Callable[[], Awaitable[object]]) -> None:
        try:
            anyio.run(main, backend=backend)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in mains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


async def call(queue: Any, who: str, tasks: int = 20, turns: int = 25) -> None:
    async def one(number: int) -> None:
        dice = random.Random(f"{who}-{number}")
        for turn in range(turns):
            wanted = dice.randrange(ANSWERS)
            assert await queue.get_job_result(str(wanted)) == wanted
            job_id = f"{who}-{number}-{turn}"
            assert (await queue.add("job", who, job_id=job_id)).id == job_id

    async with anyio.create_task_group() as group:
        for number in range(tasks):
            group.start_soon(one, number)


def queue_each(url: str, name: str, first: str, second: str) -> None:
    """Two loops in two threads, each with a Queue and a Worker of its own; each result goes to who waits for it."""

    def main(who: str) -> Callable[[], Awaitable[object]]:
        async def handle(job: Any) -> Any:
            return job.data

        async def run() -> None:
            own = f"{name}-{who}"
            async with (
                aio.Queue[Any, Any](own, connection=url) as queue,
                aio.Worker[Any, Any](own, handle, connection=url, store_results=True),
            ):
                for turn in range(50):
                    job = await queue.add("job", [who, turn])
                    assert await job.wait_for_result(timeout_ms=20_000) == [who, turn]

        return run

    in_threads((first, main("a")), (second, main("b")))


def queue_shared(url: str, name: str, first: str, second: str) -> None:
    """One Queue in two loops at the same time: each loop has a connection of its own."""
    queue = aio.Queue[Any, Any](name, connection=url)
    in_threads((first, lambda: call(queue, "a")), (second, lambda: call(queue, "b")))
    asyncio.run(queue.close())


def one_after_another(url: str, name: str, first: str, second: str) -> None:
    """A Queue of the module, used in five runs of two kinds."""
    queue = aio.Queue[Any, Any](name, connection=url)
    for number in range(5):
        anyio.run(call, queue, str(number), 5, 5, backend=first if number % 2 else second)
    anyio.run(queue.close, backend=first)


def closed_elsewhere(url: str, name: str, first: str, second: str) -> None:
    """A worker of one loop is closed from another one, where it was awaited in vain before."""
    worker = aio.Worker[Any, Any](name, lambda job: None, connection=url)
    ready = threading.Event()
    worker.on("ready", ready.set)

    async def close() -> None:
        await anyio.to_thread.run_sync(ready.wait)
        await worker.close()
        assert worker.is_closed

    in_threads((first, worker.run), (second, close))


if __name__ == "__main__":
    run_scenario(globals())
