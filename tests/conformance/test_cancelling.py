"""F26: every call of a producer's, cancelled wherever it waits.

A cancelled call has happened or it has not, and whoever calls next on the same object gets an answer of its own. The
cancellation reaches the caller, and nothing is left behind: no connection, no lock, no half of a job.
"""

from __future__ import annotations

import gc
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

import chasquimq.aio
from chasquimq import NotSupportedError
from chasquimq.aio._unsupported import UnsupportedQueueMethods
from tests.conformance import cancel_cases, test_cancelling_following, test_cancelling_workers
from tests.conformance.cancel_cases import PRODUCER, QUEUE, Case, Try
from tests.conformance.cancelling import WAYS, Way
from tests.conformance.world import World
from tests.conftest import other_clients

pytestmark = pytest.mark.forms("asyncio", "trio")

MOST_SUSPENSIONS = 500
ANSWERS = 4


def coroutine_functions(kind: type) -> set[str]:
    """The public ones of a class, those that ``async with`` and ``async for`` call included."""
    return {
        name
        for name, value in inspect.getmembers(kind)
        if (inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value))
        and (not name.startswith("_") or name.startswith("__a"))
    }


def covered(cases: dict[str, Case]) -> set[str]:
    return {name.split(",")[0] for name in cases}


@pytest.mark.forms("asyncio")
async def test_no_coroutine_function_is_missing_here(world: World) -> None:
    refused = coroutine_functions(UnsupportedQueueMethods)
    cases = {
        "Queue": {name for name in covered(QUEUE) if "." not in name} | refused,
        "Job": {name.removeprefix("Job.") for name in covered(QUEUE) if "." in name},
        "Producer": covered(PRODUCER),
        "QueueEvents": set(test_cancelling_following.CALLS),
        "Worker": set(test_cancelling_workers.CALLS),
        "Consumer": set(test_cancelling_workers.CALLS),
        "Scheduler": set(test_cancelling_workers.CALLS),
    }
    kinds = {name: getattr(chasquimq.aio, name) for name in chasquimq.aio.__all__}
    assert {name: coroutine_functions(kind) for name, kind in kinds.items() if inspect.isclass(kind)} == cases


async def test_what_is_refused_is_refused_at_once(world: World) -> None:
    async with world.queue() as queue:
        for name in coroutine_functions(UnsupportedQueueMethods):
            coroutine = getattr(queue, name)(*["id"] * (name == "get_job"))
            with pytest.raises(NotSupportedError):
                coroutine.send(None)


@pytest.mark.parametrize("name", QUEUE)
async def test_a_queue_cancelled_everywhere(world: World, name: str) -> None:
    for way in WAYS[world.flavour.name].values():
        for is_warm in (False, True):
            await cancelled_everywhere(world, QUEUE[name], cancel_cases.queue_of, way, is_warm)
    gc.collect()


@pytest.mark.parametrize("name", PRODUCER)
async def test_a_producer_cancelled_everywhere(world: World, name: str) -> None:
    for way in WAYS[world.flavour.name].values():
        for is_warm in (False, True):
            await cancelled_everywhere(world, PRODUCER[name], cancel_cases.producer_of, way, is_warm)
    gc.collect()


async def cancelled_everywhere(
    world: World, case: Case, make: Callable[[World, Case], Any], way: Way, is_warm: bool
) -> None:
    for number in range(ANSWERS):
        world.admin.set(world.key(f"result:answer-{number}"), msgpack.packb(f"this is {number}"), ex=60)
    before = set(other_clients(world.admin))
    for at in range(1, MOST_SUSPENSIONS):
        of = Try(world, next(numbers))
        of.clear()
        case.prepare(of)
        target = make(world, case)
        if is_warm:
            await own_answers(world, target)
        ended = await way(lambda of=of, target=target: case.act(target, of), at)
        if not target.is_closed:
            await own_answers(world, target)
        case.check(of, ended.result, ended.is_done)
        await target.close()
        await world.until(lambda: not set(other_clients(world.admin)) - before, "connections go")
        if not ended.was_struck:
            return
    raise AssertionError("it never came to its end")


numbers = itertools.count()


async def own_answers(world: World, target: Any) -> None:
    """Several calls at once and one after the other: each has an answer that only fits itself."""

    async def ask(number: int) -> None:
        if isinstance(target, chasquimq.aio.Queue):
            assert await target.get_job_result(f"answer-{number}") == f"this is {number}"
        else:
            assert await target.get_result(f"answer-{number}") == msgpack.packb(f"this is {number}")

    await world.flavour.together(*[lambda n=n: ask(n) for n in range(ANSWERS)])
    for number in range(ANSWERS):
        await ask(number)
