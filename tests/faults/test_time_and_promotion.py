"""F40, F43, F44, F45: wrong clocks, leaders that stood still, crashes in the middle, floods."""

import threading

import pytest

from chasquimq import sync
from chasquimq._fast import wall_ms
from chasquimq._net.clock import SystemClock
from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, stays, wait_until
from .processes import Workers
from .state import QueueState

HOUR_MS = 3_600_000


def test_f40_the_servers_clock_decides(
    monkeypatch: pytest.MonkeyPatch,
    server: RedisServer,
    queue_name: str,
    workers: Workers,
    ledger: Ledger,
    state: QueueState,
) -> None:
    """Producers and workers whose clocks are an hour wrong, either way: every wait is as long as it was meant."""
    for offset_ms in (-HOUR_MS, HOUR_MS):
        monkeypatch.setattr(SystemClock, "wall_ms", staticmethod(lambda offset=offset_ms: wall_ms() + offset))
        with sync.Queue[object, object](queue_name, connection=server.url) as queue:
            now = state.server_now_ms()
            queue.add("delayed", {}, delay=1_500, job_id=f"delayed{offset_ms}")
            queue.add("retried", {"fails": 1}, backoff=1_500, job_id=f"retried{offset_ms}")
        (due,) = [score for member, score in state.delayed() if f"delayed{offset_ms}".encode() in member]
        assert int(now) + 1_500 <= due <= state.server_now_ms() + 1_500, "whole milliseconds"
    workers.start("sync", clock_offset_ms=HOUR_MS, lease_ms=1_000)
    workers.start("asyncio", clock_offset_ms=-HOUR_MS, lease_ms=1_000)
    wait_until(lambda: len(ledger.ended()) == 4, f"all ended; {ledger}", within=20)
    for job_id in [row["id"] for row in ledger.ends() if row["run"] == 2]:
        first, second = ledger.starts(job_id)
        assert second["at"] - first["at"] >= 1.499
    wait_until(state.is_empty, "acknowledged")
    assert max(ledger.ended().values()) == 1


def test_f43_a_leader_that_stood_still(queue: Queue, workers: Workers, ledger: Ledger, state: QueueState) -> None:
    """Its lock runs out and another leads; when it goes on it still believes to lead, and nothing moves twice."""
    queue.add("far", {}, delay=600_000)  # nobody leads while nothing is delayed
    paused = workers.start("sync", name="paused")
    wait_until(lambda: state.leader() == "paused", "it leads")
    workers.start("asyncio", name="other")
    paused.pause()
    jobs = queue.add_bulk([("job", {}, {"delay": 100 + number}) for number in range(300)])
    wait_until(lambda: state.leader() == "other", "the other leads")
    paused.resume()
    jobs += queue.add_bulk([("job", {}, {"delay": 1 + number}) for number in range(300)])
    wait_until(lambda: len(ledger.ended()) == 600, f"all ended; {ledger}")
    wait_until(lambda: not state.waiting_or_running(), "acknowledged")
    assert ledger.started() == {job.id: 1 for job in jobs}


def test_f43_promotion_is_right_without_any_lock(
    server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    workers.start_fleet()
    over = threading.Event()
    client = server.new_client()

    def steal() -> None:
        while not over.wait(0.001):
            client.delete(state.key("promoter:lock"))

    thief = threading.Thread(target=steal)
    thief.start()
    try:
        jobs = queue.add_bulk([("job", {}, {"delay": 1 + number % 900}) for number in range(1_500)])
        wait_until(lambda: len(ledger.ended()) == 1_500, f"all ended; {ledger}")
    finally:
        over.set()
        thief.join()
    assert ledger.started() == {job.id: 1 for job in jobs}


def test_f44_a_crash_in_the_middle_of_promotion(
    durable_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    jobs = queue.add_bulk([("job", {}, {"delay": 1}) for _ in range(4_000)])
    stopped = workers.start("sync", name="first", concurrency=1)
    wait_until(lambda: len(state.delayed()) < 4_000, "it promotes")
    stopped.kill()
    durable_server.restart(kill=True)
    client = durable_server.client
    assert client.xinfo_stream(state.key("stream"))["entries-added"] + len(state.delayed()) == 4_000
    workers.start("sync", lease_ms=1_000)
    wait_until(lambda: len(ledger.ended()) == 4_000, f"all ended; {ledger}", within=60)
    wait_until(state.is_empty, "acknowledged")
    assert client.xinfo_stream(state.key("stream"))["entries-added"] == 4_000
    assert set(ledger.ended()) == {job.id for job in jobs}


def test_f44_a_member_that_cannot_be_promoted_stops_nobody(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    for member in (
        b"",
        b"\x01",
        b"\xff\xff\xff\xff",
        b"\x04\x00\x00\x00na",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\xc1",
    ):
        state.client.zadd(state.key("delayed"), {member: 1})
    job = queue.add("job", {}, delay=100)
    worker = workers.start()
    wait_until(lambda: ledger.ends(job.id), "the good one ran")
    wait_until(state.is_empty, "nothing is left")
    assert len(state.dead()) == 6
    assert worker.is_alive


def test_f45_a_flood_that_is_due_at_once(queue: Queue, workers: Workers, ledger: Ledger, state: QueueState) -> None:
    """It moves in bounded steps, leases are kept meanwhile, and live traffic goes through."""
    queue.add_bulk([("flood", {}, {"delay": 1}) for _ in range(6_000)], return_jobs=False)
    workers.start("sync", lease_ms=1_000, events=False)
    long = queue.add("long", {"wait_ms": 3_000})
    live = queue.add("live", {})
    wait_until(lambda: ledger.ends(live.id), "the live job ran")
    wait_until(lambda: len(ledger.ended()) == 6_002, f"all ended; {ledger}", within=60)
    wait_until(state.is_empty, "acknowledged")
    assert set(ledger.started().values()) == {1}
    assert len(ledger.starts(long.id)) == 1
    assert stays(state.is_empty, seconds=0.3)
