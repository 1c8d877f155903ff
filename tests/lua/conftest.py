"""Each script runs as each kind of server gets it: in both forms on the newest Redis, in its one form elsewhere."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis

from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile, profile_of
from chasquimq._core.scripts import load_script
from tests.conftest import have
from tests.servers import RedisServer, ensure

GROUP = b"default"
CLASSIC = profile_of("redis", "7.0.15", None)
XACKDEL = profile_of("redis", "8.2.3", None)
FORMS = {
    "xackdel on redis-8.6": ("redis-8.6", XACKDEL),
    "xackdel on redis-8.2": ("redis-8.2", XACKDEL),
    "classic on redis-8.6": ("redis-8.6", CLASSIC),
    "classic on redis-7.0": ("redis-7.0", CLASSIC),
    "classic on valkey-9": ("valkey-9", CLASSIC),
}


class Place:
    """One queue on one server: what the scripts do to it, seen through a client that has nothing to do with them."""

    def __init__(self, client: redis.Redis, profile: ServerProfile) -> None:
        self.client = client
        self.profile = profile
        self.keys = QueueKeys("lua")

    def run(self, script: str, keys: list[bytes], *arguments: Any) -> Any:
        return self.client.eval(load_script(script, self.profile).text.decode(), len(keys), *keys, *arguments)

    def group(self) -> None:
        self.client.xgroup_create(self.keys.stream, GROUP, "0", mkstream=True)

    def delivered(self, count: int = 1, consumer: str = "me", **fields: Any) -> list[bytes]:
        """Adds entries and has them delivered to ``consumer``; their ids."""
        ids = [self.client.xadd(self.keys.stream, fields or {"d": b"%d" % number}) for number in range(count)]
        self.client.xreadgroup(GROUP, consumer, {self.keys.stream: ">"}, count=count)
        return ids

    def pending(self) -> dict[bytes, tuple[str, int]]:
        """Whose each pending entry is, and how often it was delivered."""
        rows = self.client.xpending_range(self.keys.stream, GROUP, "-", "+", 1000)
        return {row["message_id"]: (row["consumer"].decode(), row["times_delivered"]) for row in rows}

    def make_idle(self, idle_ms: int, consumer: str, *ids: bytes) -> None:
        self.client.xclaim(self.keys.stream, GROUP, consumer, 0, list(ids), idle=idle_ms, justid=True)

    def idle_ms(self, entry_id: bytes) -> int:
        (row,) = self.client.xpending_range(self.keys.stream, GROUP, entry_id, entry_id, 1)
        return int(row["time_since_delivered"])

    def consumers(self) -> set[str]:
        return {row["name"].decode() for row in self.client.xinfo_consumers(self.keys.stream, GROUP)}

    def stream(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(self.keys.stream)]

    def stream_ids(self) -> list[bytes]:
        return [entry_id for entry_id, _ in self.client.xrange(self.keys.stream)]

    def dlq(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(self.keys.dlq)]

    def events(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(self.keys.events)]

    def delayed(self) -> dict[bytes, int]:
        return {member: int(score) for member, score in self.client.zrange(self.keys.delayed, 0, -1, withscores=True)}

    def wake_tokens(self) -> int:
        return int(self.client.llen(self.keys.wake))

    def now_ms(self) -> int:
        seconds, microseconds = self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    @contextmanager
    def full(self) -> Iterator[None]:
        """The server is at maxmemory and evicts nothing."""
        self.client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            self.client.config_set("maxmemory", "0")


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, RedisServer]]:
    """Private servers by name, started when the first test asks for them."""
    with ExitStack() as stack:

        class Started(dict[str, RedisServer]):
            def __missing__(self, name: str) -> RedisServer:
                binary = have(lambda: ensure(name), required=not name.startswith("valkey"))
                self[name] = stack.enter_context(RedisServer(binary, port=False))
                return self[name]

        yield Started()


@pytest.fixture(params=FORMS)
def place(request: pytest.FixtureRequest, servers: dict[str, RedisServer]) -> Iterator[Place]:
    """An empty server, and the form of the scripts that is sent to it."""
    server, profile = FORMS[request.param]
    client = servers[server].client
    client.flushall()
    yield Place(client, profile)
    lasting = {key for key in client.scan_iter(count=1000) if client.pttl(key) == -1}
    keys = QueueKeys("lua")
    assert lasting <= {keys.stream, keys.delayed, keys.dlq, keys.events}, "a key without a lifetime was left behind"
