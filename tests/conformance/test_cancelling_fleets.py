"""A worker with processes of its own, cancelled wherever it waits for them: they drain and end."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import chasquimq.aio
from tests.conformance.cancelling import WAYS, Way
from tests.conformance.test_cancelling_workers import add_jobs, nothing_is_left
from tests.conformance.world import World
from tests.conftest import other_clients

pytestmark = pytest.mark.forms("asyncio", "trio")

MOST_SUSPENSIONS = 200
Act = Callable[[Any, World], Awaitable[None]]


async def handle(job: chasquimq.aio.Job[Any, Any]) -> None:
    """A process that is spawned imports it by its name."""
    await anyio.sleep(0.005)


async def run_and_close(worker: Any, world: World) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close_at_the_end, worker, world)
        await worker.run()


async def in_a_block(worker: Any, world: World) -> None:
    async with worker:
        await world.until(lambda: worker.is_closed or world.is_empty(), "everything is done")


async def close_at_the_end(worker: Any, world: World) -> None:
    await world.until(lambda: worker.is_closed or world.is_empty(), "everything is done")
    await worker.close()


@pytest.mark.parametrize("act", [run_and_close, in_a_block])
async def test_a_worker_with_processes_cancelled_everywhere(world: World, act: Act) -> None:
    await cancelled_everywhere(world, WAYS[world.flavour.name]["scope"], act)


@pytest.mark.forms("asyncio")
@pytest.mark.parametrize("way", ["native", "late", "timeout"])
@pytest.mark.parametrize("act", [run_and_close, in_a_block])
async def test_a_worker_with_processes_cancelled_by_asyncio(world: World, act: Act, way: str) -> None:
    await cancelled_everywhere(world, WAYS[world.flavour.name][way], act)


async def cancelled_everywhere(world: World, way: Way, act: Act) -> None:
    clients = set(other_clients(world.admin))
    for at in range(1, MOST_SUSPENSIONS):
        world.admin.delete(world.key("events"))
        added = add_jobs(world)
        worker = new_worker(world, processes=2, start_method="spawn")
        with anyio.fail_after(30):
            ended = await way(lambda worker=worker: act(worker, world), at)
        assert worker.is_closed
        assert not multiprocessing.active_children()
        async with new_worker(world):
            await world.until(world.is_empty, "another worker does what is left, at once")
        ends = Counter(event["id"] for event in world.events() if event["e"] == "completed")
        assert ends == Counter(added), "a job was acknowledged twice, or never"
        await nothing_is_left(world, clients)
        if not ended.was_struck:
            return
    raise AssertionError("it never came to its end")


def new_worker(world: World, **options: Any) -> Any:
    return chasquimq.aio.Worker(
        world.name, handle, connection=world.url, concurrency=2, drain_delay=60_000, run_scheduler=False, **options
    )
