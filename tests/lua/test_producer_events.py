"""add_jobs, and the events of add_unique, add_delayed and add_delayed_unique."""

import pytest
import redis

from tests.lua.conftest import XACKDEL, Place

LENGTH = 100_000
EVENT = (LENGTH, "e", "waiting", "id", "a", "ts", 7, "n", "w")


def add_jobs(place, *jobs, producer=""):
    """Each job: id, envelope, name."""
    return place.run("add_jobs", [place.keys.stream, place.keys.events], LENGTH, 7, producer, *sum(jobs, ()))


def add_unique(place, *event, call="t", events=True):
    keys = [place.keys.stream, place.keys.dedup_marker("a"), *([place.keys.events] if events else [])]
    return place.run("add_unique", keys, 60, call, b"envelope", b"w", *event)


def add_delayed(place, *event, member=b"m", events=True):
    keys = [place.keys.delayed, place.keys.wake, *([place.keys.events] if events else [])]
    return place.run("add_delayed", keys, 60_000, 0, member, *event)


def add_delayed_unique(place, *event, member=b"m", events=True):
    keys = place.keys
    into = [
        keys.delayed,
        keys.wake,
        keys.dedup_marker("a"),
        keys.delayed_index("a"),
        *([keys.events] if events else []),
    ]
    return place.run("add_delayed_unique", into, 60_000, 0, member, 60, *event)


SINGLE = pytest.mark.parametrize("add", [add_unique, add_delayed, add_delayed_unique])


def test_each_job_is_added_and_told_in_order(place):
    ids = add_jobs(place, ("a", b"1", "w"), ("b", b"2", ""), ("c", b"3", "発送"))
    assert ids == place.stream_ids()
    assert place.stream() == [{b"d": b"1", b"n": b"w"}, {b"d": b"2"}, {b"d": b"3", b"n": "発送".encode()}]
    assert [list(event.items()) for event in place.events()] == [
        [(b"e", b"waiting"), (b"id", b"a"), (b"ts", b"7"), (b"n", b"w")],
        [(b"e", b"waiting"), (b"id", b"b"), (b"ts", b"7")],
        [(b"e", b"waiting"), (b"id", b"c"), (b"ts", b"7"), (b"n", "発送".encode())],
    ]


def test_a_job_that_is_refused_is_not_told(place):
    place.client.set(place.keys.stream, "not ours", ex=60)
    answers = add_jobs(place, ("a", b"1", "w"), ("b", b"2", "w"))
    assert [type(answer) for answer in answers] == [redis.ResponseError] * 2
    assert all("WRONGTYPE" in str(answer) for answer in answers)
    assert place.events() == []


def test_an_event_that_is_refused_leaves_the_jobs_alone(place):
    place.client.set(place.keys.events, "not ours", ex=60)
    add_jobs(place, ("a", b"1", "w"), ("b", b"2", "w"))
    for add in (add_unique, add_delayed):
        add(place, *EVENT)
    assert len(place.stream()) == 3
    assert len(place.delayed()) == 1


def test_the_same_call_sent_twice_with_a_producers_id_adds_and_tells_once(servers):
    place = Place(servers["redis-8.6"].client, XACKDEL)  # the only one that knows IDMP
    place.client.flushall()
    job = ("a", b"1", "w")
    assert add_jobs(place, job, producer="p") == add_jobs(place, job, producer="p") == place.stream_ids()
    assert len(place.stream()) == len(place.events()) == 1
    add_jobs(place, ("b", b"2", "w"), producer="p")
    add_jobs(place, job, producer="another")
    assert [event[b"id"] for event in place.events()] == [b"a", b"b", b"a"]


def test_events_are_trimmed_to_about_their_length(place):
    with place.client.pipeline(transaction=False) as pipeline:
        for number in range(1_000):
            pipeline.xadd(place.keys.events, {"number": number})
        pipeline.execute()
    place.run("add_jobs", [place.keys.stream, place.keys.events], 300, 7, "", "a", b"1", "w")
    assert 300 <= len(place.events()) <= 500


@SINGLE
def test_a_single_add_writes_the_fields_that_it_is_given(place, add):
    add(place, *EVENT)
    assert [list(event.items()) for event in place.events()] == [
        [(b"e", b"waiting"), (b"id", b"a"), (b"ts", b"7"), (b"n", b"w")]
    ]


@SINGLE
def test_a_second_add_is_not_told(place, add):
    add(place, *EVENT)
    add(place, *EVENT)
    assert len(place.events()) == 1


def test_a_duplicate_of_another_call_is_not_told(place):
    assert [add_unique(place, *EVENT), add_unique(place, *EVENT, call="other")] == [1, 0]
    place.client.delete(place.keys.dedup_marker("a"))
    assert [add_delayed_unique(place, *EVENT), add_delayed_unique(place, *EVENT, member=b"other")] == [1, 0]
    assert len(place.events()) == 2


@SINGLE
def test_without_an_events_stream_nothing_is_told(place, add):
    add(place, events=False)
    assert not place.client.exists(place.keys.events)


@pytest.mark.parametrize(
    "add", [lambda place: add_jobs(place, ("a", b"1", "w")), lambda place: add_unique(place, *EVENT)]
)
def test_a_full_server_refuses_job_and_event(place, add):
    with place.full(), pytest.raises(redis.exceptions.OutOfMemoryError):
        add(place)
    assert place.client.dbsize() == 0
