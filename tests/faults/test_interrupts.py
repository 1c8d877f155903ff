"""F26, the synchronous form: an exception out of a signal handler, wherever it can strike in a blocking call.

The connection is closed or drained, so that the next call gets an answer of its own; nothing is half written, no
lock is left held, and no connection is left open.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgpack
import pytest

from chasquimq import WaitForResultTimeoutError, sync
from chasquimq._core.result_wait import RARE_LOOK_MS
from chasquimq.sync._result_waits import ResultWaits
from tests.conftest import ADMIN
from tests.servers import RedisServer

from .interrupting import Interrupted, Opportunities
from .ledger import wait_until
from .proxy import Proxy, Weather
from .state import QueueState, envelope

# A socket that was made and not yet given to anybody is closed with its last name, which Python warns of.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ANSWERS = 4
ROWS = 520
FULL_READ = 256
LONG_MS = 3_600_000
Queue = sync.Queue[Any, Any]
Act = Callable[[Queue, str], Any]
LOADED = (ResultWaits,)
"""What the library loads when it is first needed: it is not the imports that are interrupted here."""


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """Nothing is left for the garbage collector to close: it comes when it likes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def prepare(state: QueueState, mark: str) -> None:
    """What the calls below find."""
    state.client.set(state.key(f"result:{mark}"), msgpack.packb(mark), ex=600)
    for kind in ("stream", "delayed", "dlq", "repeat"):
        state.client.delete(state.key(kind))
    body = envelope_of(mark, 0)
    state.client.xadd(state.key("dlq"), {"d": body, "n": "w", "source_id": "1-1", "reason": "unrecoverable"})


def envelope_of(mark: str, row: int) -> bytes:
    packed: bytes = msgpack.packb([f"{mark}-{row}", msgpack.packb([mark, row]), 1_700_000_000_000, 2])
    return packed


def add_rows(queue: Queue, mark: str) -> Any:
    return queue.add_bulk([("w", [mark, row]) for row in range(ROWS)], return_jobs=False)


def wait(queue: Queue, mark: str) -> Any:
    return queue.add("w", [mark, 0], job_id=mark).wait_for_result()


def wait_in_vain(queue: Queue, mark: str) -> Any:
    """Long enough to look several times and to begin to follow the stream."""
    try:
        queue.add("w", [mark, 0]).wait_for_result(80, 5)
    except WaitForResultTimeoutError:
        return None
    raise AssertionError("there is no result")


# What is called, what it returns, whether it adds, and in what steps its opportunities are tried.
ACTS: dict[str, tuple[Act, Callable[[str], Any], int]] = {
    "add": (lambda queue, mark: queue.add("w", [mark, 0]).data, lambda mark: [mark, 0], 1),
    "add with an id": (lambda queue, mark: queue.add("w", [mark, 0], job_id=mark).id, lambda mark: mark, 1),
    "add delayed": (lambda queue, mark: queue.add("w", [mark, 0], delay=LONG_MS).data, lambda mark: [mark, 0], 3),
    "add_bulk": (add_rows, lambda _mark: ROWS, 29),
    "get_job_result": (lambda queue, mark: queue.get_job_result(mark), lambda mark: mark, 1),
    "replay_dlq": (lambda queue, _mark: queue.replay_dlq(), lambda _mark: 1, 3),
    "peek_dlq": (lambda queue, _mark: queue.peek_dlq()[0].data[0], lambda mark: mark, 3),
    "wait_for_result": (wait, lambda mark: mark, 5),
    "wait_for_result in vain": (wait_in_vain, lambda _mark: None, 7),
    "close": (lambda queue, _mark: queue.close(), lambda _mark: None, 1),
}


@pytest.mark.usefixtures("_no_collection")
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("name", ACTS)
def test_f26_a_call_interrupted_everywhere(
    server: RedisServer, queue_name: str, state: QueueState, name: str, is_warm: bool
) -> None:
    act, expected, step = ACTS[name]
    clients = other_clients(state)
    store_answers(state)
    for at in itertools.count(1, step if is_warm else step * 5):
        mark = f"{name}-{at}"
        prepare(state, mark)
        with Queue(queue_name, connection=server.url) as queue:
            if is_warm:
                own_answers(queue)
            places = Opportunities(at)
            try:
                result = places.run(lambda queue=queue, mark=mark: act(queue, mark))
            except Interrupted:
                assert places.was_interrupted
            else:
                assert not places.was_interrupted, "it swallowed the interrupt"
                assert result == expected(mark)
            if not queue.is_closed:
                own_answers(queue)
            nothing_is_halved(state, mark)
        wait_until(lambda: other_clients(state) <= clients, "connections go")
        if not places.was_interrupted:
            return


def other_clients(state: QueueState) -> set[str]:
    return {client["id"] for client in state.client.client_list() if client["name"] != ADMIN}


def store_answers(state: QueueState) -> None:
    for number in range(ANSWERS):
        state.client.set(state.key(f"result:answer-{number}"), msgpack.packb(f"this is {number}"), ex=600)


def own_answers(queue: Queue) -> None:
    """From this thread and from others: a lock that is still held would keep them waiting."""
    for number in range(ANSWERS):
        assert queue.get_job_result(f"answer-{number}") == f"this is {number}"
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(queue.get_job_result, f"answer-{number}") for number in range(ANSWERS)]
        assert [each.result(10) for each in asked] == [f"this is {number}" for number in range(ANSWERS)]


def nothing_is_halved(state: QueueState, mark: str) -> None:
    bodies = [fields[b"d"] for _, fields in state.client.xrange(state.key("stream"))]
    bodies += [member[4 + int.from_bytes(member[:4], "little") :] for member, _ in state.delayed()]
    rows = [msgpack.unpackb(envelope(body)[1]) for body in bodies]
    assert all(found == mark for found, _ in rows)
    numbers = [number for _, number in rows]
    assert sorted(numbers) == list(range(len(numbers))), "rows are missing in between, or doubled"
    assert len(state.dead()) in ((0, 1) if numbers else (1,))


def test_f26_followers_are_interrupted_and_go_on(server: RedisServer, queue_name: str, state: QueueState) -> None:
    """More than one read brings, so that it is asked whether events were missed."""
    for number in range(300):
        state.client.xadd(state.key("events"), {"e": "active", "id": f"job-{number}", "ts": 1, "attempt": 1})
    for at in itertools.count(1, 23):
        seen: list[str] = []
        events = sync.QueueEvents(queue_name, connection=server.url, last_event_id="0", autorun=False)
        with events:
            places = Opportunities(at)
            try:
                places.run(lambda seen=seen, events=events: take(events, seen, 300))
            except Interrupted:
                take(events, seen, 300)
            # What was being handed over when it struck may be lost with the call: a part of one read, and no more.
            positions = [int(job_id.removeprefix("job-")) for job_id in seen]
            gaps = [later - earlier for earlier, later in itertools.pairwise([-1, *positions]) if later != earlier + 1]
            assert all(0 < gap <= FULL_READ for gap in gaps), (
                "events came twice or in disorder, or too many are missing"
            )
            assert len(gaps) <= places.was_interrupted
        if not places.was_interrupted or at > 500:
            return


def take(events: sync.QueueEvents, into: list[str], last: int) -> None:
    while not into or into[-1] != f"job-{last - 1}":
        into.append(next(events).job_id)


@pytest.mark.parametrize("comes", ["first", "last"])
def test_f26_an_interrupted_wait_disturbs_no_other(
    server: RedisServer, queue_name: str, state: QueueState, comes: str
) -> None:
    """Others wait in threads for results of their own, while one that may look or read for all is interrupted."""
    for at in itertools.count(1, 7):
        with Queue(queue_name, connection=server.url) as queue, ThreadPoolExecutor(4) as pool:
            jobs = [queue.add("w", number) for number in range(3)]
            own = queue.add("w", 3)
            has_begun = threading.Event()

            def wait_too(number: int, jobs: Any = jobs, has_begun: Any = has_begun) -> Any:
                has_begun.wait(10)
                return jobs[number].wait_for_result(10_000, 20)

            waits = [pool.submit(wait_too, number) for number in range(3)]
            if comes == "last":
                has_begun.set()
                wait_until(lambda queue=queue: waiting(queue) == 3)
            else:
                pool.submit(
                    lambda queue=queue, begun=has_begun: (
                        wait_until(lambda: waiting(queue) or begun.is_set()),
                        begun.set(),
                    )
                )
            places = Opportunities(at)
            with contextlib.suppress(Interrupted, WaitForResultTimeoutError):
                places.run(lambda own=own: own.wait_for_result(100, 20))
            has_begun.set()
            for number, job in enumerate(jobs):
                state.client.set(state.key(f"result:{job.id}"), msgpack.packb(f"this is {number}"), ex=600)
            # Sooner than they would look if they relied on one that has left.
            assert [each.result(RARE_LOOK_MS / 2000) for each in waits] == [f"this is {number}" for number in range(3)]
            assert waiting(queue) == 0
        if not places.was_interrupted:
            return


def waiting(queue: Queue) -> int:
    return 0 if queue._result_waits is None else len(queue._result_waits._room._watch)


@pytest.fixture
def alarm() -> Iterator[Callable[[float], None]]:
    """Sets the clock for an interrupt; 0 takes it back."""
    assert threading.current_thread() is threading.main_thread()

    def ring(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("way", ["up", "down"])
def test_f26_interrupted_in_the_middle_of_a_message(
    server: RedisServer, queue_name: str, state: QueueState, alarm: Callable[[float], None], way: Any
) -> None:
    """Requests and answers come byte by byte, and alarms in between; late bytes reach nobody else."""
    dice = random.Random(26)
    store_answers(state)
    interrupted = 0
    with Proxy(server.port or 0) as proxy, Queue(queue_name, connection=proxy.url) as queue:
        for number in range(60):
            own_answers(queue)
            proxy.weather = {**proxy.weather, way: Weather(pause_s=0.001, piece=1)}
            try:
                alarm(dice.uniform(0.001, 0.04))
                assert queue.get_job_result(f"answer-{number % ANSWERS}") == f"this is {number % ANSWERS}"
                alarm(0)
            except Interrupted:
                interrupted += 1
            alarm(0)
            proxy.weather = {**proxy.weather, way: Weather()}
        own_answers(queue)
    assert interrupted > 10


def test_f26_a_bombardment(
    server: RedisServer, queue_name: str, state: QueueState, alarm: Callable[[float], None]
) -> None:
    """Anything a producer does, interrupted at any moment, over and over on one object."""
    dice = random.Random(2600)
    store_answers(state)
    calls = [name for name in ACTS if name not in ("close", "wait_for_result in vain")]
    interrupted = answered = 0
    with Queue(queue_name, connection=server.url) as queue:
        while interrupted < 150 or answered < 150:
            name = dice.choice(calls)
            mark = f"mark-{interrupted}-{answered}"
            prepare(state, mark)
            act, expected, _ = ACTS[name]
            try:
                alarm(dice.choice([0.00005, 0.0002, 0.0005, 0.002, 0.5]))
                result = act(queue, mark)
                alarm(0)
            except Interrupted:
                interrupted += 1
            else:
                answered += 1
                assert result == expected(mark)
            alarm(0)
            nothing_is_halved(state, mark)
        own_answers(queue)
