"""F11, F50, F53: what handlers and writers may do to a worker without hurting it."""

import msgpack
import pytest

from chasquimq import PayloadTooLargeError
from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import Workers
from .state import QueueState
from .worker_program import RAISES, RETURNS


def test_f11_no_error_of_a_handler_hurts_its_worker(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, handler_form: str
) -> None:
    worker = workers.start(handler_form, concurrency=4)
    queue.add_bulk([("raises", {"raises": kind}, {"job_id": kind, "attempts": 1}) for kind in RAISES])
    wait_until(lambda: len(state.dead()) == len(RAISES) or not worker.is_alive, f"all dead; {worker.log_text()}")
    for kind in RAISES:
        queue.add("raises", {"raises": kind, "fails": 1}, attempts=2, backoff=1)
    wait_until(lambda: len(state.dead()) == 2 * len(RAISES), f"all dead again; {worker.log_text()}")
    job = queue.add_bulk([("fine", {})] * 8)[-1]
    wait_until(lambda: ledger.ends(job.id), "it works on")
    wait_until(state.is_empty, "acknowledged")
    assert {fields[b"reason"] for fields in state.dead()} == {b"retries_exhausted"}
    details = b"".join(fields[b"detail"] for fields in state.dead())
    assert b"ValueError: one" in details or b"ExceptionGroup: two" in details
    assert max(len(fields[b"detail"]) for fields in state.dead()) < 20_000
    assert worker.stop() == 0


def test_f11_a_result_that_cannot_be_stored_is_no_failure(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, handler_form: str
) -> None:
    """The work is done: running it again would not make its result storable."""
    worker = workers.start(handler_form, store_results=True, concurrency=4)
    queue.add_bulk([("odd", {"returns_odd": kind}, {"job_id": kind}) for kind in RETURNS])
    ledger.wait_for_ends(len(RETURNS))
    job = queue.add("fine", {"returns": 7})
    wait_until(lambda: queue.get_job_result(job.id) == 7, "it works on")
    wait_until(state.is_empty, "acknowledged")
    assert set(ledger.started().values()) == {1}
    assert state.dead() == []
    assert len(state.events("completed")) == len(RETURNS) + 1
    assert sum("PayloadEncodeError" in text for text in ledger.errors()) == len(RETURNS)
    assert worker.stop() == 0


def test_f50_a_giant_payload_is_refused_before_the_write(queue: Queue, state: QueueState) -> None:
    with pytest.raises(PayloadTooLargeError) as caught:
        queue.add("giant", "x" * (1 << 20))
    assert caught.value.size > caught.value.limit == 1 << 20
    with pytest.raises(PayloadTooLargeError):
        queue.add("giant", "x" * (1 << 20), delay=1_000, job_id="giant")
    assert not list(state.client.scan_iter(match=state.prefix.replace("{", "?").replace("}", "?") + "*"))


def test_f50_a_giant_entry_of_another_writer_is_set_aside(
    queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    payload = msgpack.packb("x" * (1 << 20))
    state.add_entry({b"d": msgpack.packb(["giant", payload, 1, 0]), b"n": b"giant"})
    workers.start()
    (dead,) = wait_until(state.dead, "the dead letter")
    assert (dead[b"reason"], dead[b"n"]) == (b"oversize_payload", b"giant")
    job = queue.add("fine", {})
    wait_until(lambda: ledger.ends(job.id), "it works on")


def test_f53_entries_of_other_versions(
    server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    """What a newer writer adds around the envelope is ignored; an envelope that says more than we know is set
    aside unrun, and neither stops the worker nor the replay of the others."""
    payload = msgpack.packb({})
    workers.start()
    state.add_entry({b"d": msgpack.packb(["extra field", payload, 1, 0]), b"v": b"2"})
    state.add_entry({b"d": msgpack.packb({"id": "map", "payload": payload, "created_at_ms": 1, "priority": 9})})
    state.add_entry({b"d": msgpack.packb(["longer", payload, 1, 0, None, "newer"])})
    queue.add("dies", {"unrecoverable": True}, job_id="dies")
    ledger.wait_for_ends(2)
    wait_until(lambda: len(state.dead()) == 2, "two dead letters")
    assert set(ledger.ended()) == {"extra field", "map"}
    assert queue.replay_dlq(1) == 1
    wait_until(lambda: len(ledger.starts("dies")) == 2, "the other one is replayed past it")
