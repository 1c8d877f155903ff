"""The place in the events stream: how it is found, moved and kept, and what tells of a gap."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chasquimq._core.keys import QueueKeys
from chasquimq._core.subscription import COUNT, Subscription, parse_event
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, ServerReplyError
from chasquimq.events import Gap, Waiting
from chasquimq.options import QueueEventsOptions
from tests.unit.resp import answer, command, error

KEYS = QueueKeys("q")


def subscription(last=None, **options):
    return Subscription(KEYS, QueueEventsOptions(last_event_id=last, **options), parse_event)


def rows(*ids):
    return [[entry_id.encode(), [b"e", b"waiting", b"id", b"j-" + entry_id.encode()]] for entry_id in ids]


def read(reader, *ids):
    """One read that finds these entries."""
    return answer(reader.read(), [[KEYS.events, rows(*ids)]] if ids else None)


def placed(at="7-3"):
    """A reader that began where the stream ended."""
    reader = subscription()
    answer(reader.place(), rows(at))
    return reader


def many(start=1):
    return [f"{number}-0" for number in range(start, start + COUNT)]


# -- the place -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [None, "$"])
def test_from_now_on_is_made_an_id_once(last):
    reader = subscription(last)
    assert not reader.is_placed
    call = reader.place()
    assert command(call) == [b"XREVRANGE", KEYS.events, b"+", b"-", b"COUNT", b"1"]
    assert call.idempotent
    answer(call, rows("7-3"))
    assert (reader.is_placed, reader.last_id) == (True, "7-3")


def test_a_stream_that_does_not_exist_yet_begins_at_zero():
    reader = subscription()
    answer(reader.place(), [])
    assert (reader.is_placed, reader.last_id) == (True, "0-0")


@pytest.mark.parametrize("last", ["0", "0-0", "7", "7-3", "18446744073709551615-18446744073709551615"])
def test_an_id_is_a_place(last):
    reader = subscription(last)
    assert (reader.is_placed, reader.last_id) == (True, last)


@pytest.mark.parametrize(
    "odd", ["", " ", "+", "-", ">", "now", "7-", "-7", "7-3-1", "7-3 ", "7\n", "1.5", "$$", "9" * 21]
)
def test_odd_ids_are_refused(odd):
    with pytest.raises(InvalidOptionError, match="last_event_id"):
        subscription(odd)


@pytest.mark.parametrize("odd", [0, 7, b"7-3", 1.5, ["7"]])
def test_ids_of_another_type_are_refused(odd):
    with pytest.raises(InvalidOptionTypeError, match="expected a text"):
        subscription(odd)


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "block_ms"), [(None, 10_000), (250, 250), (timedelta(seconds=2), 2_000), (0, 1), (0.5, 1)]
)
def test_a_read_waits_behind_the_place(timeout, block_ms):
    call = subscription("7-3", blocking_timeout=timeout).read()
    assert command(call) == [
        b"XREAD", b"COUNT", b"%d" % COUNT, b"BLOCK", b"%d" % block_ms, b"STREAMS", KEYS.events, b"7-3",
    ]  # fmt: skip
    assert call.blocks_ms == block_ms, "never BLOCK 0, which waits for ever"
    assert call.idempotent


def test_a_read_moves_the_place():
    reader = subscription("0")
    found = read(reader, "7-3", "7-4")
    assert found == [Waiting(event_id="7-3", job_id="j-7-3"), Waiting(event_id="7-4", job_id="j-7-4")]
    assert reader.last_id == "7-4"
    assert command(reader.read())[-1] == b"7-4"


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_a_read_that_found_nothing_keeps_the_place(nothing):
    reader = subscription("7-3")
    assert answer(reader.read(), nothing) == []
    assert reader.last_id == "7-3"


def test_the_newer_protocols_form_of_the_answer_is_read():
    reader = subscription("0")
    assert [event.event_id for event in answer(reader.read(), {KEYS.events: rows("7-3")})] == ["7-3"]


def test_a_refused_read_keeps_the_place():
    reader = subscription("7-3")
    with pytest.raises(ServerReplyError, match="WRONGTYPE"):
        answer(reader.read(), error("WRONGTYPE x"))
    assert reader.last_id == "7-3"


# -- gaps ----------------------------------------------------------------------------------------------------------


def test_a_reader_that_keeps_up_asks_nothing_more():
    reader = placed()
    assert reader.check(read(reader, "7-4")) is None
    assert reader.check(read(reader)) is None


def test_after_an_interruption_the_last_event_must_still_be_there():
    reader = placed()
    reader.was_interrupted()
    call = reader.check(read(reader, "9-0", "9-1"))
    assert command(call) == [b"XRANGE", KEYS.events, b"7-3", b"7-3"]
    assert answer(call, rows("7-3")) is None
    assert answer(call, []) == Gap(event_id="9-0", after="7-3")


def test_an_interruption_is_looked_into_once_and_when_there_is_something():
    reader = placed()
    reader.was_interrupted()
    assert reader.check(read(reader)) is None
    assert reader.check(read(reader, "9-0")) is not None
    assert reader.check(read(reader, "9-1")) is None


def test_a_reader_that_lags_behind_is_told_too():
    reader = placed()
    assert reader.check(read(reader, *many()[:-1])) is None
    reader = placed("0-5")
    call = reader.check(read(reader, *many()))
    assert answer(call, []) == Gap(event_id="1-0", after="0-5")


def test_going_on_behind_a_saved_id_asks_once_whether_it_is_still_there():
    reader = subscription("7-3")
    assert reader.check(read(reader)) is None
    call = reader.check(read(reader, "9-0"))
    assert command(call) == [b"XRANGE", KEYS.events, b"7-3", b"7-3"]
    assert answer(call, []) == Gap(event_id="9-0", after="7-3")
    assert reader.check(read(reader, "9-1")) is None


@pytest.mark.parametrize("start", ["0", "0-0"])
def test_whoever_reads_all_that_is_there_misses_nothing(start):
    reader = subscription(start)
    reader.was_interrupted()
    assert reader.check(read(reader, *many())) is None
    assert reader.check(read(reader, *many(1_000))) is not None


def test_a_failed_look_leaves_the_events_and_the_place_alone():
    reader = placed()
    reader.was_interrupted()
    call = reader.check(read(reader, "9-0"))
    with pytest.raises(ServerReplyError):
        answer(call, error("LOADING x"))
    assert reader.last_id == "9-0"
