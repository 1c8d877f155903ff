"""When a worker promotes, and what follows a promotion."""

import pytest

from chasquimq._core.keys import QueueKeys
from chasquimq._core.promoter import (
    BATCH,
    FOLLOWER_POLL_MS,
    FOREIGN_MEMORY_MS,
    FOREIGN_POLL_MS,
    IDLE_POLL_MS,
    Promoted,
    Promoter,
)
from chasquimq.errors import ServerReplyError
from tests.unit.resp import CLASSIC, NEWEST, answer, command, commands, error, scripted

KEYS = QueueKeys("q")
SERVER_NOW = 1_795_489_845_000
NOW = 5_000.0


@pytest.fixture
def promoter():
    return Promoter(KEYS, b"c-1", events=True)


def result(*, promotes=0, next_due=-1, set_aside=0, leads=True, server_now=SERVER_NOW):
    return Promoted(leads, server_now, next_due, set_aside, [b"job-%d" % number for number in range(promotes)])


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_promoting_is_one_script_under_the_lock(promoter, profile):
    call = promoter.promote(profile)
    keys, arguments = scripted(command(call), "promote_due", profile)
    assert keys == [KEYS.delayed, KEYS.stream, KEYS.dlq, KEYS.promoter_lock, KEYS.wake]
    assert arguments == [b"c-1", b"5", b"256", b"100000", b"0"]
    assert call.idempotent
    assert commands(call.eval_form(0))[0][2:] == command(call)[2:]


@pytest.mark.parametrize(
    ("reply", "promoted"),
    [
        ([1, SERVER_NOW, -1, 0], Promoted(True, SERVER_NOW, -1, 0, [])),
        ([1, SERVER_NOW, SERVER_NOW + 5, 2, b"a", b""], Promoted(True, SERVER_NOW, SERVER_NOW + 5, 2, [b"a", b""])),
        ([0, SERVER_NOW, 4_999], Promoted(False, SERVER_NOW, -1, 0, ())),
    ],
)
def test_the_answer_of_the_script_is_read(promoter, reply, promoted):
    assert answer(promoter.promote(CLASSIC), reply) == promoted


def test_an_error_is_raised_and_promoting_is_tried_again_in_a_moment(promoter):
    with pytest.raises(ServerReplyError, match=r"worker\.promote"):
        answer(promoter.promote(CLASSIC), error("WRONGTYPE x"))
    promoter.failed(NOW)
    assert promoter.next_at == NOW + FOREIGN_POLL_MS


def test_an_empty_set_is_only_looked_at(promoter):
    assert promoter.is_idle
    assert command(promoter.peek()) == [b"EXISTS", KEYS.delayed]
    promoter.peeked(answer(promoter.peek(), 0), NOW)
    assert promoter.is_idle
    assert promoter.listens
    assert promoter.next_at == NOW + IDLE_POLL_MS


def test_what_nobody_announced_is_promoted_at_once_and_looked_for_often(promoter):
    promoter.peeked(answer(promoter.peek(), 1), NOW)
    assert not promoter.is_idle
    assert promoter.next_at == NOW
    promoter.promoted(result(promotes=1), NOW)
    assert promoter.is_idle
    assert promoter.next_at == NOW + FOREIGN_POLL_MS


def test_a_token_that_was_meant_for_the_leader_is_given_back(promoter):
    promoter.wake()
    _, arguments = scripted(command(promoter.promote(NEWEST)), "promote_due", NEWEST)
    assert arguments[-1] == b"1"
    promoter.promoted(result(leads=False), NOW)
    assert not promoter.listens
    _, arguments = scripted(command(promoter.promote(NEWEST)), "promote_due", NEWEST)
    assert arguments[-1] == b"0"


def test_a_new_promoter_looks_at_once(promoter):
    assert promoter.next_at < 0
    assert not promoter.leads


@pytest.mark.parametrize(
    ("answered", "waits"),
    [
        (result(), IDLE_POLL_MS),
        (result(next_due=SERVER_NOW + 10_000), IDLE_POLL_MS),
        (result(next_due=SERVER_NOW + 700), 700),
        (result(next_due=SERVER_NOW), 0),
        (result(next_due=SERVER_NOW - 50), 0),
        (result(promotes=3, next_due=SERVER_NOW + 700), 700),
        (result(promotes=BATCH), 0),
        (result(promotes=BATCH - 6, set_aside=6), 0),
        (result(set_aside=BATCH), 0),
        (result(promotes=BATCH - 1), IDLE_POLL_MS),
        (result(leads=False), FOLLOWER_POLL_MS),
    ],
)
def test_it_comes_back_when_the_next_job_is_due_and_not_before(promoter, answered, waits):
    promoter.promoted(answered, NOW)
    assert promoter.next_at == NOW + waits
    assert promoter.leads is answered.leads


def test_a_job_that_nobody_announced_means_a_foreign_producer(promoter):
    promoter.promoted(result(), NOW)
    promoter.promoted(result(promotes=1), NOW + 1_500)
    assert promoter.next_at == NOW + 1_500 + FOREIGN_POLL_MS
    last = NOW + 1_500 + FOREIGN_MEMORY_MS
    promoter.promoted(result(), last - 1)
    assert promoter.next_at == last - 1 + FOREIGN_POLL_MS
    promoter.promoted(result(), last)
    assert promoter.next_at == last + IDLE_POLL_MS


def test_a_job_that_is_due_before_the_expected_one_means_a_foreign_producer(promoter):
    promoter.promoted(result(next_due=SERVER_NOW + 60_000), NOW)
    promoter.promoted(result(promotes=1, server_now=SERVER_NOW + 1_500), NOW + 1_500)
    assert promoter.next_at == NOW + 1_500 + FOREIGN_POLL_MS


@pytest.mark.parametrize(
    ("expected", "later", "woken"),
    [
        (-1, 1_500, True),
        (SERVER_NOW + 700, 700, False),
        # A clock that is a few milliseconds behind is no producer.
        (SERVER_NOW + 700, 690, False),
    ],
)
def test_a_job_that_was_expected_or_announced_is_no_surprise(promoter, expected, later, woken):
    promoter.promoted(result(next_due=expected), NOW)
    if woken:
        promoter.wake()
        assert promoter.next_at < 0
    promoter.promoted(result(promotes=1, server_now=SERVER_NOW + later), NOW + later)
    assert promoter.next_at == NOW + later + IDLE_POLL_MS


def test_being_woken_explains_one_promotion_and_not_the_next(promoter):
    promoter.promoted(result(), NOW)
    promoter.wake()
    promoter.promoted(result(promotes=1), NOW + 10)
    assert promoter.next_at == NOW + 10 + IDLE_POLL_MS
    promoter.promoted(result(promotes=1), NOW + 20)
    assert promoter.next_at == NOW + 20 + FOREIGN_POLL_MS


def test_a_new_leader_cannot_be_surprised(promoter):
    promoter.promoted(result(promotes=5), NOW)
    assert promoter.next_at == NOW + IDLE_POLL_MS


def test_after_a_time_as_follower_nothing_is_expected(promoter):
    promoter.promoted(result(), NOW)
    promoter.promoted(result(leads=False), NOW + 1_500)
    promoter.promoted(result(promotes=1), NOW + 3_500)
    assert promoter.next_at == NOW + 3_500 + IDLE_POLL_MS


# -- what follows ----------------------------------------------------------------------------------------------


def test_indexes_are_deleted_and_one_waiting_event_is_written_per_job_in_order(promoter):
    call = promoter.follow_up(Promoted(True, SERVER_NOW, -1, 0, [b"b", b"", b"a"]))
    deletion, *events = commands(call.request)
    assert call.replies == 3
    assert deletion == [b"DEL", KEYS.delayed_index("b"), KEYS.delayed_index("a")]
    ts = b"%d" % SERVER_NOW
    head = [b"XADD", KEYS.events, b"MAXLEN", b"~", b"100000", b"*"]
    assert events == [[*head, b"e", b"waiting", b"id", job_id, b"ts", ts] for job_id in (b"b", b"a")]


def test_without_events_only_the_indexes_are_deleted():
    call = Promoter(KEYS, b"c-1", events=False).follow_up(result(promotes=2))
    assert [sent[0] for sent in commands(call.request)] == [b"DEL"]


@pytest.mark.parametrize("nothing", [result(), result(set_aside=3), Promoted(True, 1, -1, 0, [b"", b""])])
def test_nothing_promoted_has_no_consequences(promoter, nothing):
    assert promoter.follow_up(nothing) is None


def test_what_follows_is_best_effort(promoter):
    call = promoter.follow_up(result(promotes=1))
    assert answer(call, error("OOM full"), error("OOM full")) is None


def test_a_leaving_leader_gives_the_lock_up(promoter):
    call = promoter.release(CLASSIC)
    assert scripted(command(call), "release_lock", CLASSIC) == ([KEYS.promoter_lock], [b"c-1"])
    assert call.idempotent
    assert answer(call, 1) == 1
    assert commands(call.eval_form(0))[0][2:] == command(call)[2:]
