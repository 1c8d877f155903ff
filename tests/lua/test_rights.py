"""A user who lacks a right is refused in the middle of a script: what was to be moved must still be somewhere."""

import pytest
import redis

from tests.lua.conftest import Place
from tests.lua.test_promoting import member, promote, schedule
from tests.lua.test_replaying import letters, replay
from tests.lua.test_settling import bury, retry

REFUSED = r"(?i)permission|can't run this command"


@pytest.fixture
def without(place):
    """The same place as a user sees it who may do everything but one command."""
    clients = []

    def restricted(command):
        place.client.execute_command(
            "ACL", "SETUSER", "limited", "reset", "on", ">secret", "~*", "+@all", f"-{command}"
        )
        options = place.client.connection_pool.connection_kwargs
        clients.append(redis.Redis(unix_socket_path=options["path"], username="limited", password="secret"))
        return Place(clients[-1], place.profile)

    yield restricted
    for client in clients:
        client.close()
    place.client.execute_command("ACL", "DELUSER", "limited")


@pytest.mark.parametrize(("end", "command"), [(retry, "zadd"), (bury, "xadd"), (retry, "xpending"), (bury, "time")])
def test_the_end_of_a_job_that_is_refused_leaves_the_job_where_it_was(place, without, end, command):
    place.group()
    ids = place.delivered(2)
    with pytest.raises(redis.ResponseError, match=REFUSED):
        end(without(command), *ids)
    assert set(place.pending()) | {letter[b"source_id"] for letter in place.dlq()} >= set(ids)
    assert set(end(place, *ids)) <= {0, 1}
    assert len(place.delayed()) + len(place.dlq()) == 2


@pytest.mark.parametrize("command", ["xadd", "zrem"])
def test_a_promotion_that_is_refused_keeps_the_job(place, without, command):
    schedule(place, member(1))
    with pytest.raises(redis.ResponseError, match=REFUSED):
        promote(without(command), holder="me")
    assert list(place.delayed()) == [member(1)]
    place.client.delete(place.keys.promoter_lock)


def test_a_replay_that_is_refused_keeps_the_letter(place, without):
    (only,) = letters(place, 1)
    with pytest.raises(redis.ResponseError, match=REFUSED):
        replay(without("xadd"), (only, b"e", b"w"))
    assert len(place.dlq()) == 1
