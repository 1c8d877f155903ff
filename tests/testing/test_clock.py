"""A queue's clock that can be moved: what would happen later happens now."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chasquimq import InvalidOptionError
from tests.conformance.world import World


async def test_a_delayed_job_becomes_due_and_another_one_comes_closer(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        await queue.add("hour", 1, delay=timedelta(hours=1))
        await queue.add("day", 2, delay=timedelta(days=1))
        before = dict(world.delayed())
        assert (await testing.drain(queue, lambda job: None)).runs == 0
        await clock.advance(timedelta(hours=1))
        assert sum(before.values()) - sum(dict(world.delayed()).values()) == 2 * 3_600_000
        report = await testing.drain(queue, lambda job: None)
        assert [job.name for job in report.completed] == ["hour"]
        await clock.advance(timedelta(hours=23))
        report = await testing.drain(queue, lambda job: None)
        assert [job.name for job in report.completed] == ["day"]


async def test_a_retry_comes_closer(testing: Any, world: World) -> None:
    async def handle(job: Any) -> None:
        raise ValueError("no")

    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        await queue.add("n", 1, attempts=2, backoff=60_000)
        await testing.drain(queue, handle, raise_errors=False)
        await clock.advance(60_000)
        report = await testing.drain(queue, handle, raise_errors=False)
    assert report.dead_letters == 1


async def test_what_is_added_later_waits_from_then_on(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        await clock.advance(timedelta(hours=1))
        await queue.add("n", 1, delay=timedelta(minutes=30))
        await clock.advance(timedelta(minutes=29))
        assert (await testing.drain(queue, lambda job: None)).runs == 0
        await clock.advance(timedelta(minutes=1))
        assert (await testing.drain(queue, lambda job: None)).runs == 1


async def test_a_running_worker_hears_of_it(testing: Any, world: World) -> None:
    done = world.gate()

    async def handle(job: Any) -> None:
        done.open()

    async with world.queue() as queue, world.worker(handle):
        await queue.add("n", 1, delay=timedelta(hours=1))
        await testing.QueueClock(queue).advance(timedelta(hours=1))
        await done.passed()
        await world.until(world.is_empty)


async def test_a_repeatable_job_fires_every_window_in_between(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        await queue.add("tick", {"a": 1}, repeat={"every": timedelta(minutes=10)})
        await queue.add("tock", None, repeat={"every": timedelta(minutes=25)})
        assert await clock.advance(timedelta(minutes=9)) == 0
        assert await clock.advance(timedelta(minutes=51)) == 8
        jobs = await testing.enqueued(queue)
        assert [job.name for job in jobs] == ["tick", "tick", "tock", "tick", "tick", "tick", "tock", "tick"]
        times = [job.created_at_ms for job in jobs if job.name == "tick"]
        assert {later - earlier for earlier, later in itertools.pairwise(times)} == {600_000}
        assert (await testing.drain(queue, lambda job: None)).runs == 8
        assert await clock.advance(timedelta(minutes=10)) == 1


async def test_a_limit_and_an_end_are_kept(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        end = datetime.now(UTC) + timedelta(minutes=5, seconds=30)
        await queue.add("limited", 1, repeat={"every": 60_000, "limit": 3})
        await queue.add("ending", 1, repeat={"every": 60_000, "end_date": end})
        assert await clock.advance(timedelta(days=1)) == 8
        assert await queue.get_repeatable_jobs() == []


async def test_a_spec_that_is_stored_later_starts_then(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        await clock.advance(timedelta(hours=5))
        await queue.add("tick", 1, repeat={"every": timedelta(hours=1)})
        assert await clock.advance(timedelta(minutes=59)) == 0
        assert await clock.advance(timedelta(minutes=1)) == 1
        await queue.add("tick", 1, repeat={"every": timedelta(hours=1)})  # replaced: it starts anew
        assert await clock.advance(timedelta(minutes=30)) == 0
        assert await clock.advance(timedelta(minutes=30)) == 1


async def test_a_pattern_follows_the_calendar(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        await queue.add("monthly", 1, repeat={"pattern": "0 2 1 * *"})
        assert await clock.advance(timedelta(days=366)) in (12, 13)
        first = datetime.fromtimestamp((await testing.enqueued(queue))[0].created_at_ms / 1000, UTC)
        assert (first.day, first.hour, first.minute) == (1, 2, 0)


async def test_a_spec_that_cannot_be_read_is_left_alone(testing: Any, world: World) -> None:
    world.admin.zadd(world.key("repeat"), {"bad": 1, "orphan": 2})
    world.admin.hset(world.key("repeat:spec:bad"), "spec", b"\xc1")
    async with world.queue() as queue:
        assert await testing.QueueClock(queue).advance(1_000) == 0
    assert world.admin.zcard(world.key("repeat")) == 2


async def test_more_fires_than_anybody_means_are_refused(testing: Any, world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("chasquimq.testing._time.MOST_FIRES", 10)
    async with world.queue() as queue:
        await queue.add("tick", 1, repeat={"every": 1})
        with pytest.raises(InvalidOptionError, match="steps"):
            await testing.QueueClock(queue).advance(1_000)


async def test_the_time_on_the_clock(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        clock = testing.QueueClock(queue)
        assert abs(clock.now_ms - world.server_ms()) < 1_000
        tomorrow = clock.now + timedelta(days=1)
        await clock.move_to(tomorrow)
        assert timedelta(0) <= clock.now - tomorrow < timedelta(seconds=1)
        with pytest.raises(InvalidOptionError, match="forward"):
            await clock.move_to(tomorrow - timedelta(days=1))
        with pytest.raises(InvalidOptionError):
            await clock.advance(-1)
