"""Whoever follows events, or waits for results, cancelled wherever it waits: nothing is missed, nobody is disturbed."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import chasquimq.aio
from chasquimq.events import Gap, QueueEvent
from tests.conformance.cancelling import WAYS
from tests.conformance.world import World
from tests.conftest import other_clients

pytestmark = pytest.mark.forms("asyncio", "trio")

CALLS = ("run", "wait_until_ready", "__anext__", "close", "__aenter__", "__aexit__")
"""The public coroutine functions of QueueEvents; all of them are cancelled here."""

MOST_SUSPENSIONS = 200
FULL_READ = 256
"""As many events as one read brings; after it, it is asked whether events were missed."""


def follow(world: World, **options: Any) -> chasquimq.aio.QueueEvents:
    return chasquimq.aio.QueueEvents(world.name, connection=world.url, **{"last_event_id": "0", **options})


def write_events(world: World, count: int, first: int = 0) -> list[str]:
    """Their jobs' ids."""
    ids = [f"job-{number}" for number in range(first, first + count)]
    with world.admin.pipeline(transaction=False) as pipeline:
        for job_id in ids:
            pipeline.xadd(world.key("events"), {"e": "active", "id": job_id, "ts": 1, "attempt": 1})
        pipeline.execute()
    return ids


async def take(events: chasquimq.aio.QueueEvents, into: list[QueueEvent], count: int) -> None:
    while len(into) < count:
        into.append(await anext(events))


async def nobody_is_connected(world: World, clients: set[str]) -> None:
    await world.until(lambda: not set(other_clients(world.admin)) - clients, "connections go")


@pytest.mark.parametrize("is_missing_some", [False, True], ids=["whole", "trimmed"])
async def test_an_iteration_cancelled_everywhere_misses_no_event(world: World, is_missing_some: bool) -> None:
    """The next one goes on where it was, on the same connection, and a gap is told whatever came between."""
    clients = set(other_clients(world.admin))
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            world.admin.delete(world.key("events"))
            seen: list[QueueEvent] = []
            expected = write_events(world, 1)
            async with follow(world, autorun=False) as events:
                await take(events, seen, 1)
                if is_missing_some:
                    write_events(world, 1)
                    world.admin.xtrim(world.key("events"), maxlen=0, approximate=False)
                    expected.append("gap")
                expected += write_events(world, FULL_READ + 5, first=1)
                count = len(expected)
                ended = await way(lambda events=events, seen=seen, count=count: take(events, seen, count), at)
                with anyio.fail_after(10):
                    await take(events, seen, count)
            told = ["gap" if isinstance(event, Gap) else event.job_id for event in seen]
            assert told == expected
            await nobody_is_connected(world, clients)
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")


async def listen(events: chasquimq.aio.QueueEvents, count: Callable[[], int]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(events.run)
        while count() < 6:
            await anyio.sleep(0.002)
        await events.close()


async def listen_in_a_block(events: chasquimq.aio.QueueEvents, count: Callable[[], int]) -> None:
    async with events:
        await events.wait_until_ready()
        while count() < 6:
            await anyio.sleep(0.002)


@pytest.mark.parametrize("act", [listen, listen_in_a_block])
async def test_a_subscription_cancelled_everywhere_leaves_nothing(
    world: World, act: Callable[..., Awaitable[None]]
) -> None:
    """And the listener that is a coroutine function hears of each event once, or is dropped with the subscription."""
    clients = set(other_clients(world.admin))
    write_events(world, 6)
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            heard: Counter[str] = Counter()
            events = follow(world)

            async def hear(event: Any, _event_id: str, heard: Counter[str] = heard) -> None:
                await anyio.lowlevel.checkpoint()
                heard[event.job_id] += 1

            events.on("active", hear)
            with anyio.fail_after(10):
                ended = await way(lambda events=events, heard=heard: act(events, lambda: len(heard)), at)
            if not events.is_closed:
                await events.close()
            assert set(heard.values()) <= {1}
            await nobody_is_connected(world, clients)
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")
    gc.collect()


async def test_listeners_that_a_cancelled_run_has_left_are_called_by_the_next(world: World) -> None:
    heard: list[str] = []
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            heard.clear()
            world.admin.delete(world.key("events"))
            expected = write_events(world, 6)
            async with follow(world, autorun=False, last_event_id="0") as events:

                @events.on("active")
                async def _hear(event: Any, _event_id: str) -> None:
                    heard.append(event.job_id)
                    await anyio.lowlevel.checkpoint()

                async def until_the_end(events: chasquimq.aio.QueueEvents = events) -> None:
                    seen: list[QueueEvent] = []
                    await take(events, seen, 6)

                ended = await way(until_the_end, at)
                # One event more, so that there is something to read for whoever comes next.
                expected += write_events(world, 1, first=6)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(events.run)
                    await world.until(lambda expected=expected: heard == expected)
                    tasks.cancel_scope.cancel()
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")
