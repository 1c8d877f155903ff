"""F27, F36: a server that is full, and a user who may do little."""

import pytest

from chasquimq import ServerReplyError, sync
from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import Workers
from .state import QueueState
from .test_server_trouble import each_still_works

LEAST_RIGHTS_OF_A_PRODUCER = (
    "-@all +hello +auth +select +command|info "
    "+xadd +evalsha +eval "  # adding; scripts need the commands that they call, too
    "+time +zadd +zrange +llen +rpush +pexpire +set +get "  # delayed and unique jobs
    "+zrem +del "  # removing
    "+xrange +xdel +type"  # dead letters
)
LEAST_RIGHTS_OF_A_WORKER = (
    "-@all +hello +auth +select +command|info "
    "+xgroup|create +xgroup|delconsumer +xreadgroup +xackdel +xclaim +xpending +evalsha +eval "
    "+xack +xdel +xautoclaim "  # in the place of XACKDEL and CLAIM on servers before 8.2 and 8.4
    "+type +xadd +time +zadd +zrange +zrangebyscore +zrem +get +set +del +pttl "  # retries, promotion, results, events
    "+exists +blpop +rpush +llen +pexpire "  # the promoter's alarm clock
    "+client|unblock "  # closing without waiting for a blocked read
    "+info "  # its look at the eviction policy
    "+xinfo|consumers"  # names of dead workers, which are looked for at a moment in the first five minutes
)
"""What docs/guides/deployment.md lists; ``~{chasqui:*`` are the keys. Nothing of CONFIG or SCRIPT."""


def fill(server: RedisServer) -> None:
    """From now on every command that may need memory is refused."""
    server.client.config_set("maxmemory-policy", "noeviction")
    server.client.config_set("maxmemory", "1")
    with pytest.raises(Exception, match="maxmemory"):
        server.client.set("one more", "x")


def test_f27_workers_empty_a_full_server(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    workers.start_fleet(store_results=True, concurrency=2)
    ids = {
        job.id for job in queue.add_bulk([("job", {"fails": 1, "returns": 1, "wait_ms": 200}, {"backoff": 300})] * 30)
    }
    ids.add(queue.add("delayed", {}, delay=1_000).id)
    queue.add("dies", {"unrecoverable": True})
    ledger.wait_for_starts(6)
    fill(own_server)
    wait_until(lambda: set(ledger.ended()) == ids, f"all ended; {ledger}")
    wait_until(lambda: state.is_empty() and state.dead(), "settled")
    assert set(ledger.ended().values()) == {1}
    assert not ledger.errors(), "a full server is no error of the worker"


def test_f27_producers_are_told(own_server: RedisServer, queue: Queue, state: QueueState) -> None:
    queue.add("job", {})
    fill(own_server)
    for options in ({}, {"delay": 1_000}, {"job_id": "a"}, {"job_id": "b", "delay": 1_000}):
        with pytest.raises(ServerReplyError) as caught:
            queue.add("job", {}, **options)
        assert caught.value.code == "OOM"
        assert "maxmemory" in str(caught.value)
    with pytest.raises(Exception, match="OOM"):
        queue.add_bulk([("job", {})] * 10)
    assert state.waiting_or_running() == 1
    own_server.client.config_set("maxmemory", "0")
    assert not queue.add_unique("job", {}, job_id="a").is_duplicate  # the refused add has reserved nothing
    assert not queue.add_unique("job", {}, job_id="b", delay=1_000).is_duplicate


def test_f27_a_worker_starts_at_a_full_server(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    """It is there to make room: the jobs of a full server must be run by somebody."""
    first = workers.start()
    ledger.wait_for_starts(0)
    first.kill()
    queue.add_bulk([("job", {})] * 20)
    fill(own_server)
    workers.start(flavour)
    ledger.wait_for_ends(20)
    wait_until(state.is_empty, "acknowledged")


def test_f27_workers_come_back_to_a_full_server(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    workers.start_fleet(concurrency=1)
    queue.add_bulk([("job", {"wait_ms": 100})] * 60)
    ledger.wait_for_starts(3)
    fill(own_server)
    own_server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_until(lambda: len(ledger.ended()) == 60, f"all ended; {ledger}")
    wait_until(state.is_empty, "acknowledged")


def test_f36_the_least_rights(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    acl = own_server.client
    commands = acl.command_list()
    for user, rights in {"producer": LEAST_RIGHTS_OF_A_PRODUCER, "worker": LEAST_RIGHTS_OF_A_WORKER}.items():
        known = [right for right in rights.split() if right != "+xackdel" or b"xackdel" in commands]
        acl.execute_command("ACL", "SETUSER", user, "reset", "on", ">secret", "~{chasqui:*", *known)
    url = f"redis://%s:secret@127.0.0.1:{own_server.port}/0"

    fleet = workers.start_fleet(connection=url % "worker", store_results=True, lease_ms=1_000)
    with sync.Queue[object, object](queue.name, connection=url % "producer") as limited:
        done = limited.add("job", {"returns": 1, "wait_ms": 2_000})
        limited.add("job", {"fails": 1}, backoff=10, job_id="retried")
        limited.add("dies", {"unrecoverable": True}, job_id="dies")
        limited.add("delayed", {}, delay=300)
        limited.add("delayed", {}, delay=300, job_id="delayed")
        limited.add("removed", {}, delay=60_000, job_id="removed")
        assert limited.remove("removed") == 1
        limited.add_bulk([("job", {}), ("job", {}, {"delay": 100})])
        wait_until(lambda: state.is_empty() and state.dead(), f"settled; {ledger.errors()}")
        assert limited.get_job_result(done.id) == 1
        assert limited.peek_dlq()[0].job_id == "dies"
        assert limited.replay_dlq() == 1
        wait_until(lambda: len(ledger.starts("dies")) == 2 and state.dead(), "replayed")
    assert ledger.errors() == []
    assert state.events("waiting")
    assert [worker.stop() for worker in fleet] == [0, 0, 0]
    denied = [row for row in acl.acl_log() if row["reason"] == "command"]
    assert [(row["username"], row["object"]) for row in denied] == []
    assert state.consumers() == []


def test_f36_a_missing_right_is_told_and_costs_nothing_more(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger
) -> None:
    """Without the right to wait for the promoter's alarm clock promotion is polled; nothing spins."""
    acl = own_server.client
    acl.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">secret", "~*", "+@all", "-blpop")
    fleet = workers.start_fleet(connection=f"redis://worker:secret@127.0.0.1:{own_server.port}/0")
    queue.add("delayed", {}, delay=300)
    ledger.wait_for_ends(1)
    each_still_works(fleet, queue, ledger)
    wait_until(lambda: acl.info("server")["uptime_in_seconds"] >= 3)
    refused = acl.info("commandstats").get("cmdstat_blpop", {"rejected_calls": 0})["rejected_calls"]
    assert refused < 200, f"{refused} refused commands in three seconds"
