"""Who owns a job, and who only believes to: long handlers, blocked loops, machines that stood still."""

from typing import Any

import msgpack

from .conftest import Queue
from .ledger import Ledger, stays, wait_until
from .processes import FLAVOURS, WorkerProcess, Workers
from .state import QueueState

LEASE_MS = 1_200


def test_f04_a_handler_longer_than_its_lease_runs_once(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    forms = (*FLAVOURS, "asyncio+thread", "trio+thread")
    workers.start_fleet(*forms, lease_ms=LEASE_MS, concurrency=2)
    queue.add_bulk([("long", {"wait_ms": 3 * LEASE_MS})] * 2 * len(forms))
    ledger.wait_for_starts(2 * len(forms))
    workers.start("sync", lease_ms=LEASE_MS)
    ledger.wait_for_ends(2 * len(forms))
    wait_until(state.is_empty, "acknowledged")
    assert {row["by"] for row in ledger.starts()} == set(forms)
    assert set(ledger.started().values()) == {1}
    assert not any(row["lost"] for row in ledger.ends())


def test_f05_jobs_that_wait_in_a_worker_stay_its_own(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    fetcher = workers.start(flavour, lease_ms=LEASE_MS, concurrency=1)
    # A fast pace makes it fetch ahead; then a job that holds everything up.
    total = queue.add_bulk(
        [*[("fast", {})] * 1_000, ("slow", {"wait_ms": 3 * LEASE_MS}), *[("fast", {})] * 200], return_jobs=False
    )
    wait_until(lambda: any(row["name"] == "slow" for row in ledger.starts()), "the slow job runs")
    wait_until(lambda: state.pending() > 1, "it has fetched ahead")
    workers.start("sync", lease_ms=LEASE_MS)
    wait_until(lambda: len(ledger.ended()) == total, f"all ended; {ledger}")
    wait_until(state.is_empty, "acknowledged")
    assert set(ledger.started().values()) == {1}
    assert fetcher.is_alive
    assert not ledger.errors()


def test_f06_a_blocked_event_loop_loses_nothing(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    workers.start_fleet("asyncio", "trio", lease_ms=LEASE_MS, concurrency=1)
    queue.add_bulk([("blocking", {"block_ms": 3 * LEASE_MS})] * 2)
    ledger.wait_for_starts(2)
    workers.start("sync", lease_ms=LEASE_MS)
    ledger.wait_for_ends(2)
    wait_until(state.is_empty, "acknowledged")
    assert {row["by"] for row in ledger.starts()} == {"asyncio", "trio"}
    assert not any(row["lost"] for row in ledger.ends())


def lose_a_lease(
    queue: Queue, workers: Workers, ledger: Ledger, flavour: str, data: dict[str, Any]
) -> tuple[WorkerProcess, WorkerProcess]:
    """The first worker stands still over a job until the second has taken it over; then it goes on."""
    paused = workers.start(flavour, lease_ms=LEASE_MS, store_results=True)
    queue.add("job", data, job_id="job")
    ledger.wait_for_starts(1)
    paused.pause()
    owner = workers.start("sync", lease_ms=LEASE_MS, store_results=True)
    ledger.wait_for_starts(2)
    paused.resume()
    wait_until(
        lambda: any(row["pid"] == paused.pid for row in ledger.lines("error")), f"it notices; {paused.log_text()}"
    )
    return paused, owner


def test_f07_f08_a_late_success_is_refused(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    data = {"wait_ms": 3_000, "returns": "done"}
    paused, owner = lose_a_lease(queue, workers, ledger, flavour, data)
    wait_until(lambda: any(row["pid"] == paused.pid for row in ledger.ends()), "its handler ended, too late")
    if not ledger.ends("job")[1:]:  # the owner is still at it
        assert state.waiting_or_running() == 1
        assert not state.client.exists(state.key("result:job"))
    ledger.wait_for_ends(2)
    wait_until(state.is_empty, "the owner has acknowledged")
    assert msgpack.unpackb(state.client.get(state.key("result:job"))) == "done"
    assert [row["pid"] for row in ledger.starts()] == [paused.pid, owner.pid]
    assert any("LeaseLostError" in text for text in ledger.errors())
    assert paused.is_alive


def test_f08_a_late_failure_schedules_nothing(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    """The first run fails and comes too late, the owner's run is the one that counts: one retry, not two."""
    data = {"wait_ms": 2_500, "fails": 1}
    paused, owner = lose_a_lease(queue, workers, ledger, "trio", data)
    ledger.wait_for_ends(1)
    wait_until(state.is_empty, "acknowledged")
    assert stays(state.is_empty, seconds=0.5)
    assert [row["run"] for row in ledger.starts()] == [1, 1, 2]
    assert len(state.events("retry-scheduled")) == 1
    assert paused.is_alive
    assert owner.is_alive


def test_f07_jobs_that_waited_out_a_pause_are_not_started(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    """After a pause beyond the lease, what had been fetched belongs to others: it is not run twice."""
    paused = workers.start("asyncio", lease_ms=LEASE_MS, concurrency=1)
    total = queue.add_bulk(
        [*[("fast", {})] * 1_000, ("slow", {"wait_ms": 1_000}), *[("tail", {})] * 100], return_jobs=False
    )
    wait_until(lambda: any(row["name"] == "slow" for row in ledger.starts()), "the slow job runs")
    wait_until(lambda: state.pending() > 1, "it has fetched ahead")
    paused.pause()
    workers.start("sync", lease_ms=LEASE_MS)
    wait_until(lambda: len(ledger.ended()) == total, f"all ended; {ledger}")
    paused.resume()
    wait_until(state.is_empty, "acknowledged")
    assert stays(lambda: sum(ledger.started().values()) <= total + 1, seconds=1.0)  # the slow one had started
    assert paused.is_alive
