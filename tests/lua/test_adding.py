"""add_unique, add_delayed, add_delayed_unique, cancel_delayed."""

import pytest
import redis

WINDOW = 3600


def add_unique(place, token, envelope=b"envelope", name=b"w", job_id="a"):
    keys = [place.keys.stream, place.keys.dedup_marker(job_id)]
    return place.run("add_unique", keys, WINDOW, token, envelope, name)


def add_delayed(place, member, delay=60_000, due=0):
    return place.run("add_delayed", [place.keys.delayed, place.keys.wake], delay, due, member)


def add_delayed_unique(place, member, delay=60_000, due=0, job_id="a"):
    keys = place.keys
    into = [keys.delayed, keys.wake, keys.dedup_marker(job_id), keys.delayed_index(job_id)]
    return place.run("add_delayed_unique", into, delay, due, member, WINDOW + 60)


def cancel(place, job_id="a"):
    keys = place.keys
    return place.run("cancel_delayed", [keys.delayed, keys.delayed_index(job_id), keys.dedup_marker(job_id)])


# -- immediate -------------------------------------------------------------------------------------------------


def test_a_new_id_is_added_and_reserved(place):
    assert add_unique(place, "t1") == 1
    assert place.stream() == [{b"d": b"envelope", b"n": b"w"}]
    assert 0 < place.client.ttl(place.keys.dedup_marker("a")) <= WINDOW


def test_no_name_is_no_field(place):
    assert add_unique(place, "t1", name=b"") == 1
    assert place.stream() == [{b"d": b"envelope"}]


def test_the_same_id_again_is_a_duplicate_also_when_the_job_is_long_gone(place):
    add_unique(place, "t1")
    place.client.delete(place.keys.stream)
    assert add_unique(place, "t2", b"other") == 0
    assert place.stream() == []


def test_the_same_call_sent_twice_adds_once_and_answers_the_same(place):
    assert [add_unique(place, "t1"), add_unique(place, "t1")] == [1, 1]
    assert len(place.stream()) == 1


def test_ids_do_not_disturb_each_other(place):
    assert [add_unique(place, "t1", job_id="a"), add_unique(place, "t2", job_id="b")] == [1, 1]
    assert len(place.stream()) == 2


def test_a_marker_of_another_implementation_counts(place):
    place.client.set(place.keys.dedup_marker("a"), "1", ex=100)
    assert add_unique(place, "t1") == 0


# -- delayed ---------------------------------------------------------------------------------------------------


def test_a_delay_counts_from_the_servers_clock(place):
    before = place.now_ms()
    due = add_delayed(place, b"m", delay=60_000)
    assert before + 60_000 <= due <= place.now_ms() + 60_000
    assert place.delayed() == {b"m": due}


@pytest.mark.parametrize("due", [1, 1_795_489_845_846, 2**53 - 1])
def test_an_instant_is_the_score_to_the_millisecond(place, due):
    assert add_delayed(place, b"m", delay="", due=due) == due
    assert place.delayed() == {b"m": due}


def test_the_same_member_sent_twice_is_there_once(place):
    add_delayed(place, b"m")
    add_delayed(place, b"m")
    assert len(place.delayed()) == 1


def test_a_delayed_job_with_an_id_is_marked_indexed_and_added_once(place):
    assert add_delayed_unique(place, b"m1") == 1
    assert add_delayed_unique(place, b"m2") == 0
    assert list(place.delayed()) == [b"m1"]
    assert place.client.get(place.keys.delayed_index("a")) == b"m1"
    assert place.client.get(place.keys.dedup_marker("a")) == b"1"
    for key in (place.keys.delayed_index("a"), place.keys.dedup_marker("a")):
        assert WINDOW < place.client.ttl(key) <= WINDOW + 60


def test_the_same_delayed_call_sent_twice_adds_once(place):
    # The marker's value is fixed by the wire format, so the second answer cannot say that it was the same call.
    assert [add_delayed_unique(place, b"m1"), add_delayed_unique(place, b"m1")] == [1, 0]
    assert list(place.delayed()) == [b"m1"]


def test_an_instant_for_a_delayed_job_with_an_id(place):
    add_delayed_unique(place, b"m", delay="", due=1_795_489_845_846)
    assert place.delayed() == {b"m": 1_795_489_845_846}


# -- the wake token --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("add", [add_delayed, add_delayed_unique])
def test_a_token_is_left_when_the_job_is_the_earliest_and_expires_by_itself(place, add):
    add(place, b"m")
    assert place.wake_tokens() == 1
    assert 0 < place.client.pttl(place.keys.wake) <= 60_000


@pytest.mark.parametrize("add", [add_delayed, add_delayed_unique])
def test_no_token_when_an_earlier_job_is_there(place, add):
    place.client.zadd(place.keys.delayed, {b"earlier": 1})
    add(place, b"m")
    assert place.wake_tokens() == 0


@pytest.mark.parametrize("add", [add_delayed, add_delayed_unique])
def test_there_is_never_more_than_one_token(place, add):
    add(place, b"m1", delay=60_000)
    add_delayed(place, b"m2", delay=1_000)
    add_delayed(place, b"m3", delay=10)
    assert place.wake_tokens() == 1


def test_each_new_earliest_job_leaves_a_token_when_the_last_one_was_taken(place):
    for delay, token in ((60_000, 1), (70_000, 0), (50_000, 1), (55_000, 0), (10, 1)):
        add_delayed(place, b"m%d" % delay, delay=delay)
        assert place.wake_tokens() == token
        place.client.delete(place.keys.wake)


# -- cancelling ------------------------------------------------------------------------------------------------


def test_a_cancelled_job_leaves_nothing_and_its_id_is_free(place):
    add_delayed_unique(place, b"m1")
    assert cancel(place) == 1
    assert place.client.exists(place.keys.delayed_index("a"), place.keys.dedup_marker("a"), place.keys.delayed) == 0
    assert cancel(place) == 0
    assert add_delayed_unique(place, b"m2") == 1


def test_what_was_promoted_or_never_there_cannot_be_cancelled(place):
    assert cancel(place) == 0
    add_delayed_unique(place, b"m1")
    place.client.zrem(place.keys.delayed, b"m1")
    assert cancel(place) == 0
    assert place.client.exists(place.keys.dedup_marker("a")) == 1
    assert add_delayed_unique(place, b"m2") == 0


def test_cancelling_one_job_leaves_the_others(place):
    add_delayed_unique(place, b"m1", job_id="a")
    add_delayed_unique(place, b"m2", job_id="b")
    assert cancel(place, "a") == 1
    assert list(place.delayed()) == [b"m2"]


# -- a full server ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "add", [lambda p: add_unique(p, "t"), lambda p: add_delayed(p, b"m"), lambda p: add_delayed_unique(p, b"m")]
)
def test_a_full_server_refuses_an_add_whole(place, add):
    with place.full(), pytest.raises(redis.exceptions.OutOfMemoryError):
        add(place)
    assert place.client.dbsize() == 0
    add(place)


def test_cancelling_works_on_a_full_server(place):
    add_delayed_unique(place, b"m1")
    with place.full():
        assert cancel(place) == 1
