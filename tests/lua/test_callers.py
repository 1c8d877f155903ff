"""The Calls of the core and the scripts agree: what the one sends, the other understands, on every server."""

import pytest

from chasquimq._core.keys import GROUP, HANDED_BACK
from chasquimq._core.worker import WorkerCore
from chasquimq._core.worker_settings import worker_settings
from chasquimq.errors import UnrecoverableError
from chasquimq.job import BaseJob
from chasquimq.options import WorkerOptions
from tests.unit.clock import FakeClock
from tests.unit.entries import envelope
from tests.unit.resp import commands


@pytest.fixture
def core(place):
    settings = worker_settings(WorkerOptions(name="c-1", store_results=True), "unused")
    worker = WorkerCore(
        place.keys,
        settings,
        BaseJob,
        clock=FakeClock(),
        draw=lambda: 0.5,
        emit=lambda *_: None,
        listened=(),
    )
    run(place, worker.reading.create_group(place.profile))
    return worker


def run(place, call):
    """Runs a Call by the text of its script, past everything that is not the core or the server."""
    connection = place.client.connection_pool.get_connection()
    try:
        sent = commands(call.request) if call.eval_form is None else commands(call.eval_form(0))
        assert len(sent) == call.replies
        replies = []
        for command in sent:
            connection.send_command(*command)
            replies.append(connection.read_response())
        return call.parse(replies)
    finally:
        place.client.connection_pool.release(connection)


def receive(place, core, count):
    for number in range(count):
        place.client.xadd(place.keys.stream, {"d": envelope(f"job-{number}"), "n": "w"})
    sent_at = core._clock.monotonic_ms()
    assert core.arrived(run(place, core.reading.read(count, place.profile, block=False)), sent_at) == count
    return [core.start(core.ready.popleft()) for _ in range(count)]


def settle(place, core):
    batch, calls = core.take_batch(place.profile)
    for call in calls:
        run(place, call)
    core.settled(batch)
    return batch


def test_every_end_of_a_job_is_understood(place, core):
    acked, stored, retried, dead = receive(place, core, 4)
    core.complete(acked, None)
    core.complete(stored, {"ok": True})
    core.fail(retried, ValueError("boom"))
    core.fail(dead, UnrecoverableError("no"))
    batch = settle(place, core)
    assert (batch.lost, batch.unstored, batch.refusals) == ([], [], [])
    assert (place.pending(), place.stream(), len(core.book)) == ({}, [], 0)
    assert place.client.get(place.keys.result("job-1")) == b"\x81\xa2ok\xc3"
    assert (len(place.delayed()), len(place.dlq())) == (1, 1)
    kinds = [event[b"e"] for event in place.events()]
    assert kinds == [b"active"] * 4 + [b"completed"] * 2 + [b"failed"] * 2 + [b"retry-scheduled", b"dlq"]


def test_renewals_and_promotions_are_understood(place, core):
    receive(place, core, 2)
    held = list(core.book.held.values())
    call = core.book.renewal(held, place.keys, GROUP, b"c-1", place.profile)
    assert run(place, call) == [1, 1]
    promoted = run(place, core.promoter.promote(place.profile))
    assert (promoted.leads, promoted.job_ids) == (True, [])
    due = run(place, core.scheduling.due(place.profile))
    assert (due.leads, list(due.due)) == (True, [])
    assert [run(place, release) for release in core.release_locks(place.profile)] == [1, 1]


def test_a_claim_is_understood(place, core):
    core.complete(receive(place, core, 1)[0], None)
    place.make_idle(100_000, "dead", *place.pending())
    (taken,) = run(place, core.reading.claim(10, place.profile, 0.0))
    assert (taken.job_id, taken.deliveries) == ("job-0", 1)


def test_handing_back_with_runs_under_way_is_understood(place, core):
    receive(place, core, 3)
    running, given_up, waiting = list(core.book.held.values())
    core.give_up(given_up)
    core.book.drop(waiting.entry_id)
    assert run(place, core.release(place.profile)) == [2, 1]
    owner = HANDED_BACK.decode()
    assert place.pending() == {
        running.entry_id: ("c-1", 1),
        given_up.entry_id: (owner, 1),
        waiting.entry_id: (owner, 0),
    }
