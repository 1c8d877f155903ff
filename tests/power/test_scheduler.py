"""The standalone Scheduler: it fires what is due, once, whoever else keeps the schedule too."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from chasquimq import ClosedError, InvalidOptionError, InvalidOptionTypeError, RedisConnectionError
from chasquimq.native import RepeatableSpec, RepeatPattern, SchedulerOpts
from tests.conformance.world import World
from tests.power.conftest import Power


def every(interval_ms: int, **options: Any) -> RepeatableSpec:
    return RepeatableSpec(job_name="tick", payload=b"\xc1", pattern=RepeatPattern.every(interval_ms), **options)


def lock(world: World) -> bytes | None:
    return world.admin.get(world.key("scheduler:lock"))


async def test_it_fires_until_the_limit(power: Power, world: World) -> None:
    async with power.producer() as producer, power.scheduler(tick_ms=50):
        await producer.upsert_repeatable(every(20, limit=3))
        await world.until(lambda: len(world.stream()) == 3)
        await world.until(lambda: not world.admin.exists(world.key("repeat")))
    jobs = [msgpack.unpackb(fields[b"d"]) for _, fields in world.stream()]
    assert [job[1] for job in jobs] == [b"\xc1"] * 3
    assert len({job[0] for job in jobs}) == 3
    assert [fields[b"n"] for _, fields in world.stream()] == [b"tick"] * 3


async def test_an_earlier_spec_wakes_a_sleeping_leader(power: Power, world: World) -> None:
    """With a tick of an hour only the producer's word can make it fire in time."""
    async with power.producer() as producer, power.scheduler(tick_ms=3_600_000) as scheduler:
        await producer.upsert_repeatable(every(3_600_000, key="far"))
        await world.until(lambda: scheduler.is_leader)
        await producer.upsert_repeatable(every(30, key="near", limit=2))
        await world.until(lambda: len(world.stream()) == 2)


async def test_one_leads_and_the_other_takes_over(power: Power, world: World) -> None:
    async with power.producer() as producer, power.scheduler(name="b", tick_ms=50) as second:
        await producer.upsert_repeatable(every(3_600_000, key="keeps them busy"))
        await world.until(lambda: second.is_leader)
        async with power.scheduler(name="a", tick_ms=50) as first:
            await producer.upsert_repeatable(every(20, limit=2))
            await world.until(lambda: len(world.stream()) == 2)
            assert lock(world) == b"b"
            assert not first.is_leader
            await second.close()
            await world.until(lambda: first.is_leader)
            assert lock(world) == b"a"
            await producer.upsert_repeatable(every(20, limit=2, key="again"))
            await world.until(lambda: len(world.stream()) == 4)
    assert lock(world) is None
    assert not first.is_leader


async def test_nobody_leads_while_there_is_nothing_to_fire(power: Power, world: World) -> None:
    async with power.producer() as producer, power.scheduler(tick_ms=20) as scheduler:
        assert not scheduler.is_leader
        await producer.upsert_repeatable(every(10, limit=1))
        await world.until(lambda: len(world.stream()) == 1)
        await world.until(lambda: lock(world) is None)
        assert scheduler.is_running()
        assert not scheduler.is_leader


async def test_several_fire_each_window_once(power: Power, world: World) -> None:
    async with (
        power.producer() as producer,
        power.scheduler(tick_ms=20),
        power.scheduler(tick_ms=20),
        world.worker(lambda job: None, scheduler_tick_ms=20, autorun=False),
    ):
        await producer.upsert_repeatable(every(10, limit=20))
        await world.until(lambda: not world.admin.exists(world.key("repeat")))
    assert len(world.stream()) == 20


async def test_a_bad_spec_does_not_stand_in_the_way(power: Power, world: World) -> None:
    world.admin.zadd(world.key("repeat"), {"bad": 1, "orphan": 2})
    world.admin.hset(world.key("repeat:spec:bad"), "spec", b"\xc1")
    async with power.producer() as producer, power.scheduler(tick_ms=20):
        await producer.upsert_repeatable(every(20, limit=1))
        await world.until(lambda: len(world.stream()) == 1)
        await world.until(lambda: world.admin.zscore(world.key("repeat"), "orphan") is None)
        assert world.admin.zscore(world.key("repeat"), "bad") > world.server_ms()


async def test_it_survives_its_server(own_power: Power, own_world: World, own_server: Any) -> None:
    async with own_power.producer() as producer, own_power.scheduler(tick_ms=50) as scheduler:
        await producer.upsert_repeatable(every(50))
        await own_world.until(lambda: len(own_world.stream()) >= 2)
        await own_world.flavour.in_thread(own_server.stop)
        await own_world.flavour.in_thread(own_server.start)
        before = len(own_world.stream())
        await own_world.until(lambda: len(own_world.stream()) > before)
        assert scheduler.is_running()


async def test_run_lasts_until_close(power: Power, world: World) -> None:
    scheduler = power.scheduler()
    async with power.producer() as producer:
        await producer.upsert_repeatable(every(3_600_000))
    async with world.flavour.beside(scheduler.run):
        await world.until(lambda: scheduler.is_leader)
        async with world.flavour.beside(scheduler.run):  # joins the same run
            await scheduler.close()
            await scheduler.close()
    assert scheduler.is_closed
    assert not scheduler.is_running()
    assert lock(world) is None


@pytest.mark.forms("asyncio", "trio")
async def test_being_cancelled_gives_the_lead_up(power: Power, world: World) -> None:
    import anyio

    scheduler = power.scheduler()
    async with power.producer() as producer:
        await producer.upsert_repeatable(every(3_600_000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scheduler.run)
        await world.until(lambda: scheduler.is_leader)
        tasks.cancel_scope.cancel()
    assert lock(world) is None
    assert scheduler.is_closed


async def test_closed_before_it_ran(power: Power) -> None:
    scheduler = power.scheduler()
    await scheduler.close()
    with pytest.raises(ClosedError):
        await scheduler.run()
    with pytest.raises(ClosedError):
        async with scheduler:
            pass


async def test_a_server_that_is_not_there_is_told_at_the_start(power: Power) -> None:
    with pytest.raises(RedisConnectionError):
        async with power.scheduler(connection="redis://127.0.0.1:1"):
            pass
    with pytest.raises(RedisConnectionError):
        await power.scheduler(connection="redis://127.0.0.1:1").run()


async def test_wrong_options_are_refused(power: Power, world: World) -> None:
    for options in ({"tick_ms": 0}, {"tick_ms": -1}, {"name": " "}):
        with pytest.raises(InvalidOptionError):
            power.scheduler(**options)
    for options in ({"name": 1}, {"opts": {"no_such": 1}}, {"tick_ms": "1"}):
        with pytest.raises(InvalidOptionTypeError):
            power.scheduler(**options)
    scheduler = power.scheduler(opts=SchedulerOpts(connection=world.url, tick_ms=5))
    assert scheduler.queue_name == world.name
    assert repr(scheduler) == f"<Scheduler {world.name!r} not started>"
