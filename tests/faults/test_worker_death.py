"""Workers that die without a word: kill -9, out of memory, a segmentation fault."""

import signal

from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import FLAVOURS, Workers
from .state import GROUP, QueueState


def test_f01_a_killed_workers_jobs_run_elsewhere(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    doomed = workers.start_fleet(lease_ms=1_000, concurrency=5)
    ids = {queue.add("job", {"wait_ms": 3_000}).id for _ in range(15)}
    ledger.wait_for_starts(15)
    survivor = workers.start("sync", lease_ms=1_000)
    for worker in doomed:
        worker.kill()
    wait_until(lambda: set(ledger.ended()) == ids, "all jobs ended")
    wait_until(state.is_empty, "acknowledged")

    assert set(ledger.ended().values()) == {1}
    assert len({row["pid"] for row in ledger.starts()}) == 4
    for job_id in ids:
        rows = ledger.starts(job_id)
        assert [row["redelivered"] for row in rows] == [False, True]
        assert [row["run"] for row in rows] == [1, 1]
        assert rows[-1]["pid"] == survivor.pid


def test_f01_recovery_needs_no_lock_that_can_leak(
    server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    """A leader lock that nobody owns and that never expires delays promotion; it must not stop a takeover."""
    worker = workers.start(lease_ms=1_000)
    queue.add("job", {"wait_ms": 1_500})
    ledger.wait_for_starts(1)
    worker.kill()
    server.client.set(state.key("promoter:lock"), "leaked")
    workers.start(lease_ms=1_000)
    ledger.wait_for_ends(1)
    server.client.delete(state.key("promoter:lock"))


def test_f01_locks_of_a_killed_worker_expire(queue: Queue, workers: Workers, ledger: Ledger, state: QueueState) -> None:
    queue.add("far", {}, delay=600_000)  # nobody leads while nothing is delayed
    worker = workers.start("asyncio", name="leader")
    wait_until(lambda: state.leader() == "leader", f"it leads; {ledger}; {worker.log_text()}")
    worker.kill()
    assert 0 < state.client.pttl(state.key("promoter:lock")) <= 5_000
    queue.add("job", {}, delay=100)
    workers.start("sync")
    ledger.wait_for_ends(1)


def test_f02_unwritten_acks_run_again_and_say_so(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    doomed = workers.start_fleet(lease_ms=1_000)
    total = queue.add_bulk([("fast", {})] * 3_000, return_jobs=False)
    ledger.wait_for_ends(300)
    for worker in doomed:
        worker.kill()
    ended = len(ledger.ended())
    unacknowledged = state.waiting_or_running() - (total - ended)
    workers.start("sync", lease_ms=1_000)
    wait_until(lambda: len(ledger.ended()) == total, f"all ended; {ledger}")
    wait_until(state.is_empty, "acknowledged")

    runs = ledger.ended()
    twice = {job_id for job_id, count in runs.items() if count > 1}
    assert len(twice) <= max(0, unacknowledged)
    assert max(runs.values()) <= 2
    last_run = {row["id"]: row for row in ledger.ends()}
    assert all(last_run[job_id]["redelivered"] for job_id in twice)


def test_f02_acknowledging_each_job_leaves_at_most_the_running_ones(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    doomed = workers.start_fleet(lease_ms=1_000, ack="each", concurrency=2)
    total = queue.add_bulk([("fast", {})] * 600, return_jobs=False)
    ledger.wait_for_ends(100)
    for worker in doomed:
        worker.kill()
    workers.start("sync", lease_ms=1_000)
    wait_until(lambda: len(ledger.ended()) == total, f"all ended; {ledger}")
    wait_until(state.is_empty, "acknowledged")
    assert sum(ledger.ended().values()) - total <= 2 * len(doomed)


def test_f09_a_job_that_kills_its_workers_is_set_aside(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    poison = queue.add("poison", {"kills": 99, "wait_ms": 300})
    harmless = queue.add("harmless", {})
    flavours = iter([*FLAVOURS, *FLAVOURS])
    while not state.dead():
        worker = workers.start(next(flavours), lease_ms=500, max_attempts=2)
        wait_until(lambda worker=worker: state.dead() or not worker.is_alive, "a death or the dead letter")
    # The first death is forgiven (a deployment may have killed the worker): one more start than runs allowed.
    assert ledger.started()[poison.id] == 3
    (dead,) = state.dead()
    assert dead[b"reason"] == b"retries_exhausted"
    assert b"delivered" in dead[b"detail"]
    wait_until(state.is_empty, "acknowledged")
    assert len(ledger.ends(harmless.id)) == 1


def test_f32_a_worker_that_leaves_takes_its_name_along(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    worker = workers.start(flavour, name="leaving")
    queue.add_bulk([("job", {})] * 20)
    ledger.wait_for_ends(20)
    assert [row["name"] for row in state.consumers()] == [b"leaving"]
    assert worker.stop() == 0
    assert state.consumers() == []


def test_f32_no_consumer_is_deleted_with_what_it_holds(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    """A forced end leaves running jobs behind: they must still be pending for somebody, or nobody runs them."""
    worker = workers.start(flavour, lease_ms=1_000, drain_timeout_ms=60_000)
    job = queue.add("stuck", {"wait_ms": 2_500})
    ledger.wait_for_starts(1)
    worker.signal(signal.SIGTERM)
    wait_until(lambda: worker.has_written("closing"), "it drains")
    worker.signal(signal.SIGTERM)
    worker.wait(within=20)
    assert state.pending() == 1
    assert state.client.xpending(state.key("stream"), GROUP)["pending"] == 1
    workers.start("sync", lease_ms=1_000)
    wait_until(lambda: ledger.ends(job.id), "it ran elsewhere")
    wait_until(state.is_empty, "acknowledged")
