"""ack_owned, complete_jobs, retry_jobs, dead_letter: the ends of jobs, each once and only for their owner."""

import pytest
import redis

from tests.lua.conftest import GROUP


def ack(place, *ids, consumer="me"):
    return place.run("ack_owned", [place.keys.stream], GROUP, consumer, *ids)


def complete(place, *ids, consumer="me", ttl=3600):
    results = [place.keys.result(f"job-{number}") for number in range(len(ids))]
    rows = [part for number, entry_id in enumerate(ids) for part in (entry_id, b"result-%d" % number)]
    return place.run("complete_jobs", [place.keys.stream, *results], GROUP, consumer, ttl, *rows)


def retry(place, *ids, consumer="me", events=1000, wait=5_000, name=b"w"):
    keys = place.keys
    rows = []
    for number, entry_id in enumerate(ids):
        rows += [entry_id, wait, b"member-%d" % number, f"job-{number}", name, 2]
    return place.run("retry_jobs", [keys.stream, keys.delayed, keys.wake, keys.events], GROUP, consumer, events, *rows)


def bury(place, *ids, consumer="me", events=1000, name=b"w", detail=b"why", job_id="job"):
    rows = []
    for entry_id in ids:
        rows += [entry_id, b"envelope", name, b"unrecoverable", detail, job_id, 3]
    keys = place.keys
    return place.run("dead_letter", [keys.stream, keys.dlq, keys.events], GROUP, consumer, events, 1000, *rows)


ENDS = pytest.mark.parametrize("end", [ack, complete, retry, bury], ids=lambda end: end.__name__)


def traces(place):
    """All that an end may leave behind."""
    results = list(place.client.scan_iter(match=b"*result:*"))
    return (place.delayed(), place.dlq(), place.events(), results, place.wake_tokens())


# -- what all ends have in common ------------------------------------------------------------------------------


@ENDS
def test_an_end_takes_the_entry_out_of_the_group_and_the_stream(place, end):
    place.group()
    first, second, other = place.delivered(3)
    assert end(place, first, second) == [1, 1]
    assert set(place.pending()) == {other}
    assert place.stream_ids() == [other]


@ENDS
@pytest.mark.parametrize("consumer", ["me", ""])
def test_sent_twice_it_ends_once(place, end, consumer):
    place.group()
    ids = place.delivered(2)
    assert end(place, *ids, consumer=consumer) == [1, 1]
    before = traces(place)
    assert [state == 1 for state in end(place, *ids, consumer=consumer)] == [False, False]
    assert traces(place) == before


@ENDS
def test_who_does_not_own_the_entry_cannot_end_it(place, end):
    place.group()
    mine, (theirs,) = place.delivered(2), place.delivered(consumer="other")
    before = traces(place)
    assert end(place, theirs) == [0]
    assert traces(place) == before
    assert place.pending()[theirs] == ("other", 1)
    assert end(place, mine[0], theirs, mine[1]) == [1, 0, 1]
    assert set(place.pending()) == {theirs}
    assert place.stream_ids() == [theirs]


@ENDS
def test_an_entry_that_was_never_delivered_is_not_ended(place, end):
    place.group()
    waiting = place.client.xadd(place.keys.stream, {"d": "1"})
    assert end(place, waiting, b"1-1") == [0, 0]
    assert place.stream_ids() == [waiting]


@ENDS
def test_without_the_group_it_says_so_and_leaves_no_trace(place, end):
    place.client.xadd(place.keys.stream, {"d": "1"})
    before = traces(place)
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        end(place, b"1-1")
    assert traces(place) == before
    place.client.delete(place.keys.stream)
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        end(place, b"1-1")


@ENDS
def test_an_entry_that_somebody_deleted_under_its_worker_still_ends(place, end):
    # A producer of another kind trims the stream without regard to pending entries.
    place.group()
    (trimmed,) = place.delivered()
    place.client.xdel(place.keys.stream, trimmed)
    end(place, trimmed)
    assert place.pending() == {}


@ENDS
def test_ends_work_on_a_full_server_and_lose_nothing(place, end):
    place.group()
    ids = place.delivered(2)
    with place.full():
        assert end(place, *ids) == [1, 1]
    assert place.pending() == {}
    if end is retry:
        assert set(place.delayed()) == {b"member-0", b"member-1"}
    if end is bury:
        assert len(place.dlq()) == 2


@pytest.mark.parametrize(("end", "target"), [(retry, "delayed"), (bury, "dlq")])
def test_another_programs_key_in_the_way_loses_no_job(place, end, target):
    place.group()
    ids = place.delivered(2)
    place.client.set(getattr(place.keys, target), "not ours", ex=100)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        end(place, *ids)
    place.client.delete(getattr(place.keys, target))
    assert end(place, *ids) == [1, 1]
    assert len(place.delayed() or place.dlq()) == 2


@pytest.mark.parametrize("consumer", ["me", ""])
@pytest.mark.parametrize(("end", "size"), [(ack, 256), (complete, 64), (retry, 64), (bury, 64)])
def test_a_batch_as_large_as_the_settlement_makes_it(place, end, size, consumer):
    place.group()
    ids = place.delivered(size)
    assert end(place, *ids, consumer=consumer) == [1] * size
    assert place.stream_ids() == []
    if end in (retry, bury):
        assert len(place.events()) == size


@ENDS
def test_with_a_certain_lease_only_what_is_still_pending_is_ended(place, end):
    place.group()
    first, settled, last = place.delivered(3)
    assert ack(place, settled) == [1]
    assert end(place, first, settled, last, consumer="") == [1, 0, 1]
    assert place.pending() == {}


# -- results ---------------------------------------------------------------------------------------------------


def test_each_result_is_stored_under_its_own_key_for_its_time(place):
    place.group()
    first, second = place.delivered(2)
    assert complete(place, first, second, ttl=7) == [1, 1]
    for number in range(2):
        key = place.keys.result(f"job-{number}")
        assert place.client.get(key) == b"result-%d" % number
        assert 0 < place.client.ttl(key) <= 7


def test_a_result_is_not_stored_for_an_entry_that_was_taken_over(place):
    place.group()
    (theirs,) = place.delivered(consumer="other")
    assert complete(place, theirs) == [0]
    assert place.client.exists(place.keys.result("job-0")) == 0


@pytest.mark.parametrize("consumer", ["me", ""])
def test_among_others_a_result_is_stored_only_for_what_was_ended_now(place, consumer):
    place.group()
    first, settled, last = place.delivered(3)
    assert ack(place, settled) == [1]
    assert complete(place, first, settled, last, consumer=consumer) == [1, 0, 1]
    stored = [place.client.get(place.keys.result(f"job-{number}")) for number in range(3)]
    assert stored == [b"result-0", None, b"result-2"]


# -- retries ---------------------------------------------------------------------------------------------------


def test_a_retry_is_due_after_its_wait_by_the_servers_clock(place):
    place.group()
    (entry_id,) = place.delivered()
    before = place.now_ms()
    retry(place, entry_id, wait=5_000)
    (due,) = place.delayed().values()
    assert before + 5_000 <= due <= place.now_ms() + 5_000
    assert place.wake_tokens() == 1


def test_a_retry_behind_an_earlier_job_wakes_nobody(place):
    place.group()
    place.client.zadd(place.keys.delayed, {b"earlier": 1})
    retry(place, *place.delivered())
    assert place.wake_tokens() == 0


@pytest.mark.parametrize("name", [b"w", b""])
def test_a_retry_is_told_by_an_event(place, name):
    place.group()
    before = place.now_ms()
    retry(place, *place.delivered(), name=name)
    (event,) = place.events()
    assert before <= int(event.pop(b"ts")) <= place.now_ms()
    named = {b"n": name} if name else {}
    told = {b"e": b"retry-scheduled", b"id": b"job-0", b"attempt": b"2", b"backoff_ms": b"5000"}
    assert event == {**told, **named}


# -- dead letters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"w", b""])
@pytest.mark.parametrize("detail", [b"why", b""])
def test_a_dead_letter_has_its_fields_in_their_order_and_no_empty_ones(place, name, detail):
    place.group()
    (entry_id,) = place.delivered()
    bury(place, entry_id, name=name, detail=detail)
    (letter,) = place.dlq()
    fields = {b"d": b"envelope", b"n": name, b"source_id": entry_id, b"reason": b"unrecoverable", b"detail": detail}
    assert list(letter.items()) == [(field, value) for field, value in fields.items() if value]
    (event,) = place.events()
    event.pop(b"ts")
    named = {b"n": name} if name else {}
    assert event == {b"e": b"dlq", b"id": b"job", b"attempt": b"3", b"reason": b"unrecoverable", **named}


def test_an_empty_envelope_is_still_a_field(place):
    place.group()
    (entry_id,) = place.delivered()
    keys = place.keys
    row = [entry_id, b"", b"", b"malformed", b"no payload", b"", 0]
    place.run("dead_letter", [keys.stream, keys.dlq, keys.events], GROUP, "me", "", 1000, *row)
    assert place.dlq() == [{b"d": b"", b"source_id": entry_id, b"reason": b"malformed", b"detail": b"no payload"}]


# -- events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [retry, bury])
def test_without_events_none_is_written(place, end):
    place.group()
    assert end(place, *place.delivered(), events="") == [1]
    assert place.client.exists(place.keys.events) == 0


@pytest.mark.parametrize("end", [retry, bury])
def test_an_event_that_cannot_be_written_stops_nothing(place, end):
    place.group()
    place.client.set(place.keys.events, "not ours", ex=100)
    assert end(place, *place.delivered()) == [1]
