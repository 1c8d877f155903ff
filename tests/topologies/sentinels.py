"""A primary, a replica and three real sentinels that watch them, on the loopback interface."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import redis

from tests.servers import RedisServer, ServerBinary, TLSFiles
from tests.topologies.cluster import wait_for

SERVICE = "mymaster"
QUORUM = 2


class Watched:
    """The servers and those who watch them. Use as a context manager.

    ``password``: of the servers; ``sentinel_password``: of the sentinels.
    """

    def __init__(
        self,
        binary: ServerBinary,
        *,
        sentinels: int = 3,
        password: str | None = None,
        sentinel_password: str | None = None,
        tls: TLSFiles | None = None,
    ) -> None:
        secured = ["tls-replication yes"] if tls else []
        login = ["masterauth " + password] if password else []
        config = ["repl-diskless-sync-delay 0", *login, *secured]
        options: Any = {"appendonly": True, "requirepass": password, "tls": tls}
        first = RedisServer(binary, config=config, **options)
        second = RedisServer(binary, config=[f"replicaof 127.0.0.1 {first.port}", *config], **options)
        self.servers = [first, second]
        watching = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {first.port} {min(QUORUM, sentinels)}",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 2000",
        ]
        if password:
            watching.append(f"sentinel auth-pass {SERVICE} {password}")
        if sentinel_password:
            watching.append(f"sentinel sentinel-pass {sentinel_password}")
        self.sentinels = [
            RedisServer(binary, sentinel=True, requirepass=sentinel_password, tls=tls, config=[*watching, *secured])
            for _ in range(sentinels)
        ]

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        wait_for(lambda: self._follows(self.servers[1]), "the replica follows")
        for sentinel in self.sentinels:
            sentinel.start()
        wait_for(self.is_whole, "the sentinels know each other and the replica")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in [*self.sentinels, *self.servers]:
            server.close()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def is_whole(self) -> bool:
        """There is a primary and a replica that follows it, and every sentinel knows of it and of the others."""
        if {server.client.role()[0] for server in self.servers} != {b"master", b"slave"}:
            return False
        if not self._follows(self.replica):
            return False
        for sentinel in self.sentinels:
            known = _pairs(sentinel.client.execute_command("SENTINEL", "MASTER", SERVICE))
            others = int(known["num-other-sentinels"])
            if known["flags"] != "master" or others != len(self.sentinels) - 1 or int(known["num-slaves"]) != 1:
                return False
            if int(known["port"]) != self.primary.port:
                return False
        return True

    @property
    def primary(self) -> RedisServer:
        return next(server for server in self.servers if server.pid and server.client.role()[0] == b"master")

    @property
    def replica(self) -> RedisServer:
        return next(server for server in self.servers if server.pid and server.client.role()[0] == b"slave")

    def _follows(self, server: RedisServer) -> bool:
        return bool(server.client.info("replication").get("master_link_status") == "up")

    def begin_fail_over(self) -> None:
        """Has a sentinel promote the replica."""
        wait_for(self._begins_fail_over, "a sentinel begins the failover")

    def all_name(self, server: RedisServer) -> bool:
        """Whether every sentinel says that this is the primary."""
        named = [
            sentinel.client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
            for sentinel in self.sentinels
        ]
        return all(int(address[1]) == server.port for address in named)

    def demote(self, server: RedisServer, primary: RedisServer) -> None:
        """What a sentinel does to an old primary, too, but only after about ten seconds."""
        server.client.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _begins_fail_over(self) -> bool:
        try:
            self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        except redis.ResponseError as error:
            # It knows of no replica, or of a failover that is not quite over.
            if str(error).startswith(("INPROG", "NOGOODSLAVE")):
                return False
            raise
        return True


def _pairs(flat: Any) -> dict[str, str]:
    if isinstance(flat, dict):
        return {_text(key): _text(value) for key, value in flat.items()}
    return {_text(key): _text(value) for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
