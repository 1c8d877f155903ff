"""A real Redis Cluster on the loopback interface, whose slots and primaries a test can move."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import redis

from tests.servers import RedisServer, ServerBinary
from tests.servers.process import free_port

SLOTS = 16_384
NODE_TIMEOUT_MS = 2_000
WITHIN_S = 30.0
POLL_S = 0.02


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s: {what}"
        time.sleep(POLL_S)
    return found


class Node:
    """One server of the cluster."""

    def __init__(self, binary: ServerBinary, *config: str) -> None:
        self.bus_port = free_port()
        self.server = RedisServer(
            binary,
            appendonly=True,
            config=[
                "cluster-enabled yes",
                f"cluster-port {self.bus_port}",
                f"cluster-node-timeout {NODE_TIMEOUT_MS}",
                # The other slots are served on while one primary is away.
                "cluster-require-full-coverage no",
                "cluster-replica-validity-factor 0",
                "cluster-migration-barrier 10",
                "repl-diskless-sync-delay 0",
                *config,
            ],
        )

    @property
    def port(self) -> int:
        assert self.server.port is not None
        return self.server.port

    @property
    def client(self) -> redis.Redis:
        return self.server.client

    def say(self, *words: Any) -> Any:
        return self.client.execute_command(*words)

    @property
    def id(self) -> str:
        return self.say("CLUSTER MYID").decode()

    @property
    def is_primary(self) -> bool:
        return self.client.role()[0] == b"master"


class Cluster:
    """Primaries that share all slots, and replicas. Use as a context manager."""

    def __init__(self, binary: ServerBinary, *, primaries: int = 3, replicas: int = 1, config: tuple[str, ...] = ()):
        self.nodes = [Node(binary, *config) for _ in range(primaries + replicas)]
        self._primaries = primaries

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.server.start(wait=False)
        for node in self.nodes:
            node.server.wait_until_ready()
        primaries = self.nodes[: self._primaries]
        for number, node in enumerate(primaries):
            start, end = (SLOTS * part // len(primaries) for part in (number, number + 1))
            node.say("CLUSTER ADDSLOTSRANGE", start, end - 1)
            node.say("CLUSTER SET-CONFIG-EPOCH", number + 1)
        # Gossip would bring them together too, and take its time.
        for node, other in itertools.combinations(self.nodes, 2):
            node.say("CLUSTER MEET", "127.0.0.1", other.port, other.bus_port)
        wait_for(lambda: all(self._has_met_all(node) for node in self.nodes), "they met")
        for number, replica in enumerate(self.nodes[self._primaries :]):
            replica.say("CLUSTER REPLICATE", primaries[number % len(primaries)].id)
        wait_for(self.is_whole, "the cluster is up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.server.close()

    def _has_met_all(self, node: Node) -> bool:
        known = node.say("CLUSTER NODES").values()
        return len(known) == len(self.nodes) and not any("handshake" in row["flags"] for row in known)

    def is_whole(self) -> bool:
        """Everybody knows who serves what, and every replica follows."""
        return all(self._is_content(node) for node in self.nodes)

    def _is_content(self, node: Node) -> bool:
        covered = sum(row[1] - row[0] + 1 for row in node.say("CLUSTER SLOTS"))
        follows = node.is_primary or node.client.info("replication")["master_link_status"] == "up"
        return node.say("CLUSTER INFO")["cluster_state"] == "ok" and covered == SLOTS and follows
