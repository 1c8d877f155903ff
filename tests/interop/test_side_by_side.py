"""Workers of both kinds in one consumer group: every job runs once, whatever its length."""

import random
import signal
from collections.abc import Callable

from chasquimq import sync
from tests.faults.ledger import Ledger, wait_until
from tests.faults.processes import Workers
from tests.faults.state import QueueState
from tests.servers import RedisServer

from .ours import OurQueue
from .reference import Reference

FLAVOURS = ["sync", "asyncio", "trio"]


def test_handlers_longer_than_every_lease_run_once(
    references: Callable[..., Reference], our_queue: OurQueue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    """All defaults, and handlers of 33 s at the same time: tasks, threads, and tasks that block their event loop.

    The reference takes over what was idle for 30 s. Ours must never be idle that long.
    """
    tasks, loops = [*FLAVOURS, "asyncio+thread", "trio+thread"], ["asyncio", "trio"]
    for number, flavour in enumerate(tasks + loops, 1):
        workers.start(flavour, concurrency=1)
        our_queue.add("long", {"block_ms" if number > len(tasks) else "wait_ms": 33_000})
        ledger.wait_for_starts(number)
    for _ in range(2):
        references().work()
    short = our_queue.add_bulk([("short", {})] * 40)
    ledger.wait_for_ends(len(tasks + loops) + len(short), within=70)
    wait_until(state.is_empty, "everything acknowledged")

    assert [row["by"] for row in ledger.starts() if row["name"] == "long"] == tasks + loops
    assert set(ledger.started().values()) == {1}
    assert not any(row["lost"] for row in ledger.ends() if row["by"] != "reference")
    assert {row["by"] for job in short for row in ledger.starts(job.id)} == {"reference"}
    assert not state.dead()


def test_a_mixed_fleet_runs_each_job_once(
    newest_redis: RedisServer,
    references: Callable[..., Reference],
    our_queue: OurQueue,
    workers: Workers,
    ledger: Ledger,
    state: QueueState,
) -> None:
    """Failing, delayed, unique and plain jobs of both producers, and five workers."""
    dice = random.Random(7)
    foreign = references()
    for flavour in FLAVOURS:
        workers.start(flavour, concurrency=8)
    for _ in range(2):
        references().work(concurrency=8, read_count=4)
    added = {}
    with sync.Queue[object, object](our_queue.name, connection=newest_redis.url) as queue:
        for number in range(150):
            fails = dice.choice([0, 0, 0, 1, 2])
            data = {"fails": fails, "wait_ms": dice.choice([0, 0, 5, 20])}
            delay = dice.choice([0, 0, 0, 200, 700])
            if number % 2:
                added[queue.add("ours", data, delay=delay, attempts=4, backoff=50).id] = fails
            else:
                options = {"delay_ms": delay} if delay else {}
                added[foreign.add("theirs", data, attempts=4, backoff=50, **options)] = fails
    wait_until(lambda: len(ledger.ends()) >= len(added), str(ledger), within=60)
    wait_until(state.is_empty, "everything acknowledged")

    assert ledger.ended() == dict.fromkeys(added, 1)
    assert ledger.started() == {job_id: fails + 1 for job_id, fails in added.items()}
    for job_id, fails in added.items():
        assert [row["run"] for row in ledger.starts(job_id)] == list(range(1, fails + 2))
    assert {row["by"] for row in ledger.starts()} == {*FLAVOURS, "reference"}
    assert not state.dead()


def test_what_a_killed_reference_held_is_taken_over_by_ours(
    references: Callable[..., Reference], our_queue: OurQueue, workers: Workers, ledger: Ledger, flavour: str
) -> None:
    reference = references()
    reference.work(concurrency=1)
    job = our_queue.add("job", {"wait_ms": 600_000})
    ledger.wait_for_starts(1)
    reference.end()
    workers.start(flavour, lease_ms=1000)
    rows = ledger.wait_for_starts(2)
    assert [(row["id"], row["run"]) for row in rows] == [(job.id, 1)] * 2
    assert rows[1]["redelivered"] is True


def test_what_a_killed_worker_of_ours_held_is_taken_over_by_the_reference(
    reference: Reference, our_queue: OurQueue, workers: Workers, ledger: Ledger, flavour: str
) -> None:
    worker = workers.start(flavour)
    our_queue.add("job", {"wait_ms": 3_000})
    ledger.wait_for_starts(1)
    worker.kill()
    reference.work(claim_min_idle_ms=1000, read_block_ms=100)
    rows = ledger.wait_for_starts(2)
    assert rows[1]["by"] == "reference"


def test_what_ours_hands_back_is_taken_by_the_reference_at_once(
    reference: Reference, our_queue: OurQueue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    """The reference waits 30 s before it takes anything over, but not for what was handed back."""
    worker = workers.start(flavour, concurrency=1, drain_timeout_ms=60_000)
    # Fast jobs make the worker fetch ahead; then one that keeps it busy.
    our_queue.add_bulk([("fast", {})] * 2_000)
    slow = our_queue.add("slow", {"wait_ms": 5_000})
    tail = our_queue.add_bulk([("tail", {})] * 50)
    wait_until(lambda: ledger.starts(slow.id), "the slow job runs", within=60)
    wait_until(lambda: state.pending() > 1, "the worker has fetched ahead")
    assert len(ledger.starts()) == 2_001

    worker.signal(signal.SIGTERM)
    reference.work(read_block_ms=100)
    # All but the one that runs; it is still running.
    wait_until(lambda: all(ledger.ends(job.id) for job in tail), "the tail ran", within=25)
    assert {row["by"] for job in tail for row in ledger.starts(job.id)} == {"reference"}
    assert worker.wait() == 0
    wait_until(state.is_empty, "everything acknowledged")
    assert set(ledger.started().values()) == {1}
    assert [consumer["name"] for consumer in state.consumers() if consumer["pending"]] == []
