"""What a queue's keys hold, read with an independent client and unpacked with an independent MessagePack."""

from typing import Any

import msgpack
import redis

Fields = dict[bytes, bytes]
GROUP = "default"


class QueueState:
    def __init__(self, client: redis.Redis, queue: str) -> None:
        self.client = client
        self.prefix = f"{{chasqui:{queue}}}:"

    def key(self, name: str) -> str:
        return self.prefix + name

    def waiting_or_running(self) -> int:
        return int(self.client.xlen(self.key("stream")))

    def pending(self) -> int:
        return sum(int(row["pending"]) for row in self.consumers())

    def consumers(self) -> list[dict[str, Any]]:
        try:
            return list(self.client.xinfo_consumers(self.key("stream"), GROUP))
        except redis.ResponseError:
            return []

    def has_group(self) -> bool:
        try:
            return bool(self.client.xinfo_groups(self.key("stream")))
        except redis.ResponseError:  # there is no stream
            return False

    def is_empty(self) -> bool:
        """Nothing waits, runs or is delayed."""
        return not (self.waiting_or_running() or self.pending() or self.delayed())

    def delayed(self) -> list[tuple[bytes, float]]:
        return list(self.client.zrange(self.key("delayed"), 0, -1, withscores=True))

    def dead(self) -> list[Fields]:
        return [fields for _, fields in self.client.xrange(self.key("dlq"))]

    def events(self, kind: str | None = None) -> list[dict[str, str]]:
        rows = [
            {key.decode(): value.decode() for key, value in fields.items()}
            for _, fields in self.client.xrange(self.key("events"))
        ]
        return [row for row in rows if kind is None or row["e"] == kind]

    def leader(self) -> str:
        """Who holds the promoter lock; empty: nobody."""
        holder = self.client.get(self.key("promoter:lock"))
        return holder.decode() if isinstance(holder, bytes) else ""

    def add_entry(self, fields: Fields) -> bytes:
        """Writes an entry by hand."""
        return self.client.xadd(self.key("stream"), fields)  # type: ignore[arg-type,return-value]

    def server_now_ms(self) -> float:
        seconds, microseconds = self.client.time()
        return seconds * 1000 + microseconds / 1000


def envelope(member_or_entry: bytes) -> list[Any]:
    return list(msgpack.unpackb(member_or_entry, strict_map_key=False))


def member_envelope(member: bytes) -> list[Any]:
    """The envelope inside a member of the delayed set."""
    return envelope(member[4 + int.from_bytes(member[:4], "little") :])
