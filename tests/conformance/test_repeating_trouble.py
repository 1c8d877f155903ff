"""Repeatable jobs in trouble: one bad spec stands in nobody's way, and a server's trouble loses no window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

import chasquimq.aio
import chasquimq.sync
from chasquimq import PayloadDecodeError, ServerReplyError
from tests.conformance.flavours import Spoken
from tests.conformance.test_repeating import TICK, Runs, fired, score
from tests.conformance.test_repeating_fleet import check, fires_on, store
from tests.conformance.world import World
from tests.servers import RedisServer


def hash_of(**fields: Any) -> Callable[[World], None]:
    """Writes a spec by hand, in the map form."""
    whole = {"key": "bad", "job_name": "n", "pattern": {"Every": [1_000]}, "payload": msgpack.packb(b"\x01"), **fields}
    return lambda world: world.admin.hset(world.key("repeat:spec:bad"), "spec", msgpack.packb(whole))


def garbage(world: World) -> None:
    world.admin.hset(world.key("repeat:spec:bad"), "spec", b"\xc1")


def foreign(world: World) -> None:
    world.admin.set(world.key("repeat:spec:bad"), "not ours")


BAD: dict[str, Callable[[World], Any]] = {
    "garbage": garbage,
    "another program's key": foreign,
    "a pattern of the future": hash_of(pattern={"Moon": ["full"]}),
    "a cron of another dialect": hash_of(pattern={"Cron": ["H * * * *", None]}),
    "an interval of zero": hash_of(pattern={"Every": [0]}),
    "a retry that no job can carry": hash_of(retry=[-1, None]),
}


def scheduler(world: World, **options: Any) -> Any:
    form = chasquimq.aio if world.flavour.is_async else chasquimq.sync
    made = form.Scheduler(world.name, **{"connection": world.url, **options})
    return made if world.flavour.is_async else Spoken(made)


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_spec_rests_and_the_others_go_on(world: World, bad: str) -> None:
    runs, told = Runs(), []
    BAD[bad](world)
    world.admin.zadd(world.key("repeat"), {"bad": 1})  # due before all others
    worker = world.worker(runs.handle, **TICK)
    worker.on("error", told.append)
    async with world.queue() as queue, worker:
        await queue.add("good", 1, repeat={"every": 20, "limit": 5})
        await world.until(lambda: len(runs.jobs) == 5)
        rested = score(world, "bad")
        assert rested is not None, "a newer program may understand it"
        assert rested > world.server_ms()
        await world.until(lambda: told)
        assert all(isinstance(error, PayloadDecodeError | ServerReplyError) for error in told)
        await queue.add("good", 1, repeat={"every": 3_600_000})
        assert "good::every:3600000" in [meta.key for meta in await queue.get_repeatable_jobs()]


@pytest.mark.parametrize("bad", ["garbage", "another program's key", "a retry that no job can carry"])
async def test_a_scheduler_of_its_own_goes_on_too(world: World, bad: str) -> None:
    BAD[bad](world)
    world.admin.zadd(world.key("repeat"), {"bad": 1})
    async with world.queue() as queue, scheduler(world, tick_ms=50):
        await queue.add("good", 1, repeat={"every": 20, "limit": 5})
        await world.until(lambda: len(world.stream()) == 5)
        assert (score(world, "bad") or 0) > world.server_ms()


@pytest.mark.parametrize("odd", ["-inf", "inf", "-1e300", "1e300", "0.5"])
async def test_a_score_that_is_no_time_stops_nobody(world: World, odd: str) -> None:
    runs = Runs()
    hash_of()(world)
    world.admin.execute_command("ZADD", world.key("repeat"), odd, "bad")
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        await queue.add("good", 1, repeat={"every": 20, "limit": 5})
        await world.until(lambda: sum(job.name == "good" for job in runs.jobs) == 5)
        await queue.get_repeatable_jobs()


async def test_a_schedule_without_its_spec_is_dropped(world: World) -> None:
    runs = Runs()
    world.admin.zadd(world.key("repeat"), {"orphan": 1})
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        await queue.add("good", 1, repeat={"every": 20, "limit": 2})
        await world.until(lambda: len(runs.jobs) == 2)
        await world.until(lambda: score(world, "orphan") is None)


async def test_a_bad_spec_that_is_stored_anew_fires(world: World) -> None:
    runs = Runs()
    garbage(world)
    world.admin.zadd(world.key("repeat"), {"bad": 1})
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        await world.until(lambda: (score(world, "bad") or 0) > world.server_ms())
        await queue.add("good", 1, repeat={"every": 20, "limit": 2}, repeat_job_key="bad")
        await world.until(lambda: len(runs.jobs) == 2)


async def test_other_promises_are_kept_beside_a_bad_spec(world: World) -> None:
    """Promotion and leases have the same thread as the schedule."""
    runs = Runs()
    foreign(world)
    world.admin.zadd(world.key("repeat"), {"bad": "-inf"})
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        for number in range(5):
            await queue.add("delayed", number, delay=20)
            await world.until(lambda number=number: len(runs.jobs) == number + 1)


async def test_a_full_server_loses_no_window(own_world: World, own_server: RedisServer) -> None:
    runs, told = Runs(), []
    world = own_world
    first = await store(world)
    worker = world.worker(runs.handle, **TICK)
    worker.on("error", told.append)
    async with worker:
        await fires_on(world, first, 3)
        world.admin.config_set("maxmemory", "1")
        try:
            await world.until(lambda: any("OOM" in str(error) for error in told), "the worker meets a full server")
        finally:
            world.admin.config_set("maxmemory", "0")
        await fires_on(world, first, 10)


async def test_a_server_that_is_killed_loses_no_window(own_world: World, own_server: RedisServer) -> None:
    runs = Runs()
    world = own_world
    first = await store(world)
    async with world.worker(runs.handle, **TICK):
        await fires_on(world, first, 3)
        await world.flavour.in_thread(lambda: own_server.restart(kill=True))
        await world.until(lambda: fired(world, "k") >= 3)
        await fires_on(world, first, 5)
    check(world, first)


async def test_a_scheduler_tells_that_its_server_is_away_and_that_it_is_back(
    own_world: World, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    world = own_world

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "chasquimq.scheduler"]

    first = await store(world)
    async with scheduler(world, tick_ms=50):
        await fires_on(world, first, 3)
        await world.flavour.in_thread(own_server.kill)
        await world.until(told)
        await world.flavour.in_thread(own_server.start)
        await world.until(lambda: told()[-1].startswith("It works again"))
        await fires_on(world, first, 3)
    *away, back = told()
    assert away
    assert all(message.startswith(f"the schedule of {world.name!r} is not kept for now: ") for message in away)
    assert back == f"It works again: the schedule of {world.name!r} is kept."


async def test_connections_that_break_lose_no_window(world: World) -> None:
    runs = Runs()
    first = await store(world)
    async with world.worker(runs.handle, **TICK):
        for _ in range(5):
            await fires_on(world, first, 1)
            for client in world.admin.client_list():
                if client["cmd"].startswith(("evalsha", "hget", "blpop", "eval", "exists", "xautoclaim")):
                    world.admin.client_kill_filter(_id=client["id"])
        await fires_on(world, first, 5)
        async with world.queue() as queue:
            await queue.remove_repeatable_by_key("k")
        await world.until(world.is_empty)
