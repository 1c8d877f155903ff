"""One queue on one server, seen from one flavour: what a test acts on, and what it finds in Redis afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import msgpack
import redis

from tests.conformance.flavours import PATIENCE_S, POLL_S, Flavour

T = TypeVar("T")

GROUP = "default"


@dataclasses.dataclass(frozen=True, repr=False)
class World:
    flavour: Flavour
    url: str
    name: str
    admin: redis.Redis

    def queue(self, **options: Any) -> Any:
        return self.flavour.queue(self.name, **{"connection": self.url, **options})

    def worker(self, handler: Any, **options: Any) -> Any:
        return self.flavour.worker(self.name, handler, **{"connection": self.url, **options})

    def gate(self) -> Any:
        return self.flavour.gate()

    async def until(self, condition: Callable[[], T], what: str = "") -> T:
        """Waits for a condition that only Redis, or a list of the test's own, can tell."""
        for _ in range(int(PATIENCE_S / POLL_S)):
            if found := condition():
                return found
            await self.flavour.sleep(POLL_S)
        raise AssertionError(f"it did not happen: {what or condition}")

    # -- what is in Redis ------------------------------------------------------------------------------------------

    def key(self, kind: str) -> str:
        return f"{{chasqui:{self.name}}}:{kind}"

    def stream(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        return self.admin.xrange(self.key("stream"))

    def delayed(self) -> list[tuple[bytes, float]]:
        return self.admin.zrange(self.key("delayed"), 0, -1, withscores=True)

    def dead(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.admin.xrange(self.key("dlq"))]

    def events(self) -> list[dict[str, str]]:
        """The events stream; every event as its fields in the order in which they were written."""
        return [
            {field.decode(): value.decode() for field, value in fields.items()}
            for _, fields in self.admin.xrange(self.key("events"))
        ]

    def event_names(self, job_id: str) -> list[str]:
        return [event["e"] for event in self.events() if event["id"] == job_id]

    def pending(self) -> list[dict[str, Any]]:
        """What is leased, by whom, and how often it was delivered."""
        try:
            return self.admin.xpending_range(self.key("stream"), GROUP, "-", "+", 100)
        except redis.ResponseError:  # no stream or no group
            return []

    def consumers(self) -> list[str]:
        try:
            return [row["name"].decode() for row in self.admin.xinfo_consumers(self.key("stream"), GROUP)]
        except redis.ResponseError:
            return []

    def standing_reads(self) -> int:
        """Reads that wait for jobs, of all queues. Before Redis 7.2 they do not make their readers consumers."""
        clients = self.admin.client_list()
        return sum(client["cmd"].startswith("xreadgroup") and "b" in client["flags"] for client in clients)

    def is_empty(self) -> bool:
        """Nothing waits, runs or is delayed."""
        return self.admin.xlen(self.key("stream")) == 0 and self.admin.zcard(self.key("delayed")) == 0

    def put(self, fields: dict[bytes, bytes]) -> bytes:
        """Writes a stream entry by hand, as a foreign producer might."""
        return self.admin.xadd(self.key("stream"), fields)

    def server_ms(self) -> int:
        seconds, microseconds = self.admin.time()
        return seconds * 1000 + microseconds // 1000


def envelope(job_id: str, data: Any, created_ms: int = 1_700_000_000_000, attempt: int = 0, *retry: Any) -> bytes:
    """A job as the wire has it, written by an encoder that is not ours (docs/wire-format.md, job envelope)."""
    return msgpack.packb([job_id, msgpack.packb(data), created_ms, attempt, *retry])


def command_calls(admin: redis.Redis) -> dict[str, int]:
    """How often the server ran each command since ``CONFIG RESETSTAT``, without the test's own."""
    statistics = admin.info("commandstats")
    own = ("config", "info")
    return {
        name.removeprefix("cmdstat_"): row["calls"]
        for name, row in statistics.items()
        if not name.removeprefix("cmdstat_").startswith(own)
    }
