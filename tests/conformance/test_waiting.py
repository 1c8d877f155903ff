"""Waiting for results: told by the events stream where it can tell, polled where it cannot, by however many at a time.

The workers of most of these tests are the test itself, which writes events and results by hand at the moment it wants.
"""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

import anyio
import msgpack
import pytest
import redis

import chasquimq.aio
from chasquimq import AbortError, ClosedError, RedisConnectionError, WaitForResultTimeoutError
from chasquimq._core import result_watch
from chasquimq._core.result_wait import Wait
from chasquimq.options import QueueEventsOptions
from tests.conformance.test_following import blocked, readers
from tests.conformance.world import World, command_calls
from tests.servers import RedisServer

LONG_MS = 60_000
"""Longer than any test lasts."""


@pytest.fixture
def never_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that has become patient looks again when it was told to, and at the end of its time; reads last long.

    So what ends sooner was prompted, and whoever was not woken sleeps on.
    """
    missed = Wait.missed

    def missed_and_rests(wait: Wait, now_ms: float) -> None:
        missed(wait, now_ms)
        if now_ms >= wait.patient_at_ms and not wait.is_told:
            wait.next_look_ms = max(wait.deadline_ms, now_ms)

    monkeypatch.setattr(Wait, "missed", missed_and_rests)
    monkeypatch.setattr(result_watch, "RARE_LOOK_MS", LONG_MS)
    monkeypatch.setattr(result_watch, "READING", QueueEventsOptions(blocking_timeout=LONG_MS))


def tell(world: World, event: str, job_id: str) -> None:
    world.admin.xadd(world.key("events"), {"e": event, "id": job_id, "ts": "1"})


def store(world: World, job_id: str, value: Any) -> None:
    world.admin.set(world.key(f"result:{job_id}"), msgpack.packb(value), ex=60)


def complete(world: World, job_id: str, value: Any) -> None:
    """What a worker does, in the same order."""
    tell(world, "completed", job_id)
    store(world, job_id, value)


class Waiters:
    """Waits that run at the same time, and what came of them."""

    def __init__(self, world: World, jobs: list[Any], **options: Any) -> None:
        self.world, self.jobs = world, jobs
        self.options = {"timeout_ms": LONG_MS, **options}
        self.results: dict[str, Any] = {}
        self.errors: list[Exception] = []

    async def run(self) -> None:
        await self.world.flavour.together(*[lambda job=job: self._wait(job) for job in self.jobs])

    async def _wait(self, job: Any) -> None:
        try:
            self.results[job.id] = await job.wait_for_result(**self.options)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.errors.append(error)


async def looks(world: World) -> int:
    calls = command_calls(world.admin)
    return calls.get("get", 0) + calls.get("mget", 0)


# -- told ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("never_polls")
@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_the_end_of_a_job_is_told_and_not_found_by_polling(world: World) -> None:
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", 1)])
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            complete(world, waiting.jobs[0].id, {"done": True})
            await world.until(lambda: waiting.results)
    assert waiting.results == {waiting.jobs[0].id: {"done": True}}
    assert waiting.jobs[0].returnvalue == {"done": True}


@pytest.mark.usefixtures("never_polls")
async def test_the_event_may_come_before_the_result(world: World) -> None:
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", 1)])
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            tell(world, "completed", waiting.jobs[0].id)
            await world.flavour.sleep(0.1)
            store(world, waiting.jobs[0].id, 1)
            await world.until(lambda: waiting.results)


@pytest.mark.usefixtures("never_polls")
async def test_an_end_just_before_the_stream_is_followed_is_not_missed(world: World) -> None:
    world.admin.config_resetstat()
    async with world.queue() as queue:
        job = await queue.add("w", 1)
        tell(world, "completed", job.id)
        for number in range(50):
            tell(world, "waiting", str(number))
        waiting = Waiters(world, [job])
        async with world.flavour.beside(waiting.run):
            await world.until(lambda: command_calls(world.admin).get("xrevrange"))
            store(world, job.id, 1)
            await world.until(lambda: waiting.results)


@pytest.mark.parametrize("wakes", [True, False], ids=["its start was told", "nothing was told"])
async def test_a_job_of_which_the_stream_can_tell_is_looked_at_rarely(world: World, wakes: bool) -> None:
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", 1)], interval_ms=10)
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            tell(world, "active" if wakes else "waiting", waiting.jobs[0].id)
            world.admin.config_resetstat()
            if wakes:
                await world.flavour.sleep(1)
                assert await looks(world) < 20, "100 would have been polls"
            else:
                await world.until(lambda: command_calls(world.admin).get("get", 0) > 20)
            complete(world, waiting.jobs[0].id, 1)
            await world.until(lambda: waiting.results)


async def test_a_retry_that_somebody_else_runs_is_polled_for(world: World) -> None:
    """Whoever ran it first writes events; whoever runs it again may write none."""
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", 1)], interval_ms=10)
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            for event in ("active", "failed", "retry-scheduled"):
                tell(world, event, waiting.jobs[0].id)
            store(world, waiting.jobs[0].id, 1)
            await world.until(lambda: waiting.results)


# -- not told ------------------------------------------------------------------------------------------------------


async def test_results_of_a_worker_without_events_are_polled_for(world: World) -> None:
    async def handle(job: Any) -> Any:
        await world.flavour.sleep(0.2)
        return job.data

    async with world.queue() as queue, world.worker(handle, store_results=True, events=False):
        waiting = Waiters(world, await queue.add_bulk([("w", number) for number in range(10)]))
        await waiting.run()
        for number in range(3):
            assert await (await queue.add("w", number)).wait_for_result() == number
    assert waiting.results == {job.id: number for number, job in enumerate(waiting.jobs)}


@pytest.fixture
def without_events(own_world: World, own_server: RedisServer) -> str:
    """The address of a user who may not read events."""
    own_server.client.acl_setuser(
        "deaf", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-xread", "-xrevrange"]
    )
    return own_server.url.replace("redis://", "redis://deaf:secret@")


async def test_whoever_may_not_read_events_polls(own_world: World, without_events: str) -> None:
    world = own_world
    async with world.queue(connection=without_events) as queue:
        waiting = Waiters(world, [await queue.add("w", number) for number in range(3)], interval_ms=10)
        async with world.flavour.beside(waiting.run):
            await world.flavour.sleep(0.3)
            for job in waiting.jobs:
                complete(world, job.id, job.data)
            await world.until(lambda: len(waiting.results) == 3)
    assert not waiting.errors


async def test_another_programs_key_in_place_of_the_events_does_no_harm(world: World) -> None:
    world.admin.set(world.key("events"), "of another program", ex=60)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", 1)], interval_ms=10)
        async with world.flavour.beside(waiting.run):
            await world.flavour.sleep(0.2)
            store(world, waiting.jobs[0].id, 1)
            await world.until(lambda: waiting.results)


# -- many at a time ------------------------------------------------------------------------------------------------


def connections(world: World) -> int:
    return len([client for client in world.admin.client_list() if client["name"] != "chasquimq-tests"])


@pytest.mark.usefixtures("never_polls")
async def test_many_share_one_reader_and_one_connection_for_looks(world: World) -> None:
    before, clients = readers(world), connections(world)
    async with world.queue() as queue:
        waiting = Waiters(world, await queue.add_bulk([("w", number) for number in range(100)]))
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            most = connections(world)
            for number, job in enumerate(waiting.jobs):
                if number % 10 == 0:
                    assert len([reader for reader in readers(world) if reader not in before]) <= 1
                    most = max(most, connections(world))
                complete(world, job.id, job.data)
            await world.until(lambda: len(waiting.results) == 100)
    assert most - clients <= 2
    assert [waiting.results[job.id] for job in waiting.jobs] == list(range(100))


@pytest.mark.forms("asyncio", "trio")
async def test_a_thousand_wait(world: World) -> None:
    async def handle(job: Any) -> Any:
        await world.flavour.sleep(0.1)
        return job.data

    clients = connections(world)
    async with world.queue() as queue:
        waiting = Waiters(world, await queue.add_bulk([("w", number) for number in range(1_000)]))
        async with world.flavour.beside(waiting.run):
            await world.until(lambda: connections(world) - clients == 2)
            async with world.worker(handle, store_results=True, concurrency=500):
                await world.until(lambda: len(waiting.results) == 1_000)
    assert not waiting.errors


async def test_results_of_a_real_worker_come_to_all_who_wait(world: World) -> None:
    async def handle(job: Any) -> Any:
        await world.flavour.sleep(0.02 + 0.01 * (job.data % 30))
        return job.data

    async with world.queue() as queue, world.worker(handle, store_results=True, concurrency=10):
        waiting = Waiters(world, await queue.add_bulk([("w", number) for number in range(60)]))
        await waiting.run()
    assert not waiting.errors
    assert [waiting.results[job.id] for job in waiting.jobs] == list(range(60))


@pytest.mark.usefixtures("never_polls")
async def test_the_end_of_any_job_wakes_its_waiter_and_leaves_the_others(world: World) -> None:
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", number) for number in range(5)])
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            await world.flavour.sleep(0.2)
            for number in (4, 1, 3, 0, 2):
                job = waiting.jobs[number]
                complete(world, job.id, number)
                await world.until(lambda job=job: job.id in waiting.results)


@pytest.mark.usefixtures("never_polls")
async def test_several_may_wait_for_one_job(world: World) -> None:
    before = readers(world)
    async with world.queue() as queue:
        job = await queue.add("w", 1)
        found: list[Any] = []

        async def wait() -> None:
            found.append(await job.wait_for_result(timeout_ms=LONG_MS))

        async with world.flavour.beside(lambda: world.flavour.together(*[wait] * 5)):
            await blocked(world, before)
            complete(world, job.id, 7)
            await world.until(lambda: found == [7] * 5)


@pytest.mark.usefixtures("never_polls")
@pytest.mark.parametrize("how", ["its time", "its signal"])
async def test_when_whoever_reads_leaves_another_goes_on_reading(world: World, how: str) -> None:
    before = readers(world)
    gate = world.gate()
    async with world.queue() as queue:
        leaver, stayer = await queue.add("w", 1), await queue.add("w", 2)
        leaving = Waiters(world, [leaver], **({"timeout_ms": 400} if how == "its time" else {"signal": gate.signal}))
        staying = Waiters(world, [stayer])

        async def stay() -> None:
            await blocked(world, before)
            await staying.run()

        async with world.flavour.beside(leaving.run), world.flavour.beside(stay):
            await blocked(world, before)
            await world.flavour.sleep(0.2)
            gate.open()
            await world.until(lambda: leaving.errors)
            await blocked(world, before)
            complete(world, stayer.id, 2)
            await world.until(lambda: staying.results)
    assert type(leaving.errors[0]) is (WaitForResultTimeoutError if how == "its time" else AbortError)


# -- how a wait can end --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("never_polls")
@pytest.mark.parametrize("delay", [0, 0.02, 0.2])
async def test_a_signal_ends_every_wait_at_every_moment(world: World, delay: float) -> None:
    gate = world.gate()
    async with world.queue() as queue:
        jobs = await queue.add_bulk([("w", number) for number in range(5)])
        waiting = Waiters(world, jobs, signal=gate.signal)

        async def abort() -> None:
            await world.flavour.sleep(delay)
            gate.open()

        await world.flavour.together(waiting.run, abort)
    assert [type(error) for error in waiting.errors] == [AbortError] * 5


@pytest.mark.usefixtures("never_polls")
@pytest.mark.parametrize("timeout_ms", [0, 1, 30, 55, 100, 300])
async def test_the_time_ends_every_wait_at_every_moment(world: World, timeout_ms: int) -> None:
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, await queue.add_bulk([("w", number) for number in range(5)]), timeout_ms=timeout_ms)
        await waiting.run()
        await world.until(lambda: set(readers(world)) <= set(before), "nobody reads for those who have left")
    assert [type(error) for error in waiting.errors] == [WaitForResultTimeoutError] * 5


@pytest.mark.usefixtures("never_polls")
@pytest.mark.parametrize("delay", [0.02, 0.2])
@pytest.mark.parametrize("count", [1, 5])
async def test_closing_the_queue_ends_every_wait(world: World, count: int, delay: float) -> None:
    queue = world.queue()
    jobs = await queue.add_bulk([("w", number) for number in range(count)])
    waiting = Waiters(world, jobs, interval_ms=LONG_MS)

    async def close() -> None:
        await world.flavour.sleep(delay)
        await queue.close()

    await world.flavour.together(waiting.run, close)
    assert [type(error) for error in waiting.errors] == [ClosedError] * count
    with pytest.raises(ClosedError):
        await waiting.jobs[0].wait_for_result()


@pytest.mark.forms("asyncio", "trio")
@pytest.mark.usefixtures("never_polls")
@pytest.mark.parametrize("delay", [0, 0.02, 0.055, 0.1, 0.2])
async def test_a_wait_can_be_cancelled_at_every_moment_and_the_others_go_on(world: World, delay: float) -> None:
    before = readers(world)
    async with world.queue() as queue:
        jobs = await queue.add_bulk([("w", number) for number in range(6)])
        staying = Waiters(world, jobs[3:])
        with anyio.fail_after(20):
            async with anyio.create_task_group() as outer:
                async with anyio.create_task_group() as tasks:
                    for job in jobs[:3]:
                        tasks.start_soon(job.wait_for_result, LONG_MS)
                    outer.start_soon(staying.run)
                    await anyio.sleep(delay)
                    tasks.cancel_scope.cancel()
                await blocked(world, before)
                for job in jobs[3:]:
                    complete(world, job.id, job.data)
    assert sorted(staying.results.values()) == [3, 4, 5]


async def test_a_server_that_goes_away_ends_every_wait(own_world: World, own_server: RedisServer) -> None:
    world = own_world
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", number) for number in range(5)])
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            for job in waiting.jobs:
                tell(world, "active", job.id)
            await world.flavour.in_thread(own_server.kill)
            await world.until(lambda: len(waiting.errors) == 5)
    assert all(isinstance(error, RedisConnectionError) for error in waiting.errors)


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_every_wait_ends_as_it_should(world: World, seed: int) -> None:
    """Short and long waits, jobs that are told of and jobs that are not, and readers whose connections break."""
    dice = random.Random(seed)
    before = readers(world)
    async with world.queue() as queue:
        jobs = await queue.add_bulk([("w", number) for number in range(40)])
        patient = Waiters(world, jobs[:25], interval_ms=50)
        hasty = Waiters(world, jobs[25:], interval_ms=20, timeout_ms=300)
        async with world.flavour.beside(patient.run), world.flavour.beside(hasty.run):
            left = dice.sample(jobs, len(jobs))
            while left:
                await world.flavour.sleep(dice.random() * 0.04)
                job = left.pop()
                if dice.random() < 0.6:
                    tell(world, "active", job.id)
                if dice.random() < 0.7:
                    tell(world, "completed", job.id)
                store(world, job.id, job.data)
                if dice.random() < 0.1:
                    for client_id in set(readers(world)) - set(before):
                        world.admin.client_kill_filter(_id=client_id)
            await world.until(lambda: len(patient.results) == 25)
            await world.until(lambda: len(hasty.results) + len(hasty.errors) == 15)
    data = {job.id: job.data for job in jobs}
    assert all(result == data[job_id] for job_id, result in {**patient.results, **hasty.results}.items())
    assert {type(error) for error in hasty.errors} <= {WaitForResultTimeoutError}


# -- connections ---------------------------------------------------------------------------------------------------


async def test_when_the_readers_connection_breaks_nothing_is_missed(world: World) -> None:
    before = readers(world)
    async with world.queue() as queue:
        waiting = Waiters(world, [await queue.add("w", number) for number in range(3)], interval_ms=20)
        async with world.flavour.beside(waiting.run):
            client_id = await blocked(world, before)
            for job in waiting.jobs:
                tell(world, "active", job.id)
            with world.admin.pipeline(transaction=True) as pipeline:
                pipeline.execute_command("CLIENT", "KILL", "ID", client_id)
                pipeline.xadd(world.key("events"), {"e": "completed", "id": waiting.jobs[0].id})
                pipeline.set(world.key(f"result:{waiting.jobs[0].id}"), msgpack.packb(0), ex=60)
                pipeline.execute()
            await world.until(lambda: len(waiting.results) == 1)
            await blocked(world, [*before, client_id])
            for job in waiting.jobs[1:]:
                complete(world, job.id, job.data)
            await world.until(lambda: len(waiting.results) == 3)
    assert not waiting.errors


async def one_after_the_other(world: World, queue: Any, numbers: Iterable[int]) -> int:
    """Waits that each follow the stream; how many connections were opened for them."""
    opened = 0
    for number in numbers:
        before = readers(world)
        received = int(world.admin.info("stats")["total_connections_received"])
        waiting = Waiters(world, [await queue.add("w", number, job_id=f"j{number}")])
        async with world.flavour.beside(waiting.run):
            await blocked(world, before)
            complete(world, waiting.jobs[0].id, number)
            await world.until(lambda: waiting.results)  # noqa: B023 - awaited here
        opened += int(world.admin.info("stats")["total_connections_received"]) - received
    return opened


@pytest.mark.usefixtures("never_polls")
async def test_the_readers_connection_stays_open_for_the_next_wait(world: World) -> None:
    async with world.queue() as queue:
        assert await one_after_the_other(world, queue, range(5)) == 2, "one for looks, one for reading"


@pytest.mark.usefixtures("never_polls")
async def test_a_readers_connection_that_was_closed_while_it_rested_is_opened_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "chasquimq.queue")
    async with world.queue() as queue:
        for number in range(3):
            await one_after_the_other(world, queue, [number])
            world.admin.client_kill_filter(_type="normal", skipme=True)
            await world.flavour.sleep(0.2)
    assert not caplog.records, "that is no trouble with the stream"


# -- event loops and processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_event_loops_one_after_the_other_can_wait(
    backend: str, redis_url: str, queue_name: str, admin: redis.Redis
) -> None:
    queue = chasquimq.aio.Queue[int, int](queue_name, connection=redis_url)

    async def end(job_id: str, number: int) -> None:
        await anyio.sleep(0.15)
        admin.set(f"{{chasqui:{queue_name}}}:result:{job_id}", msgpack.packb(number), ex=60)

    async def add_and_wait(number: int) -> Any:
        job = await queue.add("w", number)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end, job.id, number)
            return await job.wait_for_result(interval_ms=20)

    assert [anyio.run(add_and_wait, number, backend=backend) for number in range(3)] == [0, 1, 2]
    anyio.run(queue.close, backend=backend)
    # asyncio warns, rightly, of transports that their loop has left open; here, not in whatever test comes next.
    gc.collect()


@pytest.mark.usefixtures("never_polls")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_event_loops_of_two_threads_wait_each_for_themselves_and_are_closed_together(
    backend: str, redis_url: str, queue_name: str, admin: redis.Redis
) -> None:
    queue = chasquimq.aio.Queue[int, int](queue_name, connection=redis_url)
    both = threading.Barrier(2)
    ended: dict[str, Any] = {}

    async def main(name: str) -> None:
        job = await queue.add("w", 1, job_id=name)
        ended[name] = await job.wait_for_result(timeout_ms=LONG_MS)
        both.wait(20)
        if name == "a":
            await anyio.sleep(0.2)  # meanwhile the other one waits again
            await queue.close()
            return
        job = await queue.add("w", 2)
        with pytest.raises(ClosedError):
            await job.wait_for_result(timeout_ms=LONG_MS)
        await anyio.sleep(0.05)  # connections are closed a turn later

    threads = [threading.Thread(target=anyio.run, args=(main, name), kwargs={"backend": backend}) for name in "ab"]
    for thread in threads:
        thread.start()
    while len([client for client in admin.client_list() if client["cmd"] == "xread"]) < 2:
        time.sleep(0.005)
    for name in "ab":
        admin.set(f"{{chasqui:{queue_name}}}:result:{name}", msgpack.packb(name), ex=60)
        admin.xadd(f"{{chasqui:{queue_name}}}:events", {"e": "completed", "id": name})
    for thread in threads:
        thread.join(20)
    assert ended == {"a": "a", "b": "b"}


FORK = """
import os, sys, threading
from chasquimq import sync

queue = sync.Queue(sys.argv[2], connection=sys.argv[1])
waiting = threading.Thread(target=lambda: queue.add("w", 0, job_id="parent").wait_for_result(timeout_ms=20_000))
waiting.start()
while not (queue._result_waits and queue._result_waits._room._reading):
    pass
pid = os.fork()
if pid == 0:
    assert queue.add("w", 0, job_id="child").wait_for_result(timeout_ms=20_000) == "of the child"
    os._exit(0)
print("forked", flush=True)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
waiting.join()
queue.close()
"""


def test_a_forked_child_waits_for_itself(redis_url: str, queue_name: str, admin: redis.Redis) -> None:
    # In a process of its own: pytest's is not one to fork.
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORK, redis_url, queue_name], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "forked\n"
    while len([client for client in admin.client_list() if client["cmd"] == "xread"]) < 2:
        assert child.poll() is None
        time.sleep(0.005)
    for name in ("child", "parent"):
        admin.set(f"{{chasqui:{queue_name}}}:result:{name}", msgpack.packb(f"of the {name}"), ex=60)
        admin.xadd(f"{{chasqui:{queue_name}}}:events", {"e": "completed", "id": name})
    with child.stdout:
        assert child.wait(30) == 0
