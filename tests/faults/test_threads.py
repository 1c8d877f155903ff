"""F16: one Queue, thirty-two threads, calls of every kind at once."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgpack
import psutil
import pytest

from chasquimq import ClosedError, NotSupportedError, sync
from tests.servers import RedisServer

from .conftest import Queue
from .ledger import wait_until
from .processes import Workers
from .state import QueueState, envelope, member_envelope

THREADS = 32
ROUNDS = 12
ANSWERS = 100


def clients_of(server: RedisServer) -> int:
    return int(server.client.info("clients")["connected_clients"])


def connections_to(server: RedisServer) -> int:
    """Those of this process alone: the worker opens its own when it needs them."""
    connections = psutil.Process().net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED and each.raddr.port == server.port for each in connections)


def ids_of(state: QueueState) -> Counter[str]:
    return Counter(envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream")))


def everybody(task: Callable[[int], Any]) -> list[Any]:
    """Has each thread run the task with its number, all at the same time."""
    together = threading.Barrier(THREADS)

    def run(who: int) -> Any:
        together.wait(30)
        return task(who)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.fixture
def answers(state: QueueState) -> None:
    for number in range(ANSWERS):
        state.client.set(state.key(f"result:{number}"), msgpack.packb(number), ex=600)


def test_f16_each_thread_gets_its_own_answers(
    server: RedisServer, queue: Queue, state: QueueState, answers: None
) -> None:
    most = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.005):
            most = max(most, clients_of(server))

    before = clients_of(server)

    def work(who: int) -> list[str]:
        dice = random.Random(who)
        added = []
        for turn in range(ROUNDS):
            mine = f"{who}-{turn}"
            assert queue.get_job_result(str(wanted := dice.randrange(ANSWERS))) == wanted
            assert queue.get_job_result(f"none-{mine}") is None
            added.append(queue.add("lone", [who, turn]).id)
            jobs = queue.add_bulk([("bulk", [who, turn, n]) for n in range(40)])
            assert [job.data for job in jobs] == [[who, turn, n] for n in range(40)]
            added += [job.id for job in jobs]
            assert not queue.add("own", who, job_id=f"own-{mine}").is_duplicate
            # The same id from all threads: one of them adds it.
            queue.add("shared", who, job_id=f"shared-{turn}")
            assert queue.add("delayed", who, job_id=f"delayed-{mine}", delay=3_600_000).id == f"delayed-{mine}"
            if turn % 2:
                assert queue.remove(f"delayed-{mine}") == 1
                with pytest.raises(NotSupportedError):
                    queue.remove(f"delayed-{mine}")
            assert queue.peek_dlq() == []
            assert queue.replay_dlq() == 0
        return added

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        added = [job_id for ids in everybody(work) for job_id in ids]
    finally:
        over.set()
        watcher.join()
    own = [f"own-{who}-{turn}" for who in range(THREADS) for turn in range(ROUNDS)]
    shared = [f"shared-{turn}" for turn in range(ROUNDS)]
    assert ids_of(state) == Counter([*added, *own, *shared])
    assert len(added) == THREADS * ROUNDS * 41
    delayed = {member_envelope(member)[0] for member, _ in state.delayed()}
    assert delayed == {f"delayed-{who}-{turn}" for who in range(THREADS) for turn in range(0, ROUNDS, 2)}
    assert most <= before + THREADS + 1  # the watcher's own


def test_f16_each_thread_waits_for_its_own_result(server: RedisServer, queue: Queue, workers: Workers) -> None:
    workers.start(store_results=True)

    def work(who: int) -> bool:
        return all(
            queue.add("job", {"returns": [who, turn]}).wait_for_result(timeout_ms=30_000) == [who, turn]
            for turn in range(ROUNDS)
        )

    before = connections_to(server)
    assert everybody(work) == [True] * THREADS
    assert connections_to(server) <= before + THREADS + 1  # and one that follows the events for all


@pytest.mark.parametrize("waits", [False, True])
def test_f16_a_queue_is_closed_while_others_call_it(
    server: RedisServer, queue_name: str, state: QueueState, answers: None, waits: bool
) -> None:
    """Every call ends as it should, or says that the Queue was closed; what was confirmed is there."""
    before = clients_of(server)
    queue = sync.Queue[Any, Any](queue_name, connection=server.url)
    closing = threading.Event()

    def calls(who: int) -> Iterator[str]:
        turn = 0
        while True:
            job_id = f"{who}-{turn}"
            job = queue.add("job", who, job_id=job_id)
            assert (job.id, job.is_duplicate) == (job_id, False)
            yield job_id
            if waits:
                job.wait_for_result(timeout_ms=60_000)
            assert queue.get_job_result(str(turn % ANSWERS)) == turn % ANSWERS
            turn += 1

    def work(who: int) -> list[str]:
        if who == 0:
            closing.wait(30)
            queue.close()
            return []
        added: list[str] = []

        def call_on() -> None:
            for job_id in calls(who):
                added.append(job_id)
                if who == 1 and len(added) == (1 if waits else 50):
                    closing.set()

        with pytest.raises(ClosedError):
            call_on()
        return added

    added = [job_id for ids in everybody(work) for job_id in ids]
    stored = ids_of(state)
    assert set(added) <= set(stored)
    assert set(stored.values()) == {1}
    assert len(set(stored) - set(added)) <= THREADS
    wait_until(lambda: clients_of(server) <= before, "all connections are closed")
