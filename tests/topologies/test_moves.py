"""F22, F23, F35: a queue works on while its slot, its primary or both become others'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.sentinel

from tests.topologies.cluster import Cluster, wait_for
from tests.topologies.sentinels import SERVICE, Watched
from tests.topologies.traffic import Traffic


@pytest.fixture
def cluster_admin(cluster: Cluster) -> Iterator[redis.Redis]:
    with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[1].port) as client:
        yield client


@pytest.fixture
def sentinel_admin(watched: Watched) -> Iterator[redis.Redis]:
    watching = redis.sentinel.Sentinel([("127.0.0.1", sentinel.port) for sentinel in watched.sentinels])
    with watching.master_for(SERVICE) as client:
        yield client
    for sentinel in watching.sentinels:
        sentinel.close()


def test_f35_the_slot_moves_to_another_node_and_back(
    cluster: Cluster, cluster_admin: redis.Redis, tmp_path: Path
) -> None:
    first, second, third = (node for node in cluster.nodes if node.is_primary)
    queue, slot = cluster.name_on(first, "moves")
    # The producers name one node, as if it were a lone server, and not the one that has the queue.
    with Traffic(f"redis://127.0.0.1:{third.port}", queue, tmp_path, cluster_admin, worker_url=cluster.url) as traffic:
        traffic.flows()
        cluster.reshard(slot, second, pause_s=0.05)
        traffic.flows()
        cluster.reshard(slot, first, pause_s=0.05)
        traffic.flows()
        traffic.settle()
    traffic.check(exactly_once=True)


def test_f22_a_replica_takes_over_in_an_orderly_way(
    cluster: Cluster, cluster_admin: redis.Redis, tmp_path: Path
) -> None:
    primary = cluster.owner(0)  # the one that has a replica
    queue, _ = cluster.name_on(primary, "turns")
    with Traffic(cluster.url, queue, tmp_path, cluster_admin) as traffic:
        traffic.flows()
        cluster.fail_over(primary)
        traffic.flows()
        wait_for(cluster.is_whole, "the old primary follows the new one")
        cluster.fail_over(cluster.owner(0))
        traffic.flows()
        traffic.settle()
    traffic.check(exactly_once=True)


def test_f22_the_primary_is_killed_and_its_replica_elected(
    cluster: Cluster, cluster_admin: redis.Redis, tmp_path: Path
) -> None:
    """Producers that add meanwhile wait until the election is over."""
    primary = cluster.owner(0)
    replica = cluster.replica_of(primary)
    queue, _ = cluster.name_on(primary, "killed")
    with Traffic(cluster.url, queue, tmp_path, cluster_admin, failover_timeout_ms=30_000) as traffic:
        traffic.flows()
        # What the replica does not have yet is lost with its primary; that is no fault of ours to be tested.
        traffic.pause()
        wait_for(lambda: replicated(primary.client), "the replica has everything")
        primary.server.kill()
        traffic.resume()
        try:
            wait_for(lambda: replica.is_primary, "the replica is elected")
            traffic.flows()
        finally:
            primary.server.start()
        wait_for(cluster.is_whole, "the old primary follows the new one")
        traffic.flows()
        traffic.settle()
    traffic.check(exactly_once=False)
    assert len(traffic.doubtful()) < 100


def test_f22_a_failover_by_hand_loses_nothing_if_lone_primaries_take_no_writes(
    watched: Watched, sentinel_admin: redis.Redis, tmp_path: Path
) -> None:
    """The old primary would take writes for ten seconds more, and forget them when it is told to follow."""
    before, after = watched.primary, watched.replica
    for server in watched.servers:
        server.client.config_set("min-replicas-to-write", 1)
    try:
        with Traffic(watched.url, "by-hand", tmp_path, sentinel_admin, failover_timeout_ms=30_000) as traffic:
            traffic.flows()
            # A write in the very moment in which the replica leaves is lost: replication is asynchronous.
            traffic.pause()
            wait_for(lambda: replicated(before.client), "the replica has everything")
            watched.begin_fail_over()
            wait_for(lambda: not before.client.info("replication")["connected_slaves"], "the replica has left")
            traffic.resume()
            wait_for(lambda: watched.all_name(after), "the sentinels name the new primary")
            watched.demote(before, after)
            traffic.flows()
            traffic.settle()
        traffic.check(exactly_once=False)
        assert not traffic.errors(), traffic.errors()[:3]
    finally:
        for server in watched.servers:
            server.client.config_set("min-replicas-to-write", 0)


def test_f22_the_primary_is_killed_and_sentinels_name_another(
    watched: Watched, sentinel_admin: redis.Redis, tmp_path: Path
) -> None:
    primary, replica = watched.primary, watched.replica
    with Traffic(watched.url, "killed", tmp_path, sentinel_admin, failover_timeout_ms=30_000) as traffic:
        traffic.flows()
        traffic.pause()
        wait_for(lambda: replicated(primary.client), "the replica has everything")
        primary.kill()
        traffic.resume()
        try:
            wait_for(lambda: replica.client.role()[0] == b"master", "the replica has taken over")
            traffic.flows()
        finally:
            primary.start()
            watched.demote(primary, replica)
        traffic.settle()
    traffic.check(exactly_once=False)
    assert len(traffic.doubtful()) < 100


def replicated(client: redis.Redis) -> bool:
    """Whether a replica has everything up to now."""
    client.publish("chasquimq-tests", "now")  # WAIT is about the last write of the connection that asks
    return bool(client.wait(1, 1_000))
