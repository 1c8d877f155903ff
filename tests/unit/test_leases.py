"""The book of leases: who may run what, who must be renewed, what was lost."""

import pytest

from chasquimq._core.keys import GROUP, QueueKeys
from chasquimq._core.leases import LeaseBook
from chasquimq.errors import ServerReplyError
from tests.unit.entries import entry
from tests.unit.resp import CLASSIC, NEWEST, answer, command, commands, error, scripted

KEYS = QueueKeys("q")
LEASE = 30_000


@pytest.fixture
def book():
    return LeaseBook(LEASE)


def holding(book, *numbers, sent_at=0.0):
    entries = [entry(number) for number in numbers]
    for each in entries:
        each.lease_until = book.lease_from(sent_at)
        book.held[each.entry_id] = each
    return entries


def test_an_entry_is_held_from_its_read_until_it_is_dropped(book):
    (held,) = holding(book, 1, sent_at=500.0)
    assert len(book) == 1
    assert held.entry_id in book
    assert book.ids() == [b"1-1"]
    assert held.lease_until == 500.0 + LEASE
    book.drop(held.entry_id)
    book.drop(held.entry_id)
    assert (len(book), held.entry_id in book) == (0, False)


@pytest.mark.parametrize(("at", "certain"), [(0, True), (26_999, True), (27_000, False), (30_000, False)])
def test_certainty_ends_a_tenth_of_the_lease_before_the_lease(book, at, certain):
    (held,) = holding(book, 1)
    assert (held.lease_until > book.certain_after(at)) is certain


@pytest.mark.parametrize(("lease", "interval"), [(30_000, 10_000), (3_000, 1_000), (100, 100 / 3), (600_000, 10_000)])
def test_leases_are_renewed_three_times_over_and_at_least_every_ten_seconds(lease, interval):
    # Workers of other kinds take over what is idle for 30 s.
    book = LeaseBook(lease)
    assert book.renewal_interval_ms == pytest.approx(interval)
    (held,) = holding(book, 1)
    assert book.due(interval - 0.01) == []
    assert book.due(interval + 0.01) == [held]


def test_waiting_and_running_entries_are_due_alike_and_lost_ones_never(book):
    first, second = holding(book, 1, 2)
    (young,) = holding(book, 3, sent_at=5_000)
    assert book.due(10_000) == [first, second]
    assert book.due(15_000) == [first, second, young]
    first.lost = True
    assert book.due(15_000) == [second, young]


def test_a_renewal_counts_from_the_time_it_was_sent(book):
    first, second = holding(book, 1, 2)
    assert book.renewed([first, second], [1, 1], sent_at_ms=9_000) == []
    assert first.lease_until == second.lease_until == 39_000


def test_what_was_not_renewed_is_lost_and_told_once(book):
    first, second = holding(book, 1, 2)
    assert book.renewed([first, second], [0, 1], 9_000) == [first]
    assert (first.lost, second.lost) == (True, False)
    assert first.lease_until == LEASE
    assert book.due(1e9) == [second]


def test_an_entry_that_is_being_settled_or_gone_is_not_lost(book):
    settling, gone, held = holding(book, 1, 2, 3)
    book.settling([settling.entry_id])
    book.drop(gone.entry_id)
    assert book.renewed([settling, gone, held], [0, 0, 0], 0) == [held]
    assert (settling.lost, gone.lost) == (False, False)
    book.settled([settling.entry_id, b"unknown"])
    assert book.renewed([settling], [0], 0) == [settling]


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_a_renewal_is_one_script_with_all_the_ids(book, profile):
    entries = holding(book, 1, 2)
    call = book.renewal(entries, KEYS, GROUP, b"c-1", profile)
    assert scripted(command(call), "renew_leases", profile) == ([KEYS.stream], [GROUP, b"c-1", b"1-1", b"1-2"])
    assert call.idempotent
    assert commands(call.eval_form(0))[0][2:] == command(call)[2:]
    assert answer(call, [1, 0]) == [1, 0]


def test_with_the_group_every_lease_is_gone(book):
    entries = holding(book, 1, 2)
    call = book.renewal(entries, KEYS, GROUP, b"c-1", CLASSIC)
    assert answer(call, error("NOGROUP No such consumer group")) == [0, 0]


def test_another_error_of_a_renewal_is_raised_and_loses_nothing(book):
    (held,) = holding(book, 1)
    with pytest.raises(ServerReplyError, match=r"worker\.renew"):
        answer(book.renewal([held], KEYS, GROUP, b"c-1", CLASSIC), error("LOADING x"))
    assert not held.lost


def test_more_or_fewer_answers_than_entries_are_not_guessed_about(book):
    entries = holding(book, 1, 2)
    with pytest.raises(ValueError, match="zip"):
        book.renewed(entries, [1], 0)
