"""upsert_repeatable, remove_repeatable and drop_orphan_repeatable: what a producer does to the specs."""

from __future__ import annotations

import pytest
import redis

FUTURE = 4_102_444_800_000


@pytest.fixture(autouse=True)
def _nothing_else_is_left(place):
    """Specs live as long as they are wanted; everything else that these scripts leave must go by itself."""
    yield
    place.client.delete(place.keys.repeat, *place.client.keys(place.keys.tag + b"repeat:spec:*"))


def spec_hash(place, key="k"):
    return place.keys.repeat_spec(key)


def upsert(place, key="k", due=FUTURE, spec=b"spec"):
    keys = [place.keys.repeat, spec_hash(place, key), place.keys.scheduler_wake]
    return place.run("upsert_repeatable", keys, key, due, spec)


def remove(place, key="k"):
    return place.run("remove_repeatable", [place.keys.repeat, spec_hash(place, key)], key)


def drop(place, key="k"):
    return place.run("drop_orphan_repeatable", [place.keys.repeat, spec_hash(place, key)], key)


def wake_tokens(place):
    return place.client.llen(place.keys.scheduler_wake)


def schedule(place):
    return {key.decode(): int(score) for key, score in place.client.zrange(place.keys.repeat, 0, -1, withscores=True)}


# -- upsert --------------------------------------------------------------------------------------------------------


def test_a_spec_and_its_next_fire_are_stored(place):
    assert upsert(place) == 1
    assert schedule(place) == {"k": FUTURE}
    assert place.client.hgetall(spec_hash(place)) == {b"spec": b"spec"}


def test_storing_it_again_replaces_both_and_keeps_the_count_of_past_fires(place):
    upsert(place)
    place.client.hset(spec_hash(place), "fired", 3)
    assert upsert(place, due=FUTURE + 5, spec=b"\x00\xff other") == 1
    assert schedule(place) == {"k": FUTURE + 5}
    assert place.client.hgetall(spec_hash(place)) == {b"spec": b"\x00\xff other", b"fired": b"3"}


def test_the_earliest_spec_wakes_the_scheduler_once(place):
    upsert(place, "a", FUTURE)
    assert wake_tokens(place) == 1
    upsert(place, "b", FUTURE - 5)
    assert wake_tokens(place) == 1, "a token is there already"
    assert 0 < place.client.pttl(place.keys.scheduler_wake) <= 60_000


def test_a_later_spec_wakes_nobody(place):
    upsert(place, "a", FUTURE)
    place.client.delete(place.keys.scheduler_wake)
    upsert(place, "b", FUTURE + 1)
    assert wake_tokens(place) == 0
    upsert(place, "c", FUTURE - 1)
    assert wake_tokens(place) == 1


def test_the_delayed_jobs_promoter_is_left_alone(place):
    upsert(place)
    assert place.wake_tokens() == 0


def test_a_full_server_stores_nothing_of_it(place):
    with place.full(), pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
        upsert(place)
    assert place.client.keys() == []


@pytest.mark.parametrize("foreign", ["repeat", "hash"])
def test_another_programs_key_in_the_way_is_told(place, foreign):
    name = place.keys.repeat if foreign == "repeat" else spec_hash(place)
    place.client.set(name, "not ours", ex=100)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        upsert(place)
    assert place.client.get(name) == b"not ours"


# -- remove --------------------------------------------------------------------------------------------------------


def test_removing_takes_the_spec_its_fire_and_its_count(place):
    upsert(place)
    upsert(place, "other")
    place.client.hset(spec_hash(place), "fired", 3)
    assert [remove(place), remove(place)] == [1, 0]
    assert schedule(place) == {"other": FUTURE}
    assert not place.client.exists(spec_hash(place))
    upsert(place)
    assert place.client.hgetall(spec_hash(place)) == {b"spec": b"spec"}, "a new life begins at zero"


def test_a_hash_without_a_schedule_is_removed_all_the_same(place):
    place.client.hset(spec_hash(place), "fired", 3)
    assert remove(place) == 0
    assert not place.client.exists(spec_hash(place))


def test_removing_works_on_a_full_server(place):
    upsert(place)
    with place.full():
        assert remove(place) == 1
    assert schedule(place) == {}


# -- orphans -------------------------------------------------------------------------------------------------------


def test_a_schedule_without_a_spec_is_dropped(place):
    place.client.zadd(place.keys.repeat, {"k": 1, "other": 2})
    place.client.hset(spec_hash(place), "fired", 3)
    assert [drop(place), drop(place)] == [1, 0]
    assert schedule(place) == {"other": 2}


def test_a_spec_that_came_back_meanwhile_is_not_dropped(place):
    upsert(place)
    assert drop(place) == 0
    assert schedule(place) == {"k": FUTURE}


def test_dropping_works_on_a_full_server(place):
    place.client.zadd(place.keys.repeat, {"k": 1})
    with place.full():
        assert drop(place) == 1
