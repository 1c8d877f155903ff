"""F36 on a Cluster and with Sentinel: the documented rights are enough, and the last line of them may be missing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from chasquimq import Queue, QueueEvents, Worker
from tests.conformance.flavours import PATIENCE_S
from tests.examples.conftest import ROOT
from tests.examples.test_acl import documented_rights
from tests.servers import RedisServer
from tests.topologies.cluster import Cluster, wait_for
from tests.topologies.sentinels import Watched

PAGE = ROOT / "docs" / "guides" / "topologies.md"


def rights_at_sentinels() -> list[str]:
    """What the page lists."""
    block = re.search(r"^```acl\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].split()


@pytest.fixture
def limited(topology: Cluster | Watched) -> Iterator[str]:
    """A user, everywhere, who may do nothing yet."""
    name = f"limited-{secrets.token_hex(4)}"
    for server in servers_of(topology):
        server.client.execute_command("ACL", "SETUSER", name, "on", ">s3cret", "resetkeys", "nocommands")
    yield name
    for server in servers_of(topology):
        server.client.execute_command("ACL", "DELUSER", name)


def servers_of(topology: Cluster | Watched) -> list[RedisServer]:
    if isinstance(topology, Cluster):
        return [node.server for node in topology.nodes]
    return [*topology.servers, *topology.sentinels]


def allow(topology: Cluster | Watched, user: str, queue: str, lines: list[str]) -> dict[str, Any]:
    """Gives the user these rights; how to connect as that user."""
    words = [word for line in lines for word in line.split()]
    connection: dict[str, Any] = {"url": topology.url, "username": user, "password": "s3cret"}
    for server in servers_of(topology):
        rights = words
        if isinstance(topology, Watched) and server in topology.sentinels:
            rights = rights_at_sentinels()
            connection |= {"sentinel_username": user, "sentinel_password": "s3cret"}
        known = {name.lower() for name in server.client.command()}
        rights = [word for word in rights if word[1:].partition("|")[0] in known]
        server.client.execute_command("ACL", "SETUSER", user, f"~{{chasqui:{queue}}}:*", *rights)
        server.client.execute_command("ACL", "LOG", "RESET")
    return connection


def work(queue_name: str, connection: dict[str, Any], move: Any) -> None:
    """A bit of everything, before and after a move."""
    seen: list[str] = []
    with (
        Queue[Any, Any](queue_name, connection=connection) as queue,
        QueueEvents(queue_name, connection=connection) as events,
        Worker(queue_name, lambda job: job.data, connection=connection, store_results=True) as worker,
    ):
        worker.on("error", lambda error: seen.append(str(error)))
        for number in range(2):
            jobs = [
                queue.add("plain", 1),
                queue.add("late", 2, delay=20),
                queue.add_unique("once", 3, job_id=f"once-{number}"),
                *queue.add_bulk([("row", 4), ("row", 5, {"job_id": f"row-{number}"})]),
            ]
            results = [job.wait_for_result(timeout_ms=int(PATIENCE_S * 1000), interval_ms=5) for job in jobs]
            assert results == [1, 2, 3, 4, 5]
            if number == 0:
                move(queue)
        assert next(iter(events)).event
    assert not [text for text in seen if "NOPERM" in text]


def move_slot(cluster: Cluster, slot: int) -> Any:
    """A move in which the user's commands are asked for elsewhere."""
    source = cluster.owner(slot)
    target = next(node for node in cluster.nodes if node.is_primary and node is not source)

    def move(queue: Any) -> None:
        cluster.begin_move(slot, source, target)
        cluster.move_keys(slot, source, target)
        queue.add("asked", 6)
        cluster.end_move(slot, source, target)

    return move


@pytest.mark.parametrize("missing", ["nothing", "the last line"])
def test_f36_the_documented_rights_are_enough(topology: Cluster | Watched, limited: str, missing: str) -> None:
    lines = documented_rights() if missing == "nothing" else documented_rights()[:-1]
    if isinstance(topology, Cluster):
        home = topology.owner(0)
        queue, slot = topology.name_on(home, f"rights-{secrets.token_hex(4)}")
        connection = allow(topology, limited, queue, lines)
        work(queue, connection, move_slot(topology, slot) if missing == "nothing" else lambda queue: None)
        if missing == "nothing":
            topology.reshard(slot, home)
        for key in home.say("CLUSTER GETKEYSINSLOT", slot, 1_000):
            home.say("DEL", key)
        wait_for(topology.is_whole, "the slot is back")
    else:
        queue = f"rights-{secrets.token_hex(4)}"
        work(queue, allow(topology, limited, queue, lines), lambda queue: None)
        client: redis.Redis = topology.primary.client
        client.unlink(*client.keys(f"{{chasqui:{queue}}}:*"))
    if missing == "nothing":
        checked = topology.nodes if isinstance(topology, Cluster) else topology.servers
        for node in checked:
            server = node if isinstance(node, RedisServer) else node.server
            denied = [row for row in server.client.acl_log() if row["username"] == limited]
            assert denied == []
