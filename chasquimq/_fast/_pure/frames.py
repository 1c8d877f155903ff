"""Requests in RESP, the wire protocol of Redis (docs/wire-format.md, sections 4, 9 and 13).

Decides the bytes of a command and nothing else: it must never talk to a server. A call that raises leaves the
buffer as it was, so that a request is never half written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from chasquimq._fast._pure.entries import Entry
from chasquimq._fast._pure.envelope import check_unsigned, encode_envelope

Argument: TypeAlias = bytes | bytearray | memoryview | str | int | float

_U64_MAX = 2**64 - 1
_XADD = b"$4\r\nXADD\r\n"
_ANY_ID_FIELD_D = b"$1\r\n*\r\n$1\r\nd\r\n"


def pack_command(args: Sequence[Argument]) -> bytes:
    """One command as a RESP array of bulk strings. Raises TypeError for an argument Redis has no text form for."""
    if not args:
        raise ValueError("a command has at least its name; Redis sends no reply to an empty one")
    return b"".join((b"*%d\r\n" % len(args), *map(_bulk, map(argument_bytes, args))))


def event_head(events_key: bytes, max_len: int) -> bytes:
    """The constant start of an event's XADD, for ``FrameBuffer.active`` and ``FrameBuffer.completed``."""
    return b"".join(
        (
            _XADD,
            _bulk(events_key),
            b"$6\r\nMAXLEN\r\n$1\r\n~\r\n",
            _bulk(b"%d" % max_len),
            b"$1\r\n*\r\n$1\r\ne\r\n",
        )
    )


class JobHead:
    """The constant start of the XADDs that one producer sends to one stream. Read-only.

    With a producer id the add is idempotent: the server drops a repeated ``(producer_id, job_id)``. The stream is
    never trimmed here: trimming would drop jobs that nobody has read.
    """

    __slots__ = ("_idempotent", "_start", "producer_id", "stream_key")

    def __init__(self, stream_key: bytes, producer_id: bytes | None = None) -> None:
        self.stream_key: Final = stream_key
        self.producer_id: Final = producer_id
        self._idempotent = producer_id is not None
        self._start = _XADD + _bulk(stream_key)
        if producer_id is not None:
            self._start += b"$4\r\nIDMP\r\n" + _bulk(producer_id)

    def _frame(self, job_id: str, payload: bytes, created_at_ms: int, name: bytes, retry: bytes) -> bytes:
        envelope = encode_envelope(job_id, payload, created_at_ms, 0, retry)
        count = (8 if self._idempotent else 5) + (2 if name else 0)
        return b"".join(
            (
                b"*%d\r\n" % count,
                self._start,
                _bulk(job_id.encode()) if self._idempotent else b"",
                _ANY_ID_FIELD_D,
                _bulk(envelope),
                b"$1\r\nn\r\n" + _bulk(name) if name else b"",
            )
        )


def frame_job(head: JobHead, job_id: str, payload: bytes, created_at_ms: int, name: bytes, retry: bytes) -> bytes:
    """The complete XADD of one fresh job. Thread-safe."""
    return head._frame(job_id, payload, created_at_ms, name, retry)


class FrameBuffer:
    """A growing request: commands are appended, ``take`` hands out the bytes. For one thread at a time."""

    __slots__ = ("_buffer", "commands")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.commands: int = 0

    @property
    def size(self) -> int:
        """Bytes collected so far."""
        return len(self._buffer)

    def __len__(self) -> int:
        return len(self._buffer)

    def take(self) -> bytes:
        """The bytes collected so far; the buffer is empty afterwards."""
        taken = bytes(self._buffer)
        self._buffer.clear()
        self.commands = 0
        return taken

    def raw(self, data: bytes, commands: int = 1) -> None:
        """Appends bytes that are complete commands already."""
        self._append(data, commands)

    def command(self, args: Sequence[Argument]) -> None:
        """Appends one command; errors as of ``pack_command``."""
        self._append(pack_command(args), 1)

    def job(self, head: JobHead, job_id: str, payload: bytes, created_at_ms: int, name: bytes, retry: bytes) -> None:
        """Appends the complete XADD of one fresh job; ``name`` b"" leaves the field out."""
        self._append(head._frame(job_id, payload, created_at_ms, name, retry), 1)

    def acks(self, stream: bytes, group: bytes, entry_ids: Sequence[bytes]) -> None:
        """Appends one XACKDEL for all the entries. Raises ValueError when there are none."""
        if not entry_ids:
            raise ValueError("XACKDEL needs at least one entry id")
        self._append(pack_command((b"XACKDEL", stream, group, b"IDS", len(entry_ids), *entry_ids)), 1)

    def active(self, head: bytes, job_id: str, ts_ms: int, name: bytes, attempt: int) -> None:
        """Appends the event ``active``; ``attempt`` counts from 1, ``head`` is of ``event_head``."""
        self._append(_event(14, head, b"active", job_id, ts_ms, name, attempt), 1)

    def completed(
        self,
        head: bytes,
        job_id: str,
        ts_ms: int,
        name: bytes,
        attempt: int,
        duration_us: int,
        returnvalue: str | None = None,
    ) -> None:
        """Appends the event ``completed``; ``attempt`` counts from 1, ``head`` is of ``event_head``, ``returnvalue``
        is JSON text or None for none."""
        more = b"$11\r\nduration_us\r\n" + _decimal("duration_us", duration_us)
        if returnvalue is not None:
            more += b"$11\r\nreturnvalue\r\n" + _bulk(returnvalue.encode())
        count = 16 if returnvalue is None else 18
        self._append(_event(count, head, b"completed", job_id, ts_ms, name, attempt) + more, 1)

    def active_events(self, head: bytes, entries: list[Entry]) -> None:
        """Appends ``active`` for each entry, with what the entry says of its run."""
        for entry in entries:
            self.active(head, entry.job_id, entry.started_on, entry.name.encode(), entry.attempt + 1)

    def completed_events(self, head: bytes, entries: list[Entry]) -> None:
        """Appends ``completed`` for each entry, with what the entry says of its run and shows of its value."""
        for entry in entries:
            name, run = entry.name.encode(), entry.attempt + 1
            self.completed(head, entry.job_id, entry.finished_on, name, run, entry.duration_us, entry.shown)

    def _append(self, data: bytes, commands: int) -> None:
        self._buffer += data
        self.commands += commands


def _event(count: int, head: bytes, event: bytes, job_id: str, ts_ms: int, name: bytes, attempt: int) -> bytes:
    return b"".join(
        (
            b"*%d\r\n" % (count + 2 if name else count),
            head,
            _bulk(event),
            b"$2\r\nid\r\n",
            _bulk(job_id.encode()),
            b"$2\r\nts\r\n",
            _decimal("ts_ms", ts_ms),
            b"$1\r\nn\r\n" + _bulk(name) if name else b"",
            b"$7\r\nattempt\r\n",
            _decimal("attempt", attempt),
        )
    )


def _decimal(what: str, value: int) -> bytes:
    check_unsigned(what, value, _U64_MAX)
    return _bulk(b"%d" % value)


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def argument_bytes(value: Argument) -> bytes:
    """One argument as Redis gets it. The compiled twin asks here for everything but bytes, str and int."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    if isinstance(value, float):
        return repr(float(value)).encode()
    raise TypeError(f"a command argument is bytes, str, int or float, not {type(value).__name__}")
