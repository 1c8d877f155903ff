"""F14: every way to stop a worker ends it, by its deadline."""

import signal

import pytest

from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import Workers
from .state import QueueState

# A connection attempt and an answer that never come are given up after these; a busy machine may need more.
PATIENCE = {"connect_timeout_ms": 700, "socket_timeout_ms": 700}


def impatient(server: RedisServer) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": server.port, **PATIENCE}


@pytest.mark.parametrize(
    ("flavour", "number"),
    [
        ("sync", signal.SIGTERM),
        ("sync", signal.SIGINT),
        ("asyncio", signal.SIGTERM),
        ("trio", signal.SIGINT),
    ],
)
def test_f14_a_signal_drains(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str, number: signal.Signals
) -> None:
    worker = workers.start(flavour, concurrency=1)
    queue.add("running", {"wait_ms": 800})
    ledger.wait_for_starts(1)
    waiting = queue.add("waiting", {})
    worker.signal(number)
    assert worker.wait(within=20) == 0
    assert len(ledger.ends()) == 1
    assert state.waiting_or_running() == 1
    assert not ledger.starts(waiting.id)
    assert state.leader() == ""


def test_f14_the_second_signal_does_not_wait(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, handler_form: str
) -> None:
    worker = workers.start(handler_form, lease_ms=1_000, drain_timeout_ms=300_000)
    job = queue.add("stuck", {"wait_ms": 600_000})
    ledger.wait_for_starts(1)
    worker.signal(signal.SIGTERM)
    wait_until(lambda: worker.has_written("closing"), "it drains")
    worker.signal(signal.SIGINT)
    worker.wait(within=20)
    workers.start("sync", lease_ms=1_000)
    wait_until(lambda: len(ledger.starts(job.id)) == 2, "the job is taken over")


def test_f14_the_drain_has_a_deadline(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    worker = workers.start(flavour, drain_timeout_ms=500)
    queue.add("stuck", {"wait_ms": 600_000})
    ledger.wait_for_starts(1)
    assert worker.stop(within=20) == 0
    assert state.waiting_or_running() == 1


def test_f14_signals_during_the_start(server: RedisServer, workers: Workers, ledger: Ledger, flavour: str) -> None:
    """At any moment from the first instruction on; several at once."""
    started = [workers.launch(flavour) for _ in range(6)]
    for number, worker in enumerate(started):
        wait_until(
            lambda worker=worker, number=number: worker.has_written("ready") or number < 3 or not worker.is_alive
        )
        worker.signal(signal.SIGTERM)
        worker.signal(signal.SIGINT)
    for worker in started:
        worker.wait(within=30)


def test_f14_a_signal_while_the_server_does_not_answer_the_first_words(
    own_server: RedisServer, workers: Workers, flavour: str
) -> None:
    own_server.pause()
    worker = workers.launch(flavour, connection=impatient(own_server))
    wait_until(lambda: own_server.pid and worker.is_alive)
    worker.signal(signal.SIGTERM)
    worker.wait(within=30)
    own_server.resume()


@pytest.mark.parametrize("trouble", ["gone", "frozen"])
def test_f14_a_signal_while_the_server_is_away(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, flavour: str, trouble: str
) -> None:
    worker = workers.start(flavour, connection=impatient(own_server), drain_timeout_ms=1_000)
    queue.add("job", {"wait_ms": 300})
    ledger.wait_for_starts(1)
    if trouble == "gone":
        own_server.kill()
    else:
        own_server.pause()
    ledger.wait_for_ends(1)  # and now its end cannot be written
    worker.signal(signal.SIGTERM)
    assert worker.wait(within=40) == 0
    own_server.resume()
