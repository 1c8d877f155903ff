"""A real Redis Cluster on the loopback interface, whose slots and primaries a test can move."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import redis
from redis.crc import key_slot

from tests.servers import RedisServer, ServerBinary, TLSFiles
from tests.servers.process import free_port

SLOTS = 16_384
NODE_TIMEOUT_MS = 2_000
WITHIN_S = 30.0
GIVEN_UP_S = 6.0
"""A replica that could not take over within five seconds gives it up, and has to be asked again."""
TRIES = 5
POLL_S = 0.02


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s: {what}"
        time.sleep(POLL_S)
    return found


class Node:
    """One server of the cluster."""

    def __init__(self, binary: ServerBinary, config: list[str], **options: Any) -> None:
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
                "repl-diskless-sync-delay 0",
                *config,
            ],
            **options,
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
        told: bytes = self.say("CLUSTER MYID")
        return told.decode()

    def known(self) -> list[list[bytes]]:
        """The lines of CLUSTER NODES: id, address, flags, primary's id and so on."""
        lines: bytes = self.say("CLUSTER", "NODES")  # in two words redis-py leaves the answer as it is
        return [line.split() for line in lines.splitlines()]

    @property
    def is_primary(self) -> bool:
        return bool(self.client.role()[0] == b"master")


class Cluster:
    """Primaries that share all slots, and replicas. Use as a context manager."""

    def __init__(
        self,
        binary: ServerBinary,
        *,
        primaries: int = 3,
        replicas: int = 1,
        config: list[str] | None = None,
        tls: TLSFiles | None = None,
    ) -> None:
        self.nodes = [Node(binary, config or [], tls=tls) for _ in range(primaries + replicas)]
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
        known = node.known()
        return len(known) == len(self.nodes) and not any(b"handshake" in row[2] for row in known)

    def is_whole(self) -> bool:
        """Everybody runs and knows who serves what, and every replica follows."""
        views = [self._view(node) for node in self.nodes]
        return all(views) and len(set(views)) == 1

    def _view(self, node: Node) -> tuple[Any, ...]:
        """What a node knows of who serves what; nothing if it is not content."""
        rows = node.say("CLUSTER SLOTS")
        covered = sum(row[1] - row[0] + 1 for row in rows)
        follows = node.is_primary or node.client.info("replication")["master_link_status"] == "up"
        info = node.say("CLUSTER INFO")
        if info["cluster_state"] != "ok" or covered != SLOTS or not follows:
            return ()
        return (info["cluster_current_epoch"], *sorted((row[0], row[1], row[2][2]) for row in rows))

    # -- where things are ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def name_on(self, node: Node, prefix: str) -> tuple[str, int]:
        """A queue's name whose slot ``node`` serves, and the slot."""
        for number in itertools.count():
            slot = key_slot(f"chasqui:{prefix}-{number}".encode())
            if self.owner(slot) is node:
                return f"{prefix}-{number}", slot
        raise AssertionError

    def owner(self, slot: int) -> Node:
        """The primary that serves the slot, in its own words."""
        for node in self.nodes:
            if node.server.pid is None or not node.is_primary:
                continue
            for first, last, primary, *_ in node.say("CLUSTER SLOTS"):
                if first <= slot <= last and primary[2].decode() == node.id:
                    return node
        raise AssertionError(f"nobody serves slot {slot}")

    def replica_of(self, primary: Node) -> Node:
        named = primary.id.encode()
        for node in self.nodes:
            if any(b"myself" in row[2] and row[3] == named for row in node.known()):
                return node
        raise AssertionError(f"{primary.port} has no replica")

    # -- moving them -----------------------------------------------------------------------------------------------

    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        # Two moves that do not know of each other get the same epoch, and then nobody knows which one counts.
        wait_for(self.is_whole, "everybody knows of the last move")
        target.say("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.say("CLUSTER SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: Node, target: Node, *, pause_s: float = 0.0) -> None:
        """Moves the keys that are there: first the few that a queue consists of, one by one, then the others."""
        while keys := source.say("CLUSTER GETKEYSINSLOT", slot, 1_000):
            few = [key for key in keys if key.count(":") == 2]
            for part in [[key] for key in few] or [keys]:
                source.say("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *part)
                time.sleep(pause_s)

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        others = [node for node in self.nodes if node is not source and node is not target and node.is_primary]
        for node in (target, source, *others):
            node.say("CLUSTER SETSLOT", slot, "NODE", target.id)

    def reshard(self, slot: int, target: Node, *, pause_s: float = 0.0) -> None:
        """Moves a slot as ``redis-cli --cluster reshard`` does, only slower."""
        source = self.owner(slot)
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target, pause_s=pause_s)
        self.end_move(slot, source, target)

    def fail_over(self, primary: Node) -> Node:
        """An orderly change: the replica takes over without losing a write; the new primary."""
        replica = self.replica_of(primary)
        for _ in range(TRIES):
            replica.say("CLUSTER FAILOVER")
            until = time.monotonic() + GIVEN_UP_S
            while time.monotonic() < until:
                if replica.is_primary and not primary.is_primary:
                    return replica
                time.sleep(POLL_S)
        raise AssertionError("the replica did not take over")
