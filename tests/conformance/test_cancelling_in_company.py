"""F26: one of many is cancelled on the connection that all of them share, and the others get their own answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import msgpack
import pytest

import chasquimq.aio
from tests.conformance.cancelling import WAYS, Ended, Way
from tests.conformance.world import World
from tests.conftest import other_clients

pytestmark = pytest.mark.forms("asyncio", "trio", "uvloop")

TASKS = 100
MOST_SUSPENSIONS = 100


async def all_but_one(
    world: World, way: Way, at: int, victim: int, act: Callable[[int], Any], check: Callable[[int, Any], None]
) -> Ended:
    """Runs the act as a hundred tasks at once, one of which is cancelled at its n-th suspension."""
    ends: dict[int, Ended] = {}

    async def one(number: int) -> None:
        if number == victim:
            ends[number] = await way(lambda: act(number), at)
        else:
            ends[number] = Ended(was_struck=False, is_done=True, result=await act(number))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for number in range(TASKS):
                tasks.start_soon(one, number)
    for number, ended in ends.items():
        if ended.is_done:
            check(number, ended.result)
    assert len(ends) == TASKS
    return ends[victim]


@pytest.mark.parametrize("victim", [0, 1, 50, TASKS - 1])
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
async def test_one_of_a_hundred_adds_is_cancelled(world: World, victim: int, is_warm: bool) -> None:
    """The first one opens the connection for all, or writes for them; on trio it reads for them, too."""
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            world.admin.delete(world.key("stream"))
            async with world.queue() as queue:
                if is_warm:
                    await queue.get_job_result("none")
                unique = f"{way.__name__}-{at}"

                async def add(number: int, queue: Any = queue, unique: str = unique) -> Any:
                    # Half of them are told an answer that is theirs: whether their id is there already.
                    job_id = f"{unique}-{number // 2}" if number % 2 else None
                    return await queue.add("w", number, job_id=job_id)

                def check(number: int, job: Any) -> None:
                    assert job.data == number
                    assert not job.is_duplicate

                ended = await all_but_one(world, way, at, victim, add, check)
                stored = Counter(msgpack.unpackb(msgpack.unpackb(fields[b"d"])[1]) for _, fields in world.stream())
                assert stored - Counter([victim]) == Counter(range(TASKS)) - Counter([victim])
                assert stored[victim] in ((1,) if ended.is_done else (0, 1))
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")


@pytest.mark.parametrize("victim", [0, 50, TASKS - 1])
async def test_one_of_a_hundred_questions_is_cancelled(world: World, victim: int) -> None:
    for number in range(TASKS):
        world.admin.set(world.key(f"result:{number}"), msgpack.packb(f"this is {number}"), ex=60)

    def check(number: int, answer: Any) -> None:
        assert answer == f"this is {number}"

    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            async with world.queue() as queue:
                ask: Callable[[int], Any] = lambda number, queue=queue: queue.get_job_result(str(number))  # noqa: E731
                ended = await all_but_one(world, way, at, victim, ask, check)
                again = await all_but_one(world, way, TASKS * MOST_SUSPENSIONS, victim, ask, check)
                assert again.is_done
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")


@pytest.mark.parametrize("victim", [0, 1, 4])
async def test_one_of_several_waits_is_cancelled_everywhere(world: World, victim: int) -> None:
    """Whoever looks, whoever reads the stream for all, and whoever does neither."""
    clients = set(other_clients(world.admin))
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            async with world.queue() as queue:
                jobs = await queue.add_bulk([("w", number) for number in range(5)])
                ended: list[Ended] = []
                results: dict[int, Any] = {}

                async def wait(number: int, jobs: Any = jobs, results: Any = results) -> None:
                    results[number] = await jobs[number].wait_for_result(10_000, 50)

                async def be_cancelled(way: Way = way, at: int = at, ended: Any = ended, wait: Any = wait) -> None:
                    ended.append(await way(lambda: wait(victim), at))

                async with anyio.create_task_group() as tasks:
                    for number in range(5):
                        tasks.start_soon(*((be_cancelled,) if number == victim else (wait, number)))
                    # Long enough for waits to look twice and to begin to read the stream.
                    await world.until(lambda ended=ended: ended or is_read(world))
                    for number, job in enumerate(jobs):
                        world.admin.set(world.key(f"result:{job.id}"), msgpack.packb(f"this is {number}"), ex=60)
                told = [number for number in range(5) if number != victim or ended[0].is_done]
                assert results == {number: f"this is {number}" for number in told}
                await world.until(lambda: not is_read(world), "a read that nobody waits for ends")
            await world.until(lambda: not set(other_clients(world.admin)) - clients, "connections go")
            if not ended[0].was_struck:
                break
        else:
            raise AssertionError("it never came to its end")


def is_read(world: World) -> bool:
    return any(client["cmd"] == "xread" and "b" in client["flags"] for client in world.admin.client_list())


async def test_a_queue_is_closed_in_a_cancelled_scope_with_calls_under_way(world: World) -> None:
    """What a timeout around a block does: the block's end is cancelled too, where a scope cancels again and again."""
    clients = set(other_clients(world.admin))
    for way in WAYS[world.flavour.name].values():
        for at in range(1, MOST_SUSPENSIONS):
            queue = chasquimq.aio.Queue[Any, Any](world.name, connection=world.url)

            async def block(queue: Any = queue) -> None:
                async with queue, anyio.create_task_group() as tasks:
                    for number in range(10):
                        tasks.start_soon(queue.add, "w", number)
                    await anyio.lowlevel.checkpoint()

            ended = await way(block, at)
            assert queue.is_closed
            await world.until(lambda: not set(other_clients(world.admin)) - clients, "connections go")
            if not ended.was_struck:
                break
        else:
            raise AssertionError("it never came to its end")
