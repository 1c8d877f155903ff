"""Repeatable jobs as their users meet them: they fire again and again, are listed, and come to their end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chasquimq import BackoffOptions, InvalidOptionError, MissedFires
from chasquimq.options import RepeatOptions
from tests.conformance.world import World

HOUR_MS = 3_600_000
TICK = {"scheduler_tick_ms": 50}


def score(world: World, key: str) -> int | None:
    found = world.admin.zscore(world.key("repeat"), key)
    return None if found is None else int(found)


def fired(world: World, key: str) -> int:
    return int(world.admin.hget(world.key(f"repeat:spec:{key}"), "fired") or 0)


def rewind(world: World, key: str, late_ms: int) -> int:
    """Makes a spec due ``late_ms`` ago, as if nobody had been there since; when that was."""
    due = world.server_ms() - late_ms
    assert world.admin.zadd(world.key("repeat"), {key: due}, xx=True, ch=True) == 1
    return due


def nothing_repeats(world: World) -> bool:
    return not list(world.admin.scan_iter(match=world.key("repeat*"), count=1_000))


class Runs:
    """A handler that keeps what it was given."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    async def handle(self, job: Any) -> None:
        self.jobs.append(job)


# -- firing --------------------------------------------------------------------------------------------------------


async def test_it_fires_again_and_again(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle):
        added = await queue.add("tick", {"a": [1, None]}, repeat={"every": 50})
        await world.until(lambda: len(runs.jobs) >= 5)
    assert (added.id, added.name, added.data) == ("tick::every:50", "tick", {"a": [1, None]})
    assert len({job.id for job in runs.jobs}) == len(runs.jobs)
    for job in runs.jobs:
        assert (job.name, job.data, job.attempts_made) == ("tick", {"a": [1, None]}, 1)
        assert (job.opts.attempts, job.opts.backoff) == (None, None)
        assert len(job.id) == 26


async def test_an_interval_far_below_the_tick_keeps_firing(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle, scheduler_tick_ms=1_000):
        await queue.add("tick", 1, repeat={"every": 50})
        await world.until(lambda: len(runs.jobs) >= 40)


async def test_a_pattern_fires_on_its_seconds(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue:
        added = await queue.add("tick", 1, repeat={"pattern": "* * * * * *", "tz": "Asia/Tokyo", "limit": 2})
        assert added.id == "tick::cron:* * * * * *:Asia/Tokyo"
        first = score(world, added.id)
        assert first is not None
        assert first % 1_000 == 0
        assert world.stream() == [], "nothing fires before its time"
        async with world.worker(runs.handle):
            await world.until(lambda: score(world, added.id) is None)
            await world.until(lambda: len(runs.jobs) == 2)
    assert all(job.timestamp >= first for job in runs.jobs)


async def test_nothing_is_added_when_it_is_stored(world: World) -> None:
    async with world.queue() as queue:
        before = world.server_ms()
        added = await queue.add("tick", 1, repeat=RepeatOptions(every=timedelta(hours=1)), repeat_job_key="mine")
        assert before + HOUR_MS <= (score(world, "mine") or 0) <= world.server_ms() + HOUR_MS
    assert (added.id, added.is_duplicate) == ("mine", False)
    assert (world.stream(), world.delayed(), world.events()) == ([], [], [])


async def test_what_has_no_effect_is_accepted(world: World) -> None:
    """A fire at once is not made, an id per fire not wired, an interval has no time zone."""
    runs = Runs()
    repeat = {"every": HOUR_MS, "immediately": True, "job_id": "reserved", "tz": "Nowhere/At_all"}
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        before = world.server_ms()
        added = await queue.add("tick", 1, repeat=repeat)
        assert added.id == f"tick::every:{HOUR_MS}"
        assert (score(world, added.id) or 0) >= before + HOUR_MS
        await queue.add("other", 1)
        await world.until(lambda: runs.jobs and world.is_empty())
        (meta,) = await queue.get_repeatable_jobs()
        assert (meta.every, meta.tz) == (HOUR_MS, None)
    assert [job.name for job in runs.jobs] == ["other"]


async def test_every_fire_has_the_attempts_and_backoff_that_were_given(world: World) -> None:
    runs = Runs()

    async def fail(job: Any) -> None:
        await runs.handle(job)
        raise ValueError("as told")

    backoff = BackoffOptions(type="fixed", delay=1, jitter_ms=0)
    async with world.queue() as queue, world.worker(fail, max_attempts=9):
        await queue.add("tick", 1, repeat={"every": 20, "limit": 2}, attempts=3, backoff=backoff)
        await world.until(lambda: len(world.dead()) == 2)
    assert sorted(job.attempts_made for job in runs.jobs) == [1, 1, 2, 2, 3, 3]
    for job in runs.jobs:
        assert job.opts.attempts == 3
        assert (job.opts.backoff.type, job.opts.backoff.delay) == ("fixed", 1)


async def test_a_new_spec_wakes_a_sleeping_scheduler(world: World) -> None:
    """With a tick of an hour, only the producer's word makes it fire."""
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle, scheduler_tick_ms=HOUR_MS):
        await queue.add("far", 1, repeat={"every": HOUR_MS})
        await world.until(lambda: world.admin.exists(world.key("scheduler:lock")))
        await queue.add("near", 1, repeat={"every": 30, "limit": 3})
        await world.until(lambda: len(runs.jobs) == 3)
        assert {job.name for job in runs.jobs} == {"near"}


async def test_a_worker_without_a_scheduler_fires_nothing(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle, run_scheduler=False):
        added = await queue.add("tick", 1, repeat={"every": 1})
        await queue.add("other", 1)
        await world.until(lambda: runs.jobs)
        await world.flavour.sleep(0.2)
        assert [job.name for job in runs.jobs] == ["other"]
        assert not world.admin.exists(world.key("scheduler:lock"))
        assert (score(world, added.id) or 0) < world.server_ms()


# -- listing and removing ------------------------------------------------------------------------------------------


async def test_specs_are_listed_by_their_next_fire(world: World) -> None:
    async with world.queue() as queue:
        assert await queue.get_repeatable_jobs() == []
        start = world.server_ms() + 10 * HOUR_MS
        await queue.add(
            "c",
            {"secret": 1},
            repeat={"every": 5_000, "limit": 7, "start_date": start, "end_date": start + HOUR_MS},
            repeat_job_key="last",
        )
        await queue.add("b", 1, repeat={"every": 2 * HOUR_MS, "missed_fires": "fire-once"}, attempts=3)
        await queue.add("a", 1, repeat={"pattern": "* * * * *", "tz": "America/New_York"})
        metas = await queue.get_repeatable_jobs()
        assert [meta.key for meta in metas] == ["a::cron:* * * * *:America/New_York", "b::every:7200000", "last"]
        cron, every, last = metas
        assert (cron.job_name, cron.pattern_kind, cron.every) == ("a", "cron", None)
        assert (cron.pattern, cron.tz) == ("* * * * *", "America/New_York")
        assert (every.pattern_kind, every.every, every.pattern, every.tz) == ("every", 2 * HOUR_MS, None, None)
        assert (every.limit, every.start_after_ms, every.end_before_ms) == (None, None, None)
        assert [meta.missed_fires.kind for meta in metas] == ["skip", "fire-once", "skip"]
        assert (last.job_name, last.limit) == ("c", 7)
        assert (last.start_after_ms, last.end_before_ms, last.next_fire_ms) == (start, start + HOUR_MS, start + 5_000)
        assert [meta.next_fire_ms for meta in metas] == [score(world, meta.key) for meta in metas]
        assert [meta.key for meta in await queue.get_repeatable_jobs(2)] == [cron.key, every.key]
        assert await queue.get_repeatable_jobs(0) == []
        with pytest.raises(InvalidOptionError):
            await queue.get_repeatable_jobs(-1)


async def test_a_hundred_specs_are_listed_unless_more_are_asked_for(world: World) -> None:
    async with world.queue() as queue:
        for number in range(101):
            await queue.add("tick", None, repeat={"every": HOUR_MS + number})
        assert len(await queue.get_repeatable_jobs()) == 100
        assert len(await queue.get_repeatable_jobs(limit=1_000)) == 101


async def test_a_removed_spec_never_fires_again(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        for _ in range(10):  # a removal may meet a fire at any point
            before = len(runs.jobs)
            added = await queue.add("tick", 1, repeat={"every": 1})
            await world.until(lambda before=before: len(runs.jobs) > before)
            assert await queue.remove_repeatable_by_key(added.id) is True
            assert nothing_repeats(world)
        assert await queue.remove_repeatable_by_key(added.id) is False
        await world.until(world.is_empty)
        added_in_all = world.admin.xinfo_stream(world.key("stream"))["entries-added"]
        await world.flavour.sleep(0.2)
        assert world.admin.xinfo_stream(world.key("stream"))["entries-added"] == added_in_all
        assert nothing_repeats(world)


# -- limit, start, end ---------------------------------------------------------------------------------------------


async def test_the_limit_is_exact_and_ends_the_spec(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        for _ in range(2):  # a spec that came to its end begins anew when it is stored again
            runs.jobs.clear()
            await queue.add("tick", 1, repeat={"every": 5, "limit": 4}, repeat_job_key="k")
            await world.until(lambda: score(world, "k") is None)
            await world.until(world.is_empty)
            assert len(runs.jobs) == 4
            assert nothing_repeats(world)


async def test_past_fires_count_when_a_spec_is_stored_again(world: World) -> None:
    runs = Runs()
    repeat = {"every": HOUR_MS, "limit": 3}
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        for number in (1, 2):
            await queue.add("tick", number, repeat=repeat, repeat_job_key="k")
            rewind(world, "k", 1)
            await world.until(lambda number=number: fired(world, "k") == number)
        await queue.add("tick", 3, repeat=repeat, repeat_job_key="k")
        rewind(world, "k", 1)
        await world.until(lambda: score(world, "k") is None)
        await world.until(lambda: len(runs.jobs) == 3)
    assert [job.data for job in runs.jobs] == [1, 2, 3], "the data of the last storing counts"


async def test_it_begins_one_interval_after_its_start(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle, **TICK):
        start = world.server_ms() + 300
        added = await queue.add("tick", 1, repeat={"every": 50, "start_date": start, "limit": 2})
        await world.until(lambda: score(world, added.id) is None)
        await world.until(lambda: len(runs.jobs) == 2)
    assert all(job.timestamp >= start + 50 for job in runs.jobs)


async def test_it_fires_up_to_its_end(world: World) -> None:
    runs = Runs()
    async with world.queue() as queue:
        end = world.server_ms() + 1_000
        policy = MissedFires(kind="fire-all", max_catchup=1_000)
        added = await queue.add("tick", 1, repeat={"every": 50, "end_date": end, "missed_fires": policy})
        first = score(world, added.id)
        assert first is not None
        async with world.worker(runs.handle, **TICK):
            await world.until(lambda: score(world, added.id) is None)
            await world.until(world.is_empty)
    assert len(runs.jobs) == (end - first) // 50 + 1
    assert nothing_repeats(world)


async def test_what_would_never_fire_is_refused(world: World) -> None:
    async with world.queue() as queue:
        past = world.server_ms() - 1
        for repeat in (
            {"every": HOUR_MS, "end_date": world.server_ms() + 1_000},
            {"pattern": "* * * * *", "end_date": past},
            {"pattern": "0 0 0 1 1 * 2020"},
            {"pattern": "0 0 30 2 *"},
        ):
            with pytest.raises(InvalidOptionError):
                await queue.add("tick", 1, repeat=repeat)
    assert nothing_repeats(world)


# -- missed fires --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "fires"),
    [
        (None, 0),
        ("skip", 0),
        ("fire-once", 1),
        (MissedFires(kind="fire-all", max_catchup=3), 3),
        ({"kind": "fire-all", "max_catchup": 99}, 6),
    ],
    ids=["default", "skip", "once", "three", "all"],
)
async def test_missed_fires(world: World, policy: Any, fires: int) -> None:
    """Nobody was there for five hours and a half."""
    runs = Runs()
    async with world.queue() as queue:
        added = await queue.add("tick", 1, repeat={"every": HOUR_MS, "missed_fires": policy})
        due = rewind(world, added.id, 5 * HOUR_MS + HOUR_MS // 2)
        async with world.worker(runs.handle, **TICK):
            await world.until(lambda: (score(world, added.id) or 0) > due)
            await world.until(world.is_empty)
            following = score(world, added.id)
            assert following == due + 6 * HOUR_MS, "it goes on in its old rhythm"
            assert fired(world, added.id) == fires
    assert len(runs.jobs) == fires


@pytest.mark.parametrize("policy", [None, "fire-once", {"kind": "fire-all", "max_catchup": 5}])
async def test_a_single_late_fire_is_made_up_for_by_every_policy(world: World, policy: Any) -> None:
    runs = Runs()
    async with world.queue() as queue:
        added = await queue.add("tick", 1, repeat={"every": HOUR_MS, "missed_fires": policy})
        due = rewind(world, added.id, HOUR_MS // 2)
        async with world.worker(runs.handle, **TICK):
            await world.until(lambda: len(runs.jobs) == 1)
            assert score(world, added.id) == due + HOUR_MS
