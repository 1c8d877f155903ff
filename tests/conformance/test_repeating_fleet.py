"""Many schedulers at one queue: each window fires once, and none is lost, whoever leads and however the leader ends.

The book is Redis' own: a spec that makes up for everything that was missed (``fire-all``) has fired once for each
interval between its first window and its next one, neither more nor less, at every moment.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from chasquimq import MissedFires
from chasquimq._core.keys import QueueKeys
from chasquimq._core.scheduler import Scheduling
from chasquimq._fast import wall_ms
from chasquimq._net.clock import SystemClock
from tests.conformance.programs import WorkerProcess
from tests.conformance.test_repeating import TICK, Runs, fired, nothing_repeats, score
from tests.conformance.world import World
from tests.faults.processes import workers_of

EVERY_MS = 100
SPEC = {"every": EVERY_MS, "missed_fires": MissedFires(kind="fire-all", max_catchup=10_000)}
HOUR_MS = 3_600_000


async def store(world: World, data: Any = "tick") -> int:
    """Stores the spec ``k``; its first window."""
    async with world.queue() as queue:
        await queue.add("tick", data, repeat=SPEC, repeat_job_key="k")
    first = score(world, "k")
    assert first is not None
    return first


def check(world: World, first: int) -> int:
    """Every window up to the next one has fired once; how many that is."""
    with world.admin.pipeline(transaction=True) as snapshot:
        snapshot.zscore(world.key("repeat"), "k")
        snapshot.hget(world.key("repeat:spec:k"), "fired")
        snapshot.xinfo_stream(world.key("stream"))
        following, count, stream = snapshot.execute()
    assert int(count) * EVERY_MS == int(following) - first
    assert stream["entries-added"] == int(count)
    return int(count)


def leader(world: World) -> str:
    holder = world.admin.get(world.key("scheduler:lock"))
    return holder.decode().removeprefix("s-") if holder else ""


async def fires_on(world: World, first: int, windows: int) -> None:
    """Waits until so many more windows have fired, each once."""
    so_far = check(world, first) if fired(world, "k") else 0
    await world.until(lambda: fired(world, "k") >= so_far + windows)
    check(world, first)


async def end(world: World, runs: Runs, first: int) -> None:
    """Removes the spec: what was fired is what ran, each once."""
    async with world.queue() as queue:
        count = check(world, first)
        assert await queue.remove_repeatable_by_key("k")
    await world.until(world.is_empty)
    assert nothing_repeats(world)
    ids = [job.id for job in runs.jobs]
    assert len(ids) == len(set(ids)) == world.admin.xinfo_stream(world.key("stream"))["entries-added"]
    assert len(ids) >= count


@contextlib.contextmanager
def everybody_leads(client: redis.Redis, lock: str) -> Iterator[None]:
    """Somebody who takes the leader's lock away all the time."""
    over = threading.Event()

    def steal() -> None:
        while not over.wait(0.001):
            client.delete(lock)

    thief = threading.Thread(target=steal)
    thief.start()
    try:
        yield
    finally:
        over.set()
        thief.join()


@pytest.fixture
def no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """All schedulers of this process have one name, so that each of them leads all the time."""
    begin = Scheduling.__init__

    def with_one_name(self: Scheduling, keys: QueueKeys, holder: bytes, **options: Any) -> None:
        begin(self, keys, b"s-everybody", **options)

    monkeypatch.setattr(Scheduling, "__init__", with_one_name)


@pytest.mark.usefixtures("no_lock")
@pytest.mark.parametrize("leaders", [2, 5, 10])
async def test_any_number_of_leaders_fires_each_window_once(world: World, leaders: int) -> None:
    """They wake up at the same time and read the same: only the script that compares holds them back."""
    runs = Runs()
    first = await store(world)
    async with contextlib.AsyncExitStack() as fleet:
        for number in range(leaders):
            worker = world.worker(runs.handle, name=f"w-{number}", concurrency=2, **TICK)
            await fleet.enter_async_context(worker)
        await fires_on(world, first, 20)
        await end(world, runs, first)


@pytest.mark.usefixtures("no_lock")
async def test_specs_that_are_stored_again_all_the_time_lose_and_double_nothing(world: World) -> None:
    """Storing sets the next window anew; the count of past fires stays, and a scheduler that meets it steps back."""
    runs = Runs()
    async with world.queue() as queue, world.worker(runs.handle, **TICK), world.worker(runs.handle, **TICK):
        for _ in range(100):
            await queue.add("tick", 1, repeat={"every": 5}, repeat_job_key="k")
        await world.until(lambda: fired(world, "k") >= 20)
        with world.admin.pipeline(transaction=True) as last:
            last.hget(world.key("repeat:spec:k"), "fired")
            last.delete(world.key("repeat"), world.key("repeat:spec:k"))
            count = int(last.execute()[0])
        await world.until(world.is_empty)
    assert len({job.id for job in runs.jobs}) == len(runs.jobs) == count


async def test_another_leads_when_the_leader_is_closed_by_force(world: World) -> None:
    runs = Runs()
    first = await store(world)
    workers = {f"w-{number}": world.worker(runs.handle, name=f"w-{number}", **TICK) for number in range(3)}
    async with contextlib.AsyncExitStack() as fleet:
        for worker in workers.values():
            await fleet.enter_async_context(worker)
        while len(workers) > 1:
            await fires_on(world, first, 3)
            await world.until(lambda: leader(world) in workers)
            await workers.pop(leader(world)).close(force=True)
            assert leader(world) in ("", *workers), "the lock was given up"
        await fires_on(world, first, 3)
        async with world.queue() as queue:
            await queue.remove_repeatable_by_key("k")
        await world.until(world.is_empty)


async def test_another_leads_when_the_leader_is_killed(world: World) -> None:
    """The windows of the time without a leader are made up for."""
    runs = Runs()
    first = await store(world)
    with WorkerProcess(world.flavour.name, world.url, world.name, name="victim", **TICK) as victim:
        await world.until(lambda: leader(world) == "victim" and fired(world, "k") >= 3, "the victim leads")
        victim.send(signal.SIGKILL)
        await world.until(lambda: victim.exit_code is not None)
        so_far = check(world, first)
        async with world.worker(runs.handle, name="heir", lease_ms=500, **TICK):
            await world.until(lambda: leader(world) == "heir" and fired(world, "k") > so_far)
            await fires_on(world, first, 3)
            async with world.queue() as queue:
                await queue.remove_repeatable_by_key("k")
            await world.until(world.is_empty)


async def test_a_leader_that_stood_still_fires_nothing_twice(world: World) -> None:
    first = await store(world)
    with WorkerProcess(world.flavour.name, world.url, world.name, name="paused", **TICK) as paused:
        await world.until(lambda: leader(world) == "paused" and fired(world, "k") >= 3, "it leads")
        paused.send(signal.SIGSTOP)
        try:
            runs = Runs()
            async with world.worker(runs.handle, name="other", lease_ms=500, **TICK):
                await world.until(lambda: leader(world) == "other")
                await fires_on(world, first, 3)
                paused.send(signal.SIGCONT)
                await fires_on(world, first, 10)
                async with world.queue() as queue:
                    await queue.remove_repeatable_by_key("k")
                await world.until(world.is_empty)
        finally:
            paused.send(signal.SIGCONT)
            paused.send(signal.SIGTERM)


@pytest.mark.parametrize("offset_ms", [-HOUR_MS, HOUR_MS], ids=["slow", "fast"])
async def test_the_hosts_clocks_do_not_matter(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset_ms: int
) -> None:
    """The producer's clock is an hour wrong one way, the first scheduler's the same, the second's the other way."""
    monkeypatch.setattr(SystemClock, "wall_ms", staticmethod(lambda: wall_ms() + offset_ms))
    before = world.server_ms()
    first = await store(world, {})
    assert before + EVERY_MS <= first <= world.server_ms() + EVERY_MS
    with workers_of(world.url, world.name, tmp_path) as workers:

        def fleet() -> None:
            for number, offset in enumerate((offset_ms, -offset_ms)):
                options = {"run_scheduler": True, "name": f"w-{number}", **TICK}
                workers.start(world.flavour.name, clock_offset_ms=offset, **options)

        await world.flavour.in_thread(fleet)
        with everybody_leads(world.admin, world.key("scheduler:lock")):
            await fires_on(world, first, 15)
        assert (score(world, "k") or 0) <= world.server_ms() + EVERY_MS
        async with world.queue() as queue:
            await queue.remove_repeatable_by_key("k")
        await world.until(world.is_empty)
        fired_in_all = world.admin.xinfo_stream(world.key("stream"))["entries-added"]
        assert len(workers.ledger.ended()) == fired_in_all
        assert set(workers.ledger.started().values()) == {1}
        for worker in workers.started:
            await world.flavour.in_thread(worker.stop)
