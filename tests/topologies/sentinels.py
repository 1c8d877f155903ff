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
        """Every sentinel knows the others and the replica, and all is well."""
        for sentinel in self.sentinels:
            known = _pairs(sentinel.client.execute_command("SENTINEL", "MASTER", SERVICE))
            if (
                known["flags"] != "master"
                or int(known["num-other-sentinels"]) != len(self.sentinels) - 1
                or int(known["num-slaves"]) != 1
                or int(known["port"]) != self.primary.port
            ):
                return False
            (replica,) = sentinel.client.execute_command("SENTINEL", "REPLICAS", SERVICE)
            if _pairs(replica)["flags"] != "slave" or _pairs(replica)["master-link-status"] != "ok":
                return False
        return self._follows(self.replica)

    @property
    def primary(self) -> RedisServer:
        return next(server for server in self.servers if server.pid and server.client.role()[0] == b"master")

    @property
    def replica(self) -> RedisServer:
        return next(server for server in self.servers if server.pid and server.client.role()[0] == b"slave")

    def _follows(self, server: RedisServer) -> bool:
        return bool(server.client.info("replication").get("master_link_status") == "up")

    def fail_over(self) -> RedisServer:
        """Has a sentinel change the primary; returns the new one."""
        before, after = self.primary, self.replica
        wait_for(self._begins_fail_over, "a sentinel begins the failover")
        wait_for(lambda: self._is(before, b"slave") and self._is(after, b"master"), "the roles have changed")
        return after

    def _begins_fail_over(self) -> bool:
        try:
            self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        except redis.ResponseError as error:
            # It knows of no replica, or of a failover that is not quite over.
            if str(error).startswith(("INPROG", "NOGOODSLAVE")):
                return False
            raise
        return True

    def _is(self, server: RedisServer, role: bytes) -> bool:
        try:
            return bool(server.client.role()[0] == role)
        except redis.ConnectionError:
            return False


def _pairs(flat: Any) -> dict[str, str]:
    if isinstance(flat, dict):
        return {_text(key): _text(value) for key, value in flat.items()}
    return {_text(key): _text(value) for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
