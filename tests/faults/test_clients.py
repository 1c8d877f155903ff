"""F16, F26, F52: a Queue across forks, threads, cancellations and repeated ids."""

import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import msgpack
import pytest

from chasquimq import ClosedError, aio, sync
from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import ROOT, Workers
from .state import QueueState, envelope

FORK = """
import os, sys, threading
from chasquimq import sync

with sync.Queue(sys.argv[2], connection=sys.argv[1]) as queue:
    queue.add("before", 0, job_id="before")
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            for number in range(50):
                assert queue.add("child", 0, job_id=f"{child}-{number}").id == f"{child}-{number}"
                assert queue.get_job_result("none") is None
            os._exit(0)
        children.append(pid)
    for number in range(50):
        assert queue.add("parent", 0, job_id=f"parent-{number}").id == f"parent-{number}"
        assert not queue.peek_dlq()
    for pid in children:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_f16_a_forked_child_has_its_own_connections(server: RedisServer, queue_name: str, state: QueueState) -> None:
    # In a process of its own: pytest's is not one to fork.
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, server.url, queue_name],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    ids = [envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream"))]
    assert sorted(ids) == sorted(
        ["before", *(f"{who}-{number}" for who in (0, 1, 2, 3, "parent") for number in range(50))]
    )


def test_f16_threads_share_a_queue(queue: Queue, state: QueueState) -> None:
    def add_some(who: int) -> list[str]:
        return [queue.add("job", [who, number]).id for number in range(100)]

    with ThreadPoolExecutor(8) as pool:
        ids = [job_id for added in pool.map(add_some, range(8)) for job_id in added]
    assert len(set(ids)) == 800
    stored = {
        envelope(fields[b"d"])[0]: tuple(msgpack.unpackb(envelope(fields[b"d"])[1]))
        for _, fields in state.client.xrange(state.key("stream"))
    }
    assert set(stored) == set(ids)
    assert len(set(stored.values())) == 800


def test_f16_a_closed_queue_says_so(server: RedisServer, queue_name: str, flavour: str) -> None:
    if flavour == "sync":
        queue = sync.Queue[Any, Any](queue_name, connection=server.url)
        queue.add("job", 1)
        queue.close()
        with pytest.raises(ClosedError):
            queue.add("job", 1)
        return

    async def main() -> None:
        queue = aio.Queue[Any, Any](queue_name, connection=server.url)
        await queue.add("job", 1)
        await queue.close()
        with pytest.raises(ClosedError):
            await queue.add("job", 1)

    anyio.run(main, backend=flavour)


def store_answers(state: QueueState, count: int) -> None:
    for number in range(count):
        state.client.set(state.key(f"result:{number}"), msgpack.packb(number), ex=600)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", [1, 2])
def test_f26_a_cancelled_call_never_leaves_its_reply_to_another(
    server: RedisServer, queue_name: str, state: QueueState, backend: str, seed: int
) -> None:
    dice = random.Random(seed)
    store_answers(state, 100)
    answered: list[tuple[int, Any]] = []
    added: list[str] = []

    async def one(queue: aio.Queue[Any, Any]) -> None:
        number = dice.randrange(100)
        with anyio.move_on_after(dice.choice([0, 0.0002, 0.0005, 0.001, 0.002, 0.005, 1])):
            if dice.random() < 0.2:
                added.append((await queue.add("job", {}, job_id=dice.choice([None, f"id-{len(added)}"]))).id)
            else:
                answered.append((number, await queue.get_job_result(str(number))))

    async def main() -> None:
        async with aio.Queue[Any, Any](queue_name, connection=server.url) as queue:
            for _ in range(40):
                async with anyio.create_task_group() as tasks:
                    for _ in range(25):
                        tasks.start_soon(one, queue)

    anyio.run(main, backend=backend)
    assert all(number == answer for number, answer in answered)
    assert len(answered) > 50
    stored = {envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream"))}
    assert set(added) <= stored


class Interrupted(BaseException):
    """What the alarm raises, at any point of the library."""


# A socket that was made and not yet given to anybody when the alarm came is closed by the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_f26_an_interrupted_call_never_leaves_its_reply_to_another(
    server: RedisServer, queue: Queue, state: QueueState
) -> None:
    assert threading.current_thread() is threading.main_thread()
    dice = random.Random(3)
    store_answers(state, 100)

    def interrupt(*_: object) -> None:
        raise Interrupted

    interrupted = answered = 0
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while interrupted < 150 or answered < 150:
            number = dice.randrange(100)
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.choice([0.00002, 0.00005, 0.0001, 0.0003, 0.5]))
                answer = queue.get_job_result(str(number))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                interrupted += 1
            else:
                answered += 1
                assert answer == number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_f52_the_first_of_many_wins(server: RedisServer, queue_name: str, state: QueueState) -> None:
    def add(number: int) -> bool:
        with sync.Queue[Any, Any](queue_name, connection=server.url) as queue:
            return not queue.add_unique("job", number, job_id="same", delay=[0, 60_000][number % 2]).is_duplicate

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(40))) == 1
    assert state.waiting_or_running() + len(state.delayed()) == 1


def test_f52_an_id_is_reserved_for_the_window_and_free_after_it(
    server: RedisServer, queue_name: str, state: QueueState, workers: Workers, ledger: Ledger
) -> None:
    workers.start()
    with sync.Queue[Any, Any](queue_name, connection=server.url, dedup_window_ms=5_000) as queue:
        first = queue.add_unique("job", {}, job_id="same")
        assert not first.is_duplicate
        ledger.wait_for_ends(1)
        wait_until(state.is_empty, "completed")
        again = queue.add_unique("job", {}, job_id="same")
        assert (again.id, again.is_duplicate) == ("same", True)
        wait_until(lambda: not state.client.exists(state.key("dlid:same")), "the window is over")
        assert not queue.add_unique("job", {}, job_id="same").is_duplicate
        wait_until(lambda: len(ledger.ends("same")) == 2, "it ran again")
