"""The job envelope and the delayed-set member (docs/wire-format.md, sections 3, 5 and 17).

Writes the one canonical form and reads every form that the reference implementation reads, and payloads that
stand inline. It must never look inside the payload and never raise anything but EnvelopeError on foreign bytes.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

import msgpack

from chasquimq._fast._pure.backoff import BackoffTuple
from chasquimq.errors import EnvelopeError

_U32_MAX = 2**32 - 1
_U64_MAX = 2**64 - 1
_FIELDS = ("id", "payload", "created_at_ms", "attempt", "retry")
_BACKOFF_FIELDS = ("kind", "delay_ms", "max_delay_ms", "multiplier", "jitter_ms")
# A byte that begins no MessagePack value.
_RESERVED = 0xC1
# For the unpacker's ``timestamp``. An envelope holds no time, but a hostile one may have thousands as keys of a map:
# as msgpack.Timestamp they can be chosen to have all the same hash.
_DATETIMES = 3
# Every way to write the key of an envelope that is a map, as str or as bin.
_KEYS = {
    header + field.encode(): field
    for field in _FIELDS
    for header in (
        bytes((0xA0 | len(field),)),
        *(bytes((first,)) + len(field).to_bytes(1, "big") for first in (0xD9, 0xC4)),
        *(bytes((first,)) + len(field).to_bytes(2, "big") for first in (0xDA, 0xC5)),
        *(bytes((first,)) + len(field).to_bytes(4, "big") for first in (0xDB, 0xC6)),
    )
}
_READ_ERRORS = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)

EnvelopeFields: TypeAlias = tuple[str, bytes, int, int, int | None, BackoffTuple | None]
"""``(job_id, payload, created_at_ms, attempt, max_attempts, backoff)``"""


class Envelope:
    """One job as it travels. Read-only."""

    __slots__ = ("attempt", "backoff", "created_at_ms", "job_id", "max_attempts", "payload")

    def __init__(
        self,
        job_id: str,
        payload: bytes,
        created_at_ms: int,
        attempt: int = 0,
        max_attempts: int | None = None,
        backoff: BackoffTuple | None = None,
    ) -> None:
        self.job_id: Final = job_id
        self.payload: Final = payload
        self.created_at_ms: Final = created_at_ms
        self.attempt: Final = attempt
        self.max_attempts: Final = max_attempts
        self.backoff: Final = backoff

    def __repr__(self) -> str:
        return f"<Envelope {self.job_id!r} attempt={self.attempt} payload={len(self.payload)} bytes>"


def encode_retry(max_attempts: int | None, backoff: BackoffTuple | None) -> bytes:
    """The element ``retry`` of an envelope; b"" (no element) when nothing is overridden."""
    if max_attempts is None and backoff is None:
        return b""
    parts = [b"\x92", _optional_unsigned("max_attempts", max_attempts, _U32_MAX)]
    if backoff is None:
        parts.append(b"\xc0")
    else:
        kind, delay_ms, max_delay_ms, multiplier, jitter_ms = backoff
        parts += (
            b"\x95",
            _text(kind),
            encode_unsigned("delay_ms", delay_ms, _U64_MAX),
            _optional_unsigned("max_delay_ms", max_delay_ms, _U64_MAX),
            b"\xc0" if multiplier is None else struct.pack(">Bd", 0xCB, multiplier),
            _optional_unsigned("jitter_ms", jitter_ms, _U64_MAX),
        )
    return b"".join(parts)


def encode_envelope(job_id: str, payload: bytes, created_at_ms: int, attempt: int, retry: bytes) -> bytes:
    """The canonical envelope; ``retry`` comes from ``encode_retry``. Raises EnvelopeError on an impossible number."""
    return b"".join(
        (
            b"\x95" if retry else b"\x94",
            _text(job_id),
            _binary_header(len(payload)),
            payload,
            encode_unsigned("created_at_ms", created_at_ms, _U64_MAX),
            encode_unsigned("attempt", attempt, _U32_MAX),
            retry,
        )
    )


def decode_envelope(data: bytes) -> Envelope:
    """Reads an envelope in any accepted form. Raises EnvelopeError for everything else."""
    return Envelope(*envelope_fields(data))


def with_attempt(data: bytes, attempt: int) -> bytes:
    """The same job in the canonical form, with another count of finished runs."""
    job_id, payload, created_at_ms, _, max_attempts, backoff = envelope_fields(data)
    return encode_envelope(job_id, payload, created_at_ms, attempt, encode_retry(max_attempts, backoff))


def encode_member(name: bytes, envelope: bytes) -> bytes:
    """A member of the delayed set: 4 bytes little-endian length, the name, the envelope."""
    return b"".join((len(name).to_bytes(4, "little"), name, envelope))


def decode_member(member: bytes) -> tuple[bytes, bytes]:
    """``(name, envelope)`` of a member of the delayed set. Raises EnvelopeError when it cannot be split."""
    if len(member) < 4:
        raise EnvelopeError(f"a delayed member of {len(member)} bytes is too short for its 4-byte name length")
    end = 4 + int.from_bytes(member[:4], "little")
    if end > len(member):
        raise EnvelopeError(f"the name of a delayed member runs to byte {end}, the member has {len(member)}")
    return bytes(member[4:end]), bytes(member[end:])


def envelope_fields(data: bytes) -> EnvelopeFields:
    """What ``decode_envelope`` reads, as a tuple. The compiled reader asks here whenever a form is not canonical."""
    try:
        # No array of a canonical envelope is longer than 5; a hostile header must not allocate.
        values = msgpack.unpackb(data, raw=False, strict_map_key=False, timestamp=_DATETIMES, max_array_len=5)
    except _READ_ERRORS:
        values = None
    if type(values) is not list or len(values) < 2 or type(values[1]) is not bytes:
        # A map, bytes behind the envelope, a payload that is no bin, or no envelope at all.
        values = _read_slices(data)
    if not 3 <= len(values) <= 5:
        raise EnvelopeError(f"the envelope has {len(values)} elements; 3 to 5 are known")
    job_id, payload, created_at_ms = values[:3]
    attempt = values[3] if len(values) > 3 else 0
    max_attempts, backoff = _read_retry(values[4]) if len(values) > 4 else (None, None)
    return (
        _read_text("id", job_id),
        payload,
        _read_unsigned("created_at_ms", created_at_ms, _U64_MAX),
        _read_unsigned("attempt", attempt, _U32_MAX),
        max_attempts,
        backoff,
    )


def check_unsigned(what: str, value: int, limit: int) -> None:
    """Raises TypeError for what is no int, EnvelopeError for an int outside 0 … limit."""
    if not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not 0 <= value <= limit:
        raise EnvelopeError(f"{what} is {value}; it must lie in 0 … {limit}")


def encode_unsigned(what: str, value: int, limit: int) -> bytes:
    """The shortest MessagePack form of a number in 0 … limit; errors as of ``check_unsigned``."""
    check_unsigned(what, value, limit)
    if value < 0x80:
        return value.to_bytes(1, "big")
    if value <= 0xFF:
        return b"\xcc" + value.to_bytes(1, "big")
    if value <= 0xFFFF:
        return b"\xcd" + value.to_bytes(2, "big")
    if value <= _U32_MAX:
        return b"\xce" + value.to_bytes(4, "big")
    return b"\xcf" + value.to_bytes(8, "big")


def _optional_unsigned(what: str, value: int | None, limit: int) -> bytes:
    return b"\xc0" if value is None else encode_unsigned(what, value, limit)


def _text(value: str) -> bytes:
    encoded = value.encode()
    size = len(encoded)
    if size < 32:
        return bytes((0xA0 | size,)) + encoded
    if size <= 0xFF:
        return b"\xd9" + size.to_bytes(1, "big") + encoded
    if size <= 0xFFFF:
        return b"\xda" + size.to_bytes(2, "big") + encoded
    return b"\xdb" + size.to_bytes(4, "big") + encoded


def _binary_header(size: int) -> bytes:
    if size <= 0xFF:
        return b"\xc4" + size.to_bytes(1, "big")
    if size <= 0xFFFF:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def _read_slices(data: bytes) -> list[Any]:
    """The envelope's elements in their order, read one by one so that the payload's own bytes can be kept."""
    # The cursor only skips, which allocates nothing; it needs a limit of at least one byte.
    cursor = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    cursor.feed(data)
    first = data[0] if data else _RESERVED
    try:
        if _is_array(first):
            count = cursor.read_array_header()
            if not 3 <= count <= 5:
                raise EnvelopeError(f"the envelope has {count} elements; 3 to 5 are known")
            return [_read_element(_next_slice(cursor, data), field) for field in _FIELDS[:count]]
        if first & 0xF0 == 0x80 or first in (0xDE, 0xDF):
            return _read_map(cursor, data)
    except EnvelopeError:
        raise
    except _READ_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise EnvelopeError(f"the envelope is not valid MessagePack: {reason}") from error
    raise EnvelopeError("the envelope is neither an array nor a map")


def _is_array(first: int) -> bool:
    return first & 0xF0 == 0x90 or first in (0xDC, 0xDD)


def _next_slice(cursor: msgpack.Unpacker, data: bytes) -> bytes:
    start = cursor.tell()
    cursor.skip()
    return data[start : cursor.tell()]


def _read_map(cursor: msgpack.Unpacker, data: bytes) -> list[Any]:
    found: dict[str, Any] = {}
    for _ in range(cursor.read_map_header()):
        field = _KEYS.get(_next_slice(cursor, data))
        value = _next_slice(cursor, data)
        if field is None:
            continue
        if field in found:
            raise EnvelopeError(f"the envelope has the key {field} twice")
        found[field] = _read_element(value, field)
    for field in _FIELDS[:3]:
        if field not in found:
            raise EnvelopeError(f"the envelope has no key {field}")
    return [*(found[field] for field in _FIELDS[:3]), found.get("attempt", 0), found.get("retry")]


def _read_element(element: bytes, field: str) -> Any:
    """The value of one complete element; of a payload that is no bin, its bytes."""
    if field == "payload" and element[0] not in (0xC4, 0xC5, 0xC6):
        # Rust's plain Vec<u8> is an array of byte values; everything else is the value itself, inline.
        return _byte_array(element) if _is_array(element[0]) else element
    return msgpack.unpackb(element, raw=False, strict_map_key=False, timestamp=_DATETIMES)


def _byte_array(inline: bytes) -> bytes:
    """The bytes in an array of byte values; the array itself when it is empty or holds anything else."""
    try:
        values = msgpack.unpackb(inline, strict_map_key=False, timestamp=_DATETIMES)
    except _READ_ERRORS:
        return inline
    if values and all(type(value) is int and 0 <= value <= 0xFF for value in values):
        return bytes(values)
    return inline


def _read_text(what: str, value: object) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise EnvelopeError(f"the envelope's {what} is not UTF-8") from error
    if not isinstance(value, str):
        raise EnvelopeError(f"the envelope's {what} is of type {type(value).__name__}, not text")
    return value


def _read_unsigned(what: str, value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise EnvelopeError(f"the envelope's {what} is no whole number in 0 … {limit}")
    return value


def _read_optional(what: str, value: object, limit: int) -> int | None:
    return None if value is None else _read_unsigned(what, value, limit)


def _read_retry(value: object) -> tuple[int | None, BackoffTuple | None]:
    if value is None:
        return None, None
    max_attempts, backoff = _read_record("retry", value, ("max_attempts", "backoff"), required=0)
    return _read_optional("max_attempts", max_attempts, _U32_MAX), _read_backoff(backoff)


def _read_backoff(value: object) -> BackoffTuple | None:
    if value is None:
        return None
    kind, delay_ms, max_delay_ms, multiplier, jitter_ms = _read_record("backoff", value, _BACKOFF_FIELDS, required=2)
    if type(multiplier) not in (float, int, type(None)):
        raise EnvelopeError(f"the envelope's multiplier is of type {type(multiplier).__name__}, not a number")
    return (
        _read_text("kind", kind),
        _read_unsigned("delay_ms", delay_ms, _U64_MAX),
        _read_optional("max_delay_ms", max_delay_ms, _U64_MAX),
        None if multiplier is None else float(multiplier),
        _read_optional("jitter_ms", jitter_ms, _U64_MAX),
    )


def _read_record(what: str, value: object, fields: tuple[str, ...], required: int) -> list[Any]:
    """The fields of a record that may stand as an array of exact length or as a map."""
    if isinstance(value, dict):
        for field in fields[:required]:
            if field not in value:
                raise EnvelopeError(f"the envelope's {what} has no key {field}")
        return [value.get(field) for field in fields]
    if not isinstance(value, list) or len(value) != len(fields):
        raise EnvelopeError(f"the envelope's {what} is not an array of {len(fields)} elements")
    return value
