"""Leases: a job is one worker's for as long as that worker lives, and no longer."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from chasquimq import LeaseLostError
from tests.conformance.programs import WorkerProcess
from tests.conformance.world import GROUP, World

LEASE_MS = 600
LONGER_THAN_A_LEASE_S = 1.5


def process(world: World, **options: Any) -> WorkerProcess:
    return WorkerProcess(world.flavour.name, world.url, world.name, **options)


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_a_handler_longer_than_its_lease_runs_once(world: World) -> None:
    runs: list[tuple[str, int]] = []
    gate = world.gate()

    def handler(name: str) -> Any:
        async def handle(job: Any) -> None:
            runs.append((name, job.deliveries))
            await gate.passed()

        return handle

    async with (
        world.queue() as queue,
        world.worker(handler("a"), lease_ms=LEASE_MS),
        world.worker(handler("b"), lease_ms=LEASE_MS),
    ):
        await queue.add_bulk([("w", number) for number in range(4)])
        await world.until(lambda: len(runs) == 4)
        await world.flavour.sleep(LONGER_THAN_A_LEASE_S)
        # A worker of the reference that asks for what is idle for that long gets nothing either.
        assert all(row["time_since_delivered"] < LEASE_MS for row in world.pending())
        gate.open()
        await world.until(world.is_empty)
    assert len(runs) == 4
    assert {deliveries for _, deliveries in runs} == {0}


async def test_a_handler_that_blocks_everything_keeps_its_lease(world: World) -> None:
    """The event loop, where there is one, stands still for longer than the lease."""
    runs: list[str] = []
    taken: list[Any] = []
    stopping = threading.Event()

    def foreign_worker() -> None:
        while not stopping.wait(0.02):
            taken.extend(world.admin.xautoclaim(world.key("stream"), GROUP, "thief", LEASE_MS, justid=True))

    async def block(job: Any) -> None:
        runs.append(job.id)
        time.sleep(LONGER_THAN_A_LEASE_S)

    async with world.queue() as queue, world.worker(block, lease_ms=LEASE_MS) as worker:
        thread = threading.Thread(target=foreign_worker)
        thread.start()
        await queue.add("w", 1)
        await world.until(world.is_empty)
        stopping.set()
        thread.join()
        assert worker.is_running()
    assert (len(runs), taken) == (1, [])


async def test_entries_that_wait_in_the_worker_are_renewed_too(world: World) -> None:
    started, gate = world.gate(), world.gate()
    runs: list[int] = []

    async def handle(job: Any) -> None:
        runs.append(job.data)
        if job.data < 0:
            started.open()
            await gate.passed()

    async with world.queue() as queue, world.worker(handle, lease_ms=LEASE_MS, concurrency=1):
        # A fast stretch makes the worker prefetch; then one handler stands in the way of what it prefetched.
        await queue.add_bulk([("w", number) for number in range(2_000)], return_jobs=False)
        await world.until(lambda: len(runs) > 500)
        await queue.add_bulk([("w", -1), *(("w", number) for number in range(2_000, 2_100))], return_jobs=False)
        await started.passed()
        await world.flavour.sleep(LONGER_THAN_A_LEASE_S)
        assert all(row["time_since_delivered"] < LEASE_MS for row in world.pending())
        gate.open()
        await world.until(lambda: len(runs) >= 2_101 and world.is_empty())
    assert sorted(runs) == [-1, *range(2_100)]


async def test_a_lost_lease_is_told_and_the_late_end_is_refused(world: World) -> None:
    started, gate = world.gate(), world.gate()
    errors: list[Exception] = []
    told_in_handler: list[bool] = []

    async def handle(job: Any) -> str:
        told_in_handler.append(job.lease_lost)
        started.open()
        await gate.passed()
        told_in_handler.append(job.lease_lost)
        return "too late"

    worker = world.worker(handle, lease_ms=300, store_results=True)
    worker.on("error", errors.append)
    async with world.queue() as queue, worker:
        job = await queue.add("w", 1)
        await started.passed()
        (entry,) = world.pending()
        claimed = world.admin.xclaim(world.key("stream"), GROUP, "thief", 0, [entry["message_id"]], justid=True)
        assert claimed == [entry["message_id"]]
        await world.until(lambda: any(isinstance(error, LeaseLostError) for error in errors))
        assert job.id in str(errors[0])
        gate.open()
        await world.until(lambda: "completed" in world.event_names(job.id))
        await world.flavour.sleep(0.05)
        # Still the other one's, still to be done by it, and no result of ours.
        assert [row["consumer"] for row in world.pending()] == [b"thief"]
        assert len(world.stream()) == 1
        assert await queue.get_job_result(job.id) is None
    assert told_in_handler == [False, True]


@pytest.mark.parametrize("end", ["retry", "dlq"])
async def test_a_failure_after_a_lost_lease_moves_nothing(world: World, end: str) -> None:
    started, gate = world.gate(), world.gate()
    errors: list[Exception] = []

    async def handle(job: Any) -> None:
        started.open()
        await gate.passed()
        raise ValueError

    worker = world.worker(handle, lease_ms=300, max_attempts=3 if end == "retry" else 1)
    worker.on("error", errors.append)
    async with world.queue() as queue, worker:
        job = await queue.add("w", 1)
        await started.passed()
        (entry,) = world.pending()
        world.admin.xclaim(world.key("stream"), GROUP, "thief", 0, [entry["message_id"]], justid=True)
        await world.until(lambda: errors)
        gate.open()
        await world.until(lambda: "failed" in world.event_names(job.id))
        await world.flavour.sleep(0.05)
        assert (len(world.stream()), world.delayed(), world.dead()) == (1, [], [])


async def test_a_process_that_stood_still_does_not_acknowledge_what_another_one_has(world: World) -> None:
    runs: list[tuple[int, bool]] = []
    started, gate = world.gate(), world.gate()

    async def handle(job: Any) -> None:
        runs.append((job.deliveries, job.redelivered))
        started.open()
        await gate.passed()

    async with world.queue() as queue:
        with process(world, lease_ms=LEASE_MS) as frozen:
            await queue.add("w", "wait")
            await world.until(lambda: frozen.said("started"))
            frozen.send(signal.SIGSTOP)
            async with world.worker(handle, lease_ms=LEASE_MS):
                await started.passed()
                frozen.send(signal.SIGCONT)
                frozen.release()
                await world.until(lambda: frozen.said("done"))
                await world.until(lambda: frozen.said("error LeaseLostError"))
                await world.flavour.sleep(0.05)
                assert len(world.stream()) == 1, "the late end was acknowledged"
                gate.open()
                await world.until(world.is_empty)
    assert runs == [(1, True)]


async def test_the_job_of_a_killed_worker_is_taken_over_within_the_lease(world: World) -> None:
    runs: list[tuple[int, bool, int]] = []

    async def handle(job: Any) -> None:
        runs.append((job.deliveries, job.redelivered, job.attempts_made))

    async with world.queue() as queue:
        with process(world, lease_ms=1_000) as victim:
            await queue.add("w", "wait")
            await world.until(lambda: victim.said("started"))
            async with world.worker(handle, lease_ms=1_000):
                await world.flavour.sleep(0.3)
                assert not runs
                victim.send(signal.SIGKILL)
                killed = time.monotonic()
                await world.until(lambda: runs and world.is_empty())
                assert time.monotonic() - killed < 5
    assert runs == [(1, True, 1)]


async def test_a_poison_job_that_kills_every_worker_ends_in_the_dead_letter_queue(world: World) -> None:
    async with world.queue() as queue:
        await queue.add("w", "die", attempts=2)
        await queue.add("w", "harmless")
        starts = deaths = 0
        while not world.dead():
            with process(world, lease_ms=200) as victim:
                await world.until(lambda v=victim: v.exit_code is not None or world.dead())
                starts += len(victim.said("started die"))
                deaths += victim.exit_code is not None
            assert deaths < 10, "the poison job is never given up"
    # limit + 1: the first death is forgiven (wire format, retries exhausted on arrival).
    assert starts == deaths == 3
    ((letter),) = world.dead()
    assert (letter[b"reason"], letter[b"n"]) == (b"retries_exhausted", b"w")
    assert b"delivered 3 times" in letter[b"detail"]
