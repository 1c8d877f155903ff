"""create_group: the first thing that a worker needs, also on a server that has no room left."""

import pytest
import redis

from tests.lua.conftest import GROUP


def create(place):
    return place.run("create_group", [place.keys.stream], GROUP)


def read(place):
    place.client.xreadgroup(GROUP, "me", {place.keys.stream: ">"})
    return list(place.pending())


def test_it_is_created_once_and_being_there_is_fine(place):
    assert [create(place), create(place)] == [1, 0]
    assert [row["name"] for row in place.client.xinfo_groups(place.keys.stream)] == [GROUP]


def test_a_new_group_sees_the_whole_backlog_and_an_old_one_stays_where_it_is(place):
    backlog = [place.client.xadd(place.keys.stream, {"d": str(number)}) for number in range(3)]
    create(place)
    assert read(place) == backlog
    place.client.xack(place.keys.stream, GROUP, *backlog)
    create(place)
    assert read(place) == []


def test_it_is_created_on_a_full_server(place):
    with place.full():
        assert create(place) == 1


def test_another_programs_key_in_the_way_is_told(place):
    place.client.set(place.keys.stream, "not ours", ex=100)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        create(place)
    assert place.client.get(place.keys.stream) == b"not ours"
