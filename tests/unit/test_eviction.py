"""What is said of a server that may delete keys when its memory is full."""

import pytest

from chasquimq._core.eviction import eviction_warning, read_policy
from tests.unit.resp import answer, command, error


def test_the_policy_is_asked_for_with_the_rights_that_workers_have_anyway():
    assert command(read_policy()) == [b"INFO", b"memory"]
    assert read_policy().idempotent


@pytest.mark.parametrize(
    ("told", "policy"),
    [
        (b"# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\nmaxmemory:0\r\n", "allkeys-lru"),
        (b"# Memory\nmaxmemory_policy:noeviction", "noeviction"),
        (b"# Memory\r\nused_memory:1\r\n", None),
        (b"", None),
        (None, None),
        ([b"maxmemory_policy:allkeys-lru"], None),
        (error("NOPERM User worker has no permissions to run the 'info' command"), None),
        (error("ERR unknown command 'INFO'"), None),
    ],
    ids=["Redis", "a proxy", "not told", "empty", "nothing", "something else", "forbidden", "unknown"],
)
def test_whatever_the_server_answers_is_taken(told, policy):
    assert answer(read_policy(), told) == policy


@pytest.mark.parametrize("policy", [None, "", "noeviction"])
def test_nothing_is_said_where_nothing_is_wrong_or_nothing_is_known(policy):
    assert eviction_warning(policy, "redis://localhost:6379/0") is None


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-lrm"])
def test_whole_queues_are_at_stake(policy):
    said = eviction_warning(policy, "redis://localhost:6379/0")
    assert said.startswith(f"redis://localhost:6379/0 has maxmemory-policy {policy}: ")
    assert "all jobs of a queue" in said
    assert "Set maxmemory-policy noeviction" in said


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "volatile-lrm"])
def test_what_has_a_lifetime_is_at_stake_and_no_job(policy):
    said = eviction_warning(policy, "redis://localhost:6379/0")
    assert "all jobs" not in said
    assert "Jobs have none and stay" in said
    assert "a result may be gone" in said
    assert "a job_id may be added again" in said
    assert "Set maxmemory-policy noeviction" in said
