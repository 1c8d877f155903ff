"""Replies of XREADGROUP and its kin to entries (docs/wire-format.md, sections 4 and 8).

Decides which entries can run and gives the others their dead-letter reason. It must never raise because of what
somebody wrote into the stream, and never print a payload.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from chasquimq._fast._pure.backoff import BackoffTuple
from chasquimq._fast._pure.envelope import envelope_fields
from chasquimq.errors import EnvelopeError

_COUNTER_MAX = 2**63 - 1


class Entry:
    """One stream entry, decoded. Read-only but for the fields of its run, which belong to the worker.

    ``fault`` is None for an entry that can run, else the reason it goes to the dead-letter queue with:
    ``malformed``, ``oversize_payload`` or ``decode_failed``; ``raw`` is then all there is of the job.
    """

    __slots__ = (
        "attempt",
        "backoff",
        "created_at_ms",
        "deliveries",
        "detail",
        "duration_us",
        "entry_id",
        "fault",
        "finished_on",
        "idle_ms",
        "job_id",
        "lease_until",
        "lost",
        "max_attempts",
        "name",
        "payload",
        "raw",
        "result",
        "shown",
        "started_on",
    )

    def __init__(
        self,
        entry_id: bytes,
        job_id: str = "",
        payload: bytes = b"",
        *,
        name: str = "",
        created_at_ms: int = 0,
        attempt: int = 0,
        max_attempts: int | None = None,
        backoff: BackoffTuple | None = None,
        raw: bytes = b"",
        deliveries: int = 0,
        idle_ms: int = 0,
        fault: str | None = None,
        detail: str = "",
    ) -> None:
        self.entry_id: Final = entry_id
        self.job_id: Final = job_id
        self.payload: Final = payload
        self.name: Final = name
        self.created_at_ms: Final = created_at_ms
        self.attempt: Final = attempt
        self.max_attempts: Final = max_attempts
        self.backoff: Final = backoff
        self.raw: Final = raw
        self.deliveries: Final = deliveries
        self.idle_ms: Final = idle_ms
        self.fault: Final = fault
        self.detail: Final = detail
        self.lease_until: float = 0.0
        self.lost: bool = False
        self.started_on: int = 0
        self.finished_on: int = 0
        self.duration_us: int = 0
        self.result: bytes | None = None
        self.shown: str | None = None

    def __repr__(self) -> str:
        state = f"attempt={self.attempt}" if self.fault is None else f"fault={self.fault}"
        return (
            f"<Entry {self.entry_id.decode('ascii', 'replace')} job={self.job_id!r} name={self.name!r} {state} "
            f"deliveries={self.deliveries} payload={len(self.payload)} bytes>"
        )


class StreamReply:
    """A stream reply whose entries were parsed while it was read."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries


def parse_entries(reply: object, max_payload_bytes: int) -> list[Entry]:
    """The entries in a whole XREADGROUP reply, of all its streams, RESP2 or RESP3. Empty when nothing was read.

    Raises ValueError when the reply is not of that shape at all.
    """
    if reply is None:
        return []
    if isinstance(reply, StreamReply):
        return reply.entries
    if isinstance(reply, dict):
        streams: Iterable[Any] = reply.items()
    elif isinstance(reply, (list, tuple)):
        streams = reply
    else:
        raise ValueError(f"a stream reply is a list or a map, not {type(reply).__name__}")
    parsed: list[Entry] = []
    for stream in streams:
        if not isinstance(stream, (list, tuple)) or len(stream) != 2:
            raise ValueError("a stream reply holds pairs of a key and its entries")
        parsed += parse_entry_list(stream[1], max_payload_bytes)
    return parsed


def parse_entry_list(entries: object, max_payload_bytes: int) -> list[Entry]:
    """The entries in a bare list, as XAUTOCLAIM, XRANGE and scripts return it; deleted ones are passed over."""
    if entries is None:
        return []
    if not isinstance(entries, (list, tuple)):
        raise ValueError(f"stream entries come as a list, not {type(entries).__name__}")
    parsed: list[Entry] = []
    for item in entries:
        if item is None:
            continue
        if not isinstance(item, (list, tuple)) or len(item) < 2 or not isinstance(item[0], bytes):
            raise ValueError("a stream entry is a list of its id and its fields")
        if item[1] is None:
            continue
        idle_ms = _counter(item[2]) if len(item) > 3 else 0
        deliveries = _counter(item[3]) if len(item) > 3 else 0
        parsed.append(_entry(item[0], _flat(item[1]), idle_ms, deliveries, max_payload_bytes))
    return parsed


def _counter(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _COUNTER_MAX else 0


def _flat(fields: object) -> list[Any] | tuple[Any, ...]:
    """Fields as ``[name, value, ...]`` whatever the protocol version made of them."""
    if isinstance(fields, dict):
        return [part for pair in fields.items() for part in pair]
    if not isinstance(fields, (list, tuple)):
        raise ValueError(f"the fields of a stream entry come as a list or a map, not {type(fields).__name__}")
    if fields and isinstance(fields[0], (list, tuple)):
        return [part for pair in fields if isinstance(pair, (list, tuple)) and len(pair) == 2 for part in pair]
    return fields


def _entry(
    entry_id: bytes,
    fields: list[Any] | tuple[Any, ...],
    idle_ms: int,
    deliveries: int,
    max_payload_bytes: int,
) -> Entry:
    raw: object = None
    name_bytes: object = b""
    for position in range(0, len(fields) - 1, 2):
        if fields[position] == b"d":
            raw = fields[position + 1]
        elif fields[position] == b"n":
            name_bytes = fields[position + 1]
    if not isinstance(raw, bytes):
        return Entry(
            entry_id,
            idle_ms=idle_ms,
            deliveries=deliveries,
            fault="malformed",
            detail="missing or non-bytes payload field",
        )
    try:
        name = name_bytes.decode() if isinstance(name_bytes, bytes) else ""
    except UnicodeDecodeError:
        name = ""
    if len(raw) > max_payload_bytes:
        return Entry(
            entry_id,
            name=name,
            raw=raw,
            idle_ms=idle_ms,
            deliveries=deliveries,
            fault="oversize_payload",
            detail=f"{len(raw)} bytes, the limit is {max_payload_bytes}",
        )
    try:
        job_id, payload, created_at_ms, attempt, max_attempts, backoff = envelope_fields(raw)
    except EnvelopeError as error:
        return Entry(
            entry_id,
            raw=raw,
            idle_ms=idle_ms,
            deliveries=deliveries,
            fault="decode_failed",
            detail=str(error),
        )
    return Entry(
        entry_id,
        job_id,
        payload,
        name=name,
        created_at_ms=created_at_ms,
        attempt=attempt,
        max_attempts=max_attempts,
        backoff=backoff,
        raw=raw,
        deliveries=deliveries,
        idle_ms=idle_ms,
    )
