"""The worker without its waiting: arrival, start, end, settling, leaving."""

import logging
from collections import deque

import pytest

from chasquimq._core import worker as worker_module
from chasquimq._core.keys import GROUP, HANDED_BACK, QueueKeys
from chasquimq._core.outcome import DeadLetter, Retry
from chasquimq._core.worker import WorkerCore
from chasquimq._core.worker_settings import worker_settings
from chasquimq.errors import (
    LeaseLostError,
    PayloadDecodeError,
    PayloadEncodeError,
    ServerReplyError,
    UnrecoverableError,
)
from chasquimq.job import BaseJob
from chasquimq.options import WorkerOptions
from tests.unit.clock import FakeClock
from tests.unit.entries import CREATED_MS, entry, parsed
from tests.unit.resp import CLASSIC, NEWEST, answer, command, commands, error, scripted
from tests.unit.settling import SettlingServer, book_answers

KEYS = QueueKeys("q")


class Core(WorkerCore):
    """A worker core with a clock that stands still, and a record of what its listeners hear."""

    def __init__(self, *, listening=("active", "completed", "failed"), **options):
        self.clock = FakeClock()
        self.heard = []
        super().__init__(
            KEYS,
            worker_settings(WorkerOptions(name="c-1", **options), "unused"),
            BaseJob,
            clock=self.clock,
            draw=lambda: 0.5,
            emit=lambda *event: self.heard.append(event),
            listened=listening,
        )

    def receive(self, *entries):
        """Entries arrive that were asked for just now."""
        return self.arrived(list(entries), self.clock.monotonic_ms())

    def run(self, *entries):
        """The jobs of entries that arrive and start at once."""
        self.receive(*entries)
        return [self.start(self.ready.popleft()) for _ in range(len(self.ready))]

    def taken(self):
        return self.settlement.take()


# -- arrival ---------------------------------------------------------------------------------------------------


def test_what_arrives_is_leased_from_the_time_its_read_was_sent():
    core = Core()
    first, second = entry(1), entry(2)
    sent_at = core.clock.monotonic_ms()
    core.clock.advance(4_000)
    assert core.arrived([first, second], sent_at) == 2
    assert core.ready == deque([first, second])
    assert core.book.ids() == [b"1-1", b"1-2"]
    assert first.lease_until == second.lease_until == sent_at + 30_000


def test_our_own_entry_that_comes_again_is_being_worked_on():
    core = Core()
    core.receive(entry(1))
    core.ready.popleft()
    assert core.receive(entry(1, deliveries=1), entry(2)) == 1
    assert [each.entry_id for each in core.ready] == [b"1-2"]
    core.receive(entry(2), entry(2))
    assert [each.entry_id for each in core.ready] == [b"1-2"]


@pytest.mark.parametrize("late_by", [0, 1, 3_600_000])
def test_what_arrives_after_its_lease_is_left_to_others(late_by, caplog):
    core = Core()
    sent_at = core.clock.monotonic_ms()
    core.clock.advance(30_000 + late_by)
    assert core.arrived([entry(1)], sent_at) == 0
    assert (len(core.ready), len(core.book)) == (0, 0)
    assert "dropped 1 entries" in caplog.text
    core.clock.advance(-1 - late_by)
    assert core.arrived([entry(1)], sent_at) == 1


def test_what_may_not_run_goes_to_the_dead_letters_and_counts_as_held():
    core = Core()
    refused = [parsed("1-1", [b"x", b"y"]), entry(2, attempt=3), entry(3, deliveries=4), entry(4, max_attempts=0)]
    assert core.receive(*refused, entry(5)) == 1
    assert len(core.book) == 5
    batch = core.taken()
    assert [failure.entry for failure in batch.failures] == refused
    assert [failure.end.reason for failure in batch.failures] == ["malformed"] + ["retries_exhausted"] * 3
    assert {failure.reason for failure in batch.failures} == {None}


def test_arrivals_are_reported_even_if_those_before_are_taken_meanwhile(monkeypatch):
    # Nobody else wakes a consumer for them.
    core = Core()
    core.receive(entry(1))
    take_in = worker_module.take_in

    def while_a_consumer_takes_the_one_before(*arguments):
        core.ready.popleft()
        return take_in(*arguments)

    monkeypatch.setattr(worker_module, "take_in", while_a_consumer_takes_the_one_before)
    assert core.receive(entry(2)) >= 1


def test_drained_is_told_once_when_a_read_finds_nothing_after_work():
    core = Core()
    core.receive()
    assert core.taken() is None
    core.receive(entry(1))
    core.receive()
    assert core.taken().drained_ms == core.clock.wall_ms()
    core.receive()
    assert core.taken() is None


def test_it_asks_for_what_it_can_start():
    core = Core(concurrency=3)
    assert core.wanted() == 3
    core.receive(entry(1), entry(2))
    assert core.wanted() == 1
    core.receive(entry(3))
    assert core.wanted() == 0
    assert b"COUNT" in command(core.read(3, NEWEST))


# -- start -----------------------------------------------------------------------------------------------------


def test_a_started_job_has_everything_a_handler_may_ask_for():
    core = Core()
    (job,) = core.run(entry(7, data={"to": "ada"}, attempt=2, max_attempts=9, deliveries=3, name="mail"))
    assert (job.id, job.name, job.data, job.timestamp) == ("job-7", "mail", {"to": "ada"}, CREATED_MS)
    assert (job.attempts_made, job.deliveries, job.redelivered) == (3, 3, True)
    assert job.processed_on == core.clock.wall_ms()
    assert (job.opts.attempts, job.opts.job_id) == (9, "job-7")
    assert core.heard == [("active", job, "")]
    assert [each.job_id for each in core.taken().started] == ["job-7"]


def test_without_a_listener_nobody_is_called():
    core = Core(listening=())
    (job,) = core.run(entry(1))
    core.complete(job, None)
    assert core.heard == []


@pytest.mark.parametrize("reason", ["over", "lost"])
def test_an_entry_whose_lease_is_in_doubt_is_not_started(reason):
    core = Core()
    core.receive(entry(1))
    waiting = core.ready.popleft()
    if reason == "over":
        core.clock.advance(30_000)
    else:
        waiting.lost = True
    assert core.start(waiting) is None
    assert len(core.book) == 0
    assert core.taken() is None
    assert core.heard == []


def test_a_payload_that_cannot_be_decoded_is_a_failed_run_that_is_tried_again():
    core = Core()
    assert core.run(entry(1, payload=b"\xc1")) == [None]
    (failure,) = core.taken().failures
    assert isinstance(failure.end, Retry)
    event, job, told, _ = core.heard[0]
    assert (event, type(told)) == ("failed", PayloadDecodeError)
    assert job.data is None
    assert job.failed_reason == failure.reason
    assert core.run(entry(2, payload=b"", attempt=2)) == [None]
    assert core.taken().failures[0].end.reason == "retries_exhausted"


# -- end -------------------------------------------------------------------------------------------------------


def test_a_completed_job_is_acknowledged_and_its_duration_told():
    core = Core()
    (job,) = core.run(entry(1))
    core.clock.advance(12.5)
    core.complete(job, {"ok": True})
    assert job.returnvalue == {"ok": True}
    assert job.finished_on == job.processed_on + 12
    assert core.heard[-1] == ("completed", job, {"ok": True}, "")
    (ended,) = core.taken().completed
    assert (ended.finished_on, ended.duration_us, ended.result) == (job.finished_on, 12_500, None)


class Unmeasurable:
    def __len__(self):
        raise RuntimeError("the session is closed")


class Unreadable(dict):
    def items(self):
        raise RuntimeError("the session is closed")


@pytest.mark.parametrize("value", [Unmeasurable(), Unreadable(a=1)], ids=lambda value: type(value).__name__)
def test_a_value_that_cannot_be_looked_into_does_not_undo_what_was_done(value):
    core = Core(store_results=True)
    (job,) = core.run(entry(1))
    core.complete(job, value)
    (ended,) = core.taken().completed
    assert (ended.result, ended.shown) == (None, None)
    assert core.heard[-1] == ("completed", job, value, "")
    told = core.heard[-2]
    assert told[0] == "error"
    assert any("its return value is not stored" in note for note in told[1].__notes__)


@pytest.mark.parametrize(
    ("value", "stored"),
    [(None, None), (False, b"\xc2"), (0, b"\x00"), ("", b"\xa0"), ({"ok": True}, b"\x81\xa2ok\xc3")],
)
def test_a_result_is_stored_when_asked_for_unless_it_is_none(value, stored):
    core = Core(store_results=True)
    (job,) = core.run(entry(1))
    core.complete(job, value)
    assert core.taken().completed[0].result == stored


def test_a_result_that_cannot_be_stored_is_told_and_the_job_is_completed_all_the_same():
    core = Core(store_results=True)
    (job,) = core.run(entry(1))
    core.complete(job, {1, 2})
    batch = core.taken()
    assert [each.result for each in batch.completed] == [None]
    assert batch.failures == []
    told = dict(zip(["event", "error"], core.heard[1], strict=True))
    assert (told["event"], type(told["error"])) == ("error", PayloadEncodeError)
    assert "job-1" in told["error"].__notes__[0]
    assert core.heard[2][0] == "completed"


def test_a_failed_job_is_retried_by_the_workers_policy():
    core = Core(backoff={"type": "fixed", "delay": 70}, max_attempts=2)
    (job,) = core.run(entry(1))
    core.clock.advance(3)
    failed = ValueError("boom")
    core.fail(job, failed)
    assert core.heard[-1] == ("failed", job, failed, "")
    assert (job.failed_reason, job.finished_on) == ("boom", job.processed_on + 3)
    (failure,) = core.taken().failures
    assert (failure.end.wait_ms, failure.end.coming_run, failure.reason) == (70, 2, "boom")
    assert failure.entry.duration_us == 3_000


def test_the_last_failure_and_an_unrecoverable_one_are_dead_letters(caplog):
    core = Core()
    first, second = core.run(entry(1, attempt=2), entry(2))
    core.fail(first, ValueError("boom"))
    core.fail(second, UnrecoverableError("no"))
    ends = [failure.end for failure in core.taken().failures]
    assert [type(end) for end in ends] == [DeadLetter, DeadLetter]
    assert [end.reason for end in ends] == ["retries_exhausted", "unrecoverable"]
    assert "goes to the dead-letter queue after run 3" in caplog.text


def test_a_clock_that_jumps_back_makes_no_negative_duration():
    core = Core()
    (job,) = core.run(entry(1))
    core.clock.monotonic -= 5_000
    core.complete(job, None)
    (ended,) = core.taken().completed
    assert (ended.duration_us, job.finished_on) == (0, job.processed_on)


def test_no_log_line_and_no_repr_shows_data(caplog):
    caplog.set_level(logging.DEBUG, "chasquimq")
    core = Core()
    (job,) = core.run(entry(1, data="secret", attempt=2))
    core.fail(job, ValueError("boom"))
    assert "boom" in caplog.text
    assert "secret" not in caplog.text + repr(job)


def test_progress_is_handed_to_the_listeners():
    core = Core()
    (job,) = core.run(entry(1))
    core.progressed(job, 50)
    assert core.heard[-1] == ("progress", job, 50)


# -- settling --------------------------------------------------------------------------------------------------


def test_a_batch_is_taken_with_its_calls_and_booked():
    core = Core()
    assert core.take_batch(NEWEST) is None
    (job,) = core.run(entry(1))
    core.complete(job, None)
    batch, calls = core.take_batch(NEWEST)
    book_answers(calls, SettlingServer(NEWEST, [b"1-1"]).run(calls))
    core.settled(batch)
    assert (len(core.book), core.settlement.is_empty) == (0, True)


@pytest.mark.parametrize(
    ("options", "gathers"), [({}, True), ({"store_results": True}, False), ({"ack": "each"}, False)], ids=str
)
def test_ends_gather_unless_somebody_waits_for_them(options, gathers):
    core = Core(**options)
    for _ in range(20):  # one ends every millisecond
        core.clock.advance(20)
        for _ in range(20):
            core._runs.count_end()
        core.wanted()
    assert bool(core.gathering_ms) is gathers


def test_what_went_wrong_while_settling_is_told(caplog):
    core = Core(store_results=True, listening=())
    lost, unstored, refused = core.run(entry(1), entry(2), entry(3))
    core.complete(lost, None)
    core.complete(unstored, 1)
    core.fail(refused, ValueError())
    batch, calls = core.take_batch(NEWEST)
    server = SettlingServer(NEWEST, [b"1-2", b"1-3"])
    server.unstorable, server.refuses = {b"1-2"}, {"retry_jobs"}
    book_answers(calls, server.run(calls))
    core.settled(batch)
    (_, first), (_, second) = core.heard
    assert isinstance(first, LeaseLostError)
    assert "job-1" in str(first)
    assert isinstance(second, ServerReplyError)
    assert second.code == "OOM"
    assert "job-2 is completed, but the server had no room" in caplog.text
    assert core.book.ids() == [b"1-3"]


class Odd(Exception):
    def __str__(self):
        return "\ud800"


Odd.__qualname__ = "Odd\udfff"


@pytest.mark.parametrize("error", [Odd(), ValueError("x" * 10**6), ExceptionGroup("g", [Odd()]), KeyError("\0\r\n")])
def test_no_error_of_a_handler_can_spoil_the_batch_that_others_are_in(error):
    core = Core(max_attempts=1)
    good, bad = core.run(entry(1), entry(2))
    core.complete(good, None)
    core.fail(bad, error)
    _, calls = core.take_batch(NEWEST)
    server = SettlingServer(NEWEST, [b"1-1", b"1-2"])
    book_answers(calls, server.run(calls))
    assert server.ends == [("acked", b"1-1"), ("dead_letter", b"1-2")]


def test_a_lost_lease_is_logged_and_told(caplog):
    core = Core()
    core.lease_lost(entry(1), "a test says so")
    assert core.heard[0][0] == "error"
    assert isinstance(core.heard[0][1], LeaseLostError)
    assert "a test says so" in caplog.text


# -- leaving ---------------------------------------------------------------------------------------------------


def test_what_has_not_started_is_forgotten_and_what_runs_is_kept():
    core = Core()
    core.receive(entry(1), entry(2), entry(3))
    core.start(core.ready.popleft())
    assert core.drop_ready() == 2
    assert (len(core.ready), core.book.ids()) == (0, [b"1-1"])
    assert core.drop_ready() == 0


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_everything_that_is_not_held_is_handed_back(profile):
    core = Core()
    core.receive(entry(1), entry(2))
    core.start(core.ready.popleft())
    core.drop_ready()
    call = core.release(profile)
    keys, arguments = scripted(command(call), "release_consumer", profile)
    assert keys == [KEYS.stream]
    assert arguments == [GROUP, b"c-1", HANDED_BACK, b"86400000", b"1", b"1-1"]
    assert call.idempotent
    assert commands(call.eval_form(0))[0][2:] == command(call)[2:]
    assert answer(call, [1, 1]) == [1, 1]
    with pytest.raises(ServerReplyError, match=r"worker\.release"):
        answer(call, error("NOGROUP x"))


def test_a_run_that_was_given_up_is_handed_back_as_one_that_was_started():
    core = Core()
    for each in (entry(1), entry(2), entry(3)):
        core.receive(each)
        core.start(core.ready.popleft())
    core.give_up(core.book.held[b"1-2"])
    assert core.book.ids() == [b"1-1", b"1-3"]
    _, arguments = scripted(command(core.release(NEWEST)), "release_consumer", NEWEST)
    assert arguments[4:] == [b"2", b"1-1", b"1-3", b"1-2"]


def test_a_leaving_worker_gives_its_leader_locks_up():
    locks = [scripted(command(call), "release_lock", NEWEST) for call in Core().release_locks(NEWEST)]
    assert locks == [([KEYS.promoter_lock], [b"c-1"]), ([KEYS.scheduler_lock], [b"s-c-1"])]
    assert len(Core(run_scheduler=False).release_locks(NEWEST)) == 1
