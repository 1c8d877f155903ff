"""F20, F21, F22, F29, F30: restarts, vanished keys and groups, failovers, lost scripts, trimmed entries."""

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from chasquimq import RedisConnectionError, ServerReplyError, aio, sync
from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import WorkerProcess, Workers
from .state import GROUP, QueueState


def each_still_works(fleet: list[WorkerProcess], queue: Queue, ledger: Ledger) -> None:
    """Adds jobs until every worker of the fleet has run one to its end."""

    def have_worked() -> bool:
        before = len(ledger.ends())
        queue.add_bulk([("again", {"wait_ms": 50})] * 2 * len(fleet))
        ledger.wait_for_ends(before + 2 * len(fleet))
        return {row["pid"] for row in ledger.ends() if row["name"] == "again"} >= {worker.pid for worker in fleet}

    assert all(worker.is_alive for worker in fleet)
    wait_until(have_worked, f"every worker works again; {ledger}")


def test_f20_a_restart_that_lost_everything(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    fleet = workers.start_fleet(concurrency=2)
    queue.add_bulk([("running", {"wait_ms": 1_500})] * 6)
    ledger.wait_for_starts(6)
    own_server.restart(kill=True)
    ledger.wait_for_ends(6)
    wait_until(state.has_group, "the group is there again")
    each_still_works(fleet, queue, ledger)
    queue.add("retried", {"fails": 1}, backoff=10)
    wait_until(lambda: state.waiting_or_running() == 0 and not state.delayed(), "scripts are there again")
    assert [worker.stop() for worker in fleet] == [0, 0, 0]


def test_f20_a_restart_that_kept_everything(
    durable_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    fleet = workers.start_fleet(concurrency=2, lease_ms=5_000)
    ids = {job.id for job in queue.add_bulk([("job", {"wait_ms": 100})] * 60)}
    delayed = queue.add("delayed", {}, delay=2_000)
    ledger.wait_for_starts(12)
    durable_server.restart(kill=True)
    wait_until(lambda: set(ledger.ended()) == ids | {delayed.id}, f"all ended; {ledger}", within=60)
    wait_until(state.is_empty, "acknowledged")
    assert all(worker.is_alive for worker in fleet)
    # Only what was running, or ended and not yet written, at the moment of the crash may run twice.
    assert sum(ledger.started().values()) - len(ids) - 1 <= 12


OUTAGE_S = float(os.environ.get("CHASQUIMQ_OUTAGE_S", "15"))
"""Longer than every wait that grows: the longest, 5 s, is reached after about 6 s; longer than a lease, too."""


class Producer(threading.Thread):
    """Adds jobs one after the other, whatever comes of it, and keeps a book."""

    def __init__(self, flavour: str, url: str, queue_name: str) -> None:
        super().__init__(daemon=True)
        self._flavour, self._url, self._queue_name = flavour, url, queue_name
        self._over = threading.Event()
        self.confirmed: set[str] = set()
        self.unsent: set[str] = set()
        """Those of which the error has said that they had no effect."""
        self.unknown: set[str] = set()
        self.errors: list[RedisConnectionError] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            anyio.run(self._main, backend="trio" if self._flavour == "trio" else "asyncio")
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.failure = error

    async def _main(self) -> None:
        if self._flavour == "sync":
            with sync.Queue[Any, Any](self._queue_name, connection=self._url) as queue:
                while not self._over.is_set():
                    with self._booked(data := f"sync-{self._count}"):
                        queue.add("produced", {"returns": data})
            return
        async with aio.Queue[Any, Any](self._queue_name, connection=self._url) as queue:
            while not self._over.is_set():
                with self._booked(data := f"{self._flavour}-{self._count}"):
                    await queue.add("produced", {"returns": data})
                await anyio.sleep(0)

    @property
    def _count(self) -> int:
        return len(self.confirmed) + len(self.errors)

    @contextlib.contextmanager
    def _booked(self, data: str) -> Iterator[None]:
        try:
            yield
        except RedisConnectionError as error:
            self.errors.append(error)
            (self.unknown if error.may_have_executed else self.unsent).add(data)
        else:
            self.confirmed.add(data)

    def end(self) -> None:
        self._over.set()
        self.join(30)
        assert self.failure is None, self.failure
        # These jobs have no job_id, so only what was never sent is safe to be repeated.
        assert all(error.safe_to_repeat is not error.may_have_executed for error in self.errors)


@pytest.mark.parametrize("way", ["stopped", "frozen"])
def test_f20_producers_and_workers_while_the_server_is_away_for_long(
    durable_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, way: str
) -> None:
    """Away for longer than anything waits; ``CHASQUIMQ_OUTAGE_S=60`` makes it a minute."""
    fleet = workers.start_fleet(concurrency=4, lease_ms=5_000, connection={"url": durable_server.url, **FAST})
    running = queue.add_bulk([("running", {"wait_ms": 1_000})] * 3)
    ledger.wait_for_starts(3)
    producers = [Producer(flavour, durable_server.url, workers.queue) for flavour in ("sync", "asyncio", "trio")]
    for producer in producers:
        producer.start()
    wait_until(lambda: all(len(producer.confirmed) > 20 for producer in producers), "all produce")
    (durable_server.kill if way == "stopped" else durable_server.pause)()
    time.sleep(OUTAGE_S)  # the length of the outage is what is tested
    assert all(worker.is_alive for worker in fleet)
    told_meanwhile = [len(producer.errors) for producer in producers]
    before = [len(producer.confirmed) for producer in producers]
    (durable_server.start if way == "stopped" else durable_server.resume)()
    wait_until(
        lambda: all(len(p.confirmed) > count + 20 for p, count in zip(producers, before, strict=True)), "they go on"
    )
    for producer in producers:
        producer.end()
    each_still_works(fleet, queue, ledger)
    wait_until(state.is_empty, "everything is done", within=60)
    assert all(count >= 1 for count in told_meanwhile)
    done = Counter(row["data"]["returns"] for row in ledger.starts() if row["name"] == "produced")
    confirmed, unsent, unknown = (
        set[str]().union(*(getattr(producer, book) for producer in producers))
        for book in ("confirmed", "unsent", "unknown")
    )
    assert confirmed <= set(done)
    assert not unsent & set(done)
    assert set(done) <= confirmed | unknown
    assert {job.id for job in running} <= set(ledger.ended())
    # What was told once is not told again: the reader, the acker and the housekeeper of three workers, each kind once.
    assert len(ledger.errors()) <= 27, Counter(text[:90] for text in ledger.errors())
    assert [worker.stop() for worker in fleet] == [0, 0, 0]


FAST = {"socket_timeout_ms": 2_000, "connect_timeout_ms": 2_000}


def test_f20_workers_wait_for_a_server_that_is_away_for_long(
    durable_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    fleet = workers.start_fleet(concurrency=2)
    queue.add_bulk([("running", {"wait_ms": 1_000})] * 6)
    ledger.wait_for_starts(6)
    durable_server.kill()
    ledger.wait_for_ends(6)
    time.sleep(2)  # the length of the outage is what is tested
    assert all(worker.is_alive for worker in fleet)
    durable_server.start()
    wait_until(state.is_empty, "the ends are written late")
    each_still_works(fleet, queue, ledger)
    assert set(ledger.started().values()) == {1}


VANISHINGS: dict[str, Callable[[QueueState], object]] = {
    "FLUSHALL": lambda state: state.client.flushall(),
    "DEL": lambda state: state.client.delete(state.key("stream")),
    "XGROUP DESTROY": lambda state: state.client.xgroup_destroy(state.key("stream"), GROUP),
}


@pytest.mark.parametrize("command", VANISHINGS)
def test_f21_the_group_vanishes_under_blocked_workers(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, command: str
) -> None:
    fleet = workers.start_fleet(concurrency=2)
    queue.add_bulk([("running", {"wait_ms": 1_000})] * 2)
    ledger.wait_for_starts(2)
    VANISHINGS[command](state)
    lost = command != "XGROUP DESTROY"
    each_still_works(fleet, queue, ledger)
    wait_until(lambda: state.pending() == 0 and state.waiting_or_running() == 0, "acknowledged")
    runs = [count for job_id, count in ledger.started().items() if ledger.starts(job_id)[0]["name"] == "running"]
    # With the group every lease is gone: jobs that still stand in the stream come again, none is lost.
    assert runs == [1, 1] if lost else all(count <= 2 for count in runs)


def test_f21_waiting_jobs_survive_the_loss_of_the_group(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    ids = {job.id for job in queue.add_bulk([("job", {})] * 50)}
    state.client.xgroup_create(state.key("stream"), GROUP, "$")
    state.client.xgroup_destroy(state.key("stream"), GROUP)
    workers.start()
    wait_until(lambda: set(ledger.ended()) == ids, "all ran")


def commands_of_workers(server: RedisServer) -> list[int]:
    return [int(row["id"]) for row in server.client.client_list() if row["cmd"] in ("xreadgroup", "blpop")]


def test_f22_unblocked_with_an_error(own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger) -> None:
    fleet = workers.start_fleet(concurrency=2)
    wait_until(lambda: len(commands_of_workers(own_server)) >= 3, "they are blocked")
    for client in commands_of_workers(own_server):
        own_server.client.client_unblock(client, error=True)
    each_still_works(fleet, queue, ledger)


def test_f22_connections_killed(own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger) -> None:
    fleet = workers.start_fleet(concurrency=2)
    for _ in range(5):
        own_server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(0.1)
    each_still_works(fleet, queue, ledger)


@pytest.mark.parametrize("stale", ["yes", "no"])
def test_f22_the_primary_becomes_a_replica_for_a_while(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, stale: str
) -> None:
    """READONLY, or MASTERDOWN: workers wait and say so without flooding; producers get a typed answer."""
    own_server.client.config_set("replica-serve-stale-data", stale)
    fleet = workers.start_fleet(concurrency=2)
    queue.add_bulk([("running", {"wait_ms": 500})] * 6)
    ledger.wait_for_starts(6)
    delayed = queue.add("delayed", {}, delay=1_000)
    own_server.client.replicaof("127.0.0.1", "1")
    try:
        ledger.wait_for_ends(6)
        with pytest.raises((ServerReplyError, RedisConnectionError)) as caught:
            queue.add("job", {})
        if isinstance(caught.value, ServerReplyError):
            assert caught.value.code in ("READONLY", "MASTERDOWN")
        time.sleep(3)  # the length of the trouble is what is tested
    finally:
        own_server.client.replicaof("NO", "ONE")
    told = len(ledger.errors())
    wait_until(lambda: ledger.ends(delayed.id), "the delayed job ran")
    each_still_works(fleet, queue, ledger)
    wait_until(state.is_empty, "acknowledged")
    assert max(ledger.started().values()) == 1
    # Three workers with three connections each, backing off.
    assert told <= 45, Counter(text[:90] for text in ledger.errors())


def test_f22_clients_are_paused(own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger) -> None:
    fleet = workers.start_fleet(concurrency=2)
    own_server.client.client_pause(2_000)
    each_still_works(fleet, queue, ledger)
    assert max(ledger.started().values()) == 1


def test_f29_scripts_are_flushed_all_the_time(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    fleet = workers.start_fleet(store_results=True)
    over = threading.Event()
    client = own_server.new_client()

    def flush() -> None:
        while not over.wait(0.002):
            client.script_flush("SYNC")

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        rows = [("job", {"fails": number % 3, "returns": number}, {"backoff": 5}) for number in range(200)]
        rows += [("delayed", {"returns": 1}, {"delay": 200, "job_id": f"id-{number}"}) for number in range(50)]
        jobs = queue.add_bulk(rows)
        jobs += [queue.add_unique("unique", {"unrecoverable": True}, job_id=f"unique-{n}") for n in range(20)]
        wait_until(lambda: len(state.dead()) == 20 and state.is_empty(), f"all settled; {ledger}")
        assert queue.replay_dlq() == 20
        wait_until(lambda: len(state.dead()) == 20 and state.is_empty(), f"all settled again; {ledger}")
    finally:
        over.set()
        flusher.join()
    assert set(ledger.ended()) == {job.id for job in jobs[:250]}
    assert set(ledger.ended().values()) == {1}
    assert [queue.get_job_result(job.id) for job in jobs[:200]] == [None if n is None else n for n in range(200)]
    assert not any("NOSCRIPT" in text for text in ledger.errors())
    assert all(worker.is_alive for worker in fleet)


def test_f30_entries_are_deleted_and_trimmed_under_workers(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    killed = workers.start("sync", lease_ms=1_000)
    queue.add_bulk([("job", {"wait_ms": 3_000})] * 10)
    ledger.wait_for_starts(10)
    killed.kill()
    state.client.xtrim(state.key("stream"), maxlen=5, approximate=False)  # half of what is pending
    fleet = workers.start_fleet(lease_ms=1_000, concurrency=2)
    ledger.wait_for_starts(15)
    for entry_id, _ in state.client.xrange(state.key("stream")):
        state.client.xdel(state.key("stream"), entry_id)  # and now what is running
    ledger.wait_for_ends(5)
    each_still_works(fleet, queue, ledger)
    assert sorted(ledger.started().values())[-5:] == [2] * 5
    assert [worker.stop() for worker in fleet] == [0, 0, 0]
    assert state.waiting_or_running() == 0
