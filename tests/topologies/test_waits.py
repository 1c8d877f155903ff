"""F35: whoever waits for results goes on waiting while the queue moves, and so does whoever follows its events."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterator

import pytest
import redis

from tests.conformance.flavours import Flavour
from tests.conformance.test_waiting import Waiters, complete, store, tell
from tests.conformance.world import World
from tests.conftest import remove_keys
from tests.topologies.cluster import Cluster, Node


@pytest.fixture
def cluster_admin(cluster: Cluster) -> Iterator[redis.Redis]:
    with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
        yield client


def is_read(node: Node) -> bool:
    """Whether somebody waits for events there."""
    return any(client["cmd"] == "xread" and "b" in client["flags"] for client in node.client.client_list())


async def test_f35_waits_go_on_while_their_slot_moves(
    flavour: Flavour, cluster: Cluster, cluster_admin: redis.Redis
) -> None:
    source, target = [node for node in cluster.nodes if node.is_primary][:2]
    name, slot = cluster.name_on(source, f"waits-{secrets.token_hex(4)}")
    world = World(flavour, cluster.url, name, cluster_admin)
    async with world.queue() as queue:
        jobs = [await queue.add("w", number) for number in range(6)]
        waiting = Waiters(world, jobs, interval_ms=50)
        async with flavour.beside(waiting.run):
            await world.until(lambda: is_read(source))
            for job in jobs[:3]:
                tell(world, "active", job.id)
            await flavour.in_thread(functools.partial(cluster.reshard, slot, target))
            for job in jobs[::2]:
                store(world, job.id, job.data)
                tell(world, "completed", job.id)
            await world.until(lambda: len(waiting.results) == 3)
            await world.until(lambda: is_read(target))
            for job in jobs[1::2]:
                complete(world, job.id, job.data)
            await world.until(lambda: len(waiting.results) == 6)
    assert not waiting.errors
    assert [waiting.results[job.id] for job in jobs] == list(range(6))
    assert not remove_keys(cluster_admin, name)
