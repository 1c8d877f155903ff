"""Settling: what is written for which end, in which order, and what becomes of the answers."""

import pytest

from chasquimq._core.keys import GROUP
from chasquimq._core.outcome import DeadLetter
from tests.unit.entries import parsed
from tests.unit.resp import CLASSIC, NEWEST, XACKDEL, command, commands, error, pairs, scripted
from tests.unit.settling import AT, DEAD, KEYS, LEASE, NOW, RETRY, Worker, book_answers

PROFILES = pytest.mark.parametrize("profile", [CLASSIC, XACKDEL, NEWEST], ids=lambda p: p.version)

# -- what is written -------------------------------------------------------------------------------------------


def test_nothing_ended_is_nothing_to_write():
    worker = Worker()
    assert worker.settlement.is_empty
    assert worker.settlement.take() is None


def test_with_a_certain_lease_completed_jobs_are_acknowledged_in_one_command():
    worker = Worker(NEWEST, events=False, numbers=range(3))
    for each in worker.entries:
        worker.complete(each)
    (call,) = worker.calls()
    assert command(call) == [b"XACKDEL", KEYS.stream, b"default", b"IDS", b"3", b"1-0", b"1-1", b"1-2"]
    assert call.idempotent


LEASES = pytest.mark.parametrize(
    ("age", "lost", "asks_for"),
    [(0.899, False, b""), (0.9, False, b"c-1"), (2.0, False, b"c-1"), (0.0, True, b"c-1")],
    ids=["a tenth is left", "less is left", "over", "known to be lost"],
)


@LEASES
def test_a_server_without_that_command_is_asked_for_the_owner_only_in_doubt(age, lost, asks_for):
    worker = Worker(CLASSIC, events=False)
    worker.entries[0].lost = lost
    worker.complete(worker.entries[0])
    (call,) = worker.calls(NOW + LEASE * age)
    assert scripted(command(call), "ack_owned", CLASSIC) == ([KEYS.stream], [GROUP, asks_for, b"1-0"])


@pytest.mark.parametrize(("age", "lost"), [(0.9, False), (2.0, False), (0.0, True)])
def test_in_doubt_every_server_looks_who_owns_them(age, lost):
    worker = Worker(NEWEST, events=False)
    worker.entries[0].lost = lost
    worker.complete(worker.entries[0])
    (call,) = worker.calls(NOW + LEASE * age)
    assert scripted(command(call), "ack_owned", NEWEST) == ([KEYS.stream], [GROUP, b"c-1", b"1-0"])


@PROFILES
def test_a_result_is_stored_in_the_same_step_as_its_acknowledgement(profile):
    worker = Worker(profile, events=False, numbers=range(2))
    worker.complete(worker.entries[0], b"\xc3")
    worker.complete(worker.entries[1], b"\x01")
    (call,) = worker.calls()
    keys, arguments = scripted(command(call), "complete_jobs", profile)
    assert keys == [KEYS.stream, KEYS.result("job-0"), KEYS.result("job-1")]
    assert arguments == [GROUP, b"", b"3600", b"1-0", b"\xc3", b"1-1", b"\x01"]


@PROFILES
@LEASES
def test_a_result_whose_lease_is_doubtful_asks_for_the_owner(profile, age, lost, asks_for):
    worker = Worker(profile, events=False)
    worker.entries[0].lost = lost
    worker.complete(worker.entries[0], b"\xc3")
    (call,) = worker.calls(NOW + LEASE * age)
    keys, arguments = scripted(command(call), "complete_jobs", profile)
    assert keys == [KEYS.stream, KEYS.result("job-0")]
    assert arguments == [GROUP, asks_for, b"3600", b"1-0", b"\xc3"]


@PROFILES
def test_a_retry_is_moved_with_all_that_its_event_needs(profile):
    worker = Worker(profile)
    worker.fail(worker.entries[0], RETRY)
    call = worker.calls()[-1]
    keys, arguments = scripted(command(call), "retry_jobs", profile)
    assert keys == [KEYS.stream, KEYS.delayed, KEYS.wake, KEYS.events]
    assert arguments == [GROUP, b"", b"100000", b"1-0", b"250", b"member", b"job-0", b"send", b"2"]


@PROFILES
@LEASES
def test_a_retry_whose_lease_is_doubtful_asks_for_the_owner(profile, age, lost, asks_for):
    worker = Worker(profile)
    worker.entries[0].lost = lost
    worker.fail(worker.entries[0], RETRY)
    _, arguments = scripted(command(worker.calls(NOW + LEASE * age)[-1]), "retry_jobs", profile)
    assert arguments[1] == asks_for


@pytest.mark.parametrize("lease", [100, 3_000, 30_000, 600_000])
def test_a_lease_is_doubtful_before_it_is_over_because_the_command_is_still_on_its_way(lease):
    """A margin of 0 would acknowledge, without a look, what another worker may have by the time that it arrives."""
    worker = Worker(NEWEST, events=False)
    worker.book.lease_ms = lease
    worker.entries[0].lease_until = worker.book.lease_from(NOW)
    worker.complete(worker.entries[0])
    (call,) = worker.calls(NOW + lease - 1)
    assert scripted(command(call), "ack_owned", NEWEST) == ([KEYS.stream], [GROUP, b"c-1", b"1-0"])


@PROFILES
def test_a_dead_letter_is_moved_with_its_reason(profile):
    worker = Worker(profile, events=False)
    worker.fail(worker.entries[0], DEAD)
    (call,) = worker.calls()
    keys, arguments = scripted(command(call), "dead_letter", profile)
    assert keys == [KEYS.stream, KEYS.dlq, KEYS.events]
    head, row = arguments[:4], arguments[4:]
    assert head == [GROUP, b"c-1", b"", b"100000"]
    assert row == [b"1-0", worker.entries[0].raw, b"send", b"unrecoverable", b"ValueError: boom", b"job-0", b"1"]


def test_what_cannot_be_decoded_has_no_id_to_show_and_no_failed_event():
    worker = Worker()
    broken = parsed("1-9", [b"d", b"\xc1\xc1", b"n", b"nm"])
    worker.hold(broken)
    worker.fail(broken, DeadLetter("decode_failed", broken.detail, 0, show_id=False), reason=None)
    (call,) = worker.calls()
    _, arguments = scripted(command(call), "dead_letter", NEWEST)
    assert arguments[4:] == [b"1-9", b"\xc1\xc1", b"", b"decode_failed", broken.detail.encode(), b"", b"0"]


def test_parts_are_as_large_as_one_command_should_be():
    worker = Worker(NEWEST, events=False, numbers=range(600 + 3 * 150))
    kinds = ["acked"] * 600 + ["stored", "retried", "dead"] * 150
    for each, kind in zip(worker.entries, kinds, strict=True):
        worker.end(each, kind)
    calls = worker.calls()
    sizes = {}
    for call, kind in zip(calls, worker.kinds(calls), strict=True):
        count = sum(each.entry_id in command(call) for each in worker.entries)
        sizes.setdefault(kind, []).append(count)
    assert sizes == {
        "XACKDEL": [256, 256, 88],
        "complete_jobs": [64, 64, 22],
        "retry_jobs": [64, 64, 22],
        "dead_letter": [64, 64, 22],
    }


# -- events ----------------------------------------------------------------------------------------------------


def test_events_come_first_in_one_call_starts_before_ends():
    worker = Worker(numbers=range(2))
    worker.complete(worker.entries[0])
    worker.fail(worker.entries[1], RETRY)
    worker.settlement.drained(AT + 9)
    calls = worker.calls()
    assert worker.kinds(calls) == ["XADD", "XACKDEL", "retry_jobs"]
    written = commands(calls[0].request)
    assert calls[0].replies == len(written) == 5
    for sent in written:
        assert sent[:6] == [b"XADD", KEYS.events, b"MAXLEN", b"~", b"100000", b"*"]
    fields = [pairs(sent[6:]) for sent in written]
    at, end = b"%d" % AT, b"%d" % (AT + 3)
    job_0, job_1 = {b"id": b"job-0", b"n": b"send"}, {b"id": b"job-1", b"n": b"send"}
    assert fields == [
        {b"e": b"active", **job_0, b"ts": at, b"attempt": b"1"},
        {b"e": b"active", **job_1, b"ts": at, b"attempt": b"1"},
        {b"e": b"completed", **job_0, b"ts": end, b"attempt": b"1", b"duration_us": b"2707"},
        {b"e": b"failed", **job_1, b"ts": end, b"attempt": b"1", b"reason": b"boom", b"duration_us": b"3545"},
        {b"e": b"drained", b"id": b"", b"ts": b"%d" % (AT + 9)},
    ]
    assert [sent[6::2] for sent in written][3] == [b"e", b"id", b"ts", b"n", b"attempt", b"reason", b"duration_us"]


def test_a_start_is_told_without_waiting_for_its_end():
    worker = Worker()
    worker.start(worker.entries[0])
    assert not worker.settlement.is_empty
    (call,) = worker.calls()
    assert worker.kinds([call]) == ["XADD"]
    assert worker.settlement.is_empty


def test_without_events_nothing_is_noted_for_them():
    worker = Worker(events=False)
    worker.start(worker.entries[0])
    worker.settlement.drained(AT)
    assert worker.settlement.is_empty


def test_a_server_without_room_for_events_still_settles():
    worker = Worker()
    server = worker.server()
    server.refuses = {"events"}
    worker.complete(worker.entries[0])
    batch = worker.write(server)
    assert (batch.refusals, batch.again, batch.lost) == ([], [], [])
    assert server.ends == [("acked", b"1-0")]
    assert worker.settlement.is_empty


# -- answers ---------------------------------------------------------------------------------------------------


@PROFILES
@pytest.mark.parametrize("kind", ["acked", "stored", "retried", "dead"])
def test_a_settled_entry_leaves_the_book(profile, kind):
    worker = Worker(profile)
    worker.end(worker.entries[0], kind)
    batch = worker.write(worker.server())
    assert (len(worker.book), batch.lost, batch.unstored) == (0, [], [])


@PROFILES
@pytest.mark.parametrize("kind", ["acked", "stored", "retried", "dead"])
def test_an_entry_that_is_not_ours_any_more_is_reported_lost(profile, kind):
    worker = Worker(profile)
    worker.end(worker.entries[0], kind)
    server = worker.server()
    server.pending.clear()
    batch = worker.write(server)
    assert batch.lost == worker.entries
    assert (len(worker.book), worker.settlement.is_empty) == (0, True)


def test_completed_without_room_for_the_result_is_completed():
    worker = Worker(numbers=range(2))
    for each in worker.entries:
        worker.complete(each, b"\xc3")
    server = worker.server()
    server.unstorable = {b"1-1"}
    batch = worker.write(server)
    assert (batch.unstored, batch.lost) == ([worker.entries[1]], [])
    assert len(worker.book) == 0


def test_what_the_server_refuses_stays_ours_and_is_settled_again():
    worker = Worker(numbers=range(4))
    kinds = ["acked", "stored", "retried", "dead"]
    for each, kind in zip(worker.entries, kinds, strict=True):
        worker.end(each, kind)
    server = worker.server()
    server.refuses = {"complete_jobs", "dead_letter"}
    batch = worker.write(server)
    assert [refusal.code for refusal in batch.refusals] == ["OOM", "OOM"]
    assert worker.book.ids() == [b"1-1", b"1-3"]
    assert server.ends == [("acked", b"1-0"), ("retry_jobs", b"1-2")]
    server.refuses = set()
    batch = worker.write(server)
    assert (batch.refusals, batch.lost, len(worker.book)) == ([], [], 0)
    assert server.ends[2:] == [("complete_jobs", b"1-1"), ("dead_letter", b"1-3")]


def test_with_the_group_the_entries_are_lost_and_nothing_is_repeated():
    worker = Worker()
    worker.complete(worker.entries[0])
    batch = worker.settlement.take()
    calls = worker.settlement.calls(batch, NEWEST, NOW)
    book_answers(calls, [[b"1-1"] * calls[0].replies, [error("NOGROUP No such consumer group")]])
    worker.settlement.booked(batch)
    assert (batch.lost, batch.refusals, len(worker.book)) == (worker.entries, [], 0)
    assert worker.settlement.is_empty


# -- a broken connection ---------------------------------------------------------------------------------------


def test_putting_back_keeps_everything_in_its_order_before_what_came_since():
    worker = Worker(numbers=range(8))
    first, later = worker.entries[:4], worker.entries[4:]
    kinds = ["acked", "stored", "retried", "dead"]
    for each, kind in zip(first, kinds, strict=True):
        worker.end(each, kind)
    worker.settlement.drained(AT)
    batch = worker.settlement.take()
    for each, kind in zip(later, kinds, strict=True):
        worker.end(each, kind)
    worker.settlement.put_back(batch)
    again = worker.settlement.take()
    assert again.started == worker.entries
    assert again.completed == [first[0], first[1], later[0], later[1]]
    assert [failure.entry for failure in again.failures] == [first[2], first[3], later[2], later[3]]
    assert again.drained_ms == AT
    assert worker.settlement.is_empty


def test_a_later_drained_is_not_overwritten_by_an_earlier_one():
    worker = Worker()
    worker.settlement.drained(AT)
    batch = worker.settlement.take()
    worker.settlement.drained(AT + 5)
    worker.settlement.put_back(batch)
    assert worker.settlement.take().drained_ms == AT + 5


@PROFILES
@pytest.mark.parametrize("kind", ["acked", "stored", "retried", "dead"])
def test_an_end_that_arrived_although_its_answer_was_lost_is_no_lost_lease(profile, kind):
    worker = Worker(profile)
    worker.end(worker.entries[0], kind)
    server = worker.server()
    batch = worker.settlement.take()
    server.run(worker.settlement.calls(batch, profile, NOW))
    worker.settlement.put_back(batch)
    batch = worker.write(server)
    assert (batch.lost, batch.unstored, batch.refusals) == ([], [], [])
    assert len(server.ends) == 1
    assert len(worker.book) == 0


def test_doubt_about_one_answer_is_not_doubt_about_later_ones():
    worker = Worker(numbers=range(2))
    first, second = worker.entries
    worker.complete(first)
    worker.settlement.put_back(worker.settlement.take())
    server = worker.server()
    worker.write(server)
    worker.complete(second)
    server.pending.clear()
    assert worker.write(server).lost == [second]


def test_until_its_end_is_booked_an_entry_cannot_be_found_lost():
    worker = Worker(numbers=range(2))
    first, _ = worker.entries
    worker.complete(first)
    batch = worker.settlement.take()
    assert worker.book.renewed(worker.entries, [0, 1], NOW) == []
    # The end may have been written although its answer was lost.
    worker.settlement.put_back(batch)
    assert worker.book.renewed(worker.entries, [0, 1], NOW) == []
    server = worker.server()
    server.refuses = {"XACKDEL"}
    worker.write(server)
    assert worker.book.renewed(worker.entries, [0, 1], NOW) == [first]
