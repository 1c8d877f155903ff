"""Jobs as they travel: what any producer, of any language and any age, may have written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgpack

from chasquimq._core.dead_letters import DlqEntry, _replayable
from chasquimq.errors import EnvelopeError, PayloadDecodeError, PayloadEncodeError
from tests.fuzz.source import Source
from tests.fuzz.twins import TWINS
from tests.fuzz.verdict import outcome, same

_U32_MAX = 2**32 - 1


def envelope(data: bytes) -> None:
    """An envelope or EnvelopeError; what was read is written in a form that reads the same, and stays as it is."""
    kind, fields = same([outcome(_read, twin, data, allowed=(EnvelopeError,)) for twin in TWINS])
    if kind != "gave":
        for twin in TWINS:
            assert outcome(twin.envelope.with_attempt, data, 1, allowed=(EnvelopeError,)) == (kind, fields)
        return
    job_id, payload_, created, attempt, max_attempts, backoff = fields
    for twin in TWINS:
        retry = twin.envelope.encode_retry(max_attempts, backoff)
        canonical = twin.envelope.encode_envelope(job_id, payload_, created, attempt, retry)
        assert repr(_read(twin, canonical)) == repr(fields)
        assert twin.envelope.with_attempt(data, attempt) == canonical
        assert twin.envelope.with_attempt(canonical, attempt) == canonical
    same([("gave", twin.envelope.with_attempt(data, _U32_MAX)) for twin in TWINS])


def _read(twin: Any, data: bytes) -> tuple[Any, ...]:
    read = twin.envelope.decode_envelope(data)
    repr(read)
    return read.job_id, read.payload, read.created_at_ms, read.attempt, read.max_attempts, read.backoff


def member(data: bytes) -> None:
    """A member of the delayed set is a name and an envelope, or refused; what was split is joined to the same."""
    kind, parts = same([outcome(twin.envelope.decode_member, data, allowed=(EnvelopeError,)) for twin in TWINS])
    if kind != "gave":
        return
    for twin in TWINS:
        assert twin.envelope.encode_member(*parts) == data
    envelope(parts[1])


def payload(data: bytes) -> None:
    """One whole MessagePack value, as its own library reads it, or PayloadDecodeError."""
    kind, value = same([outcome(twin.payload.decode_payload, data, allowed=(PayloadDecodeError,)) for twin in TWINS])
    if kind != "gave":
        return
    oracle = msgpack.unpackb(data, raw=False, strict_map_key=False, timestamp=3)
    assert repr(value) == repr(oracle)
    # A map that was read may hold what cannot be written: a key of an extension with a container's look, say.
    encoded = same([outcome(twin.payload.encode_payload, value, allowed=(PayloadEncodeError,)) for twin in TWINS])
    if encoded[0] == "gave":
        for twin in TWINS:
            assert repr(twin.payload.decode_payload(encoded[1])) == repr(value)


def data(data: bytes) -> None:
    """Any Python value is written as MessagePack's own library writes it, or refused with the place."""
    value = _value(Source(data), 0)
    kind, encoded = same([outcome(twin.payload.encode_payload, value, allowed=(PayloadEncodeError,)) for twin in TWINS])
    if kind != "gave":
        assert encoded.startswith("data")
        assert len(encoded) < 1_000
        return
    assert encoded == msgpack.packb(value, use_bin_type=True, datetime=True)
    same([outcome(twin.payload.decode_payload, encoded, allowed=(PayloadDecodeError,)) for twin in TWINS])


class _Text(str):
    __slots__ = ()


def _value(source: Source, depth: int) -> Any:
    kind = source.byte() % 24
    if kind < 4:
        return source.whole()
    if kind < 6:
        return source.text()
    if kind == 6:
        return source.binary()
    if kind < 12 and depth < 100:
        return _container(source, kind, depth)
    if kind == 12:
        return bytearray(source.binary())
    if kind == 13:
        return memoryview(source.binary())[:: 1 + source.byte() % 2]
    if kind == 14:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=source.whole() % 2**37 - 2**35)
        return source.choice([moment, moment.replace(tzinfo=None), moment.date()])
    if kind == 15:
        return msgpack.ExtType(source.byte() % 128, source.binary())
    if kind == 16:
        return _Text(source.text())
    if kind == 17:
        value: Any = source.choice([[], {}, 1])
        for _ in range(source.byte() * 3):
            value = [value]
        return value
    return source.choice(
        [None, True, False, 0.5, float("nan"), float("inf"), {1}, Decimal(1), object, 1j, timedelta(1)]
    )


def _container(source: Source, kind: int, depth: int) -> Any:
    size = source.byte()
    if size == 255 and depth == 0:  # many of one, so that a longer header occurs
        return [source.byte()] * (source.short() % 300)
    items = [_value(source, depth + 1) for _ in range(size % 20) if source]
    if kind < 8:
        return items
    if kind == 8:
        return tuple(items)
    made = {}
    for item in items:
        try:
            made[item] = source.byte()
        except (TypeError, ValueError):  # cannot be a key in Python either
            made[len(made)] = item
    return made


def dead_letter(data: bytes) -> None:
    """A dead letter can always be looked at; its job is there or a documented error says that it is not."""
    source = Source(data)
    fields = {source.choice([b"d", b"n", b"reason", b"detail", b"source_id", b"x"]): source.binary() for _ in range(5)}
    fields.setdefault(b"d", source.rest())
    entry = DlqEntry("1-0", fields)
    assert len(repr(entry)) <= 200 + 12 * len(data)
    for text in (entry.name, entry.reason, entry.source_id, entry.detail or ""):
        text.encode()
    job_id = entry.job_id
    kind, _ = outcome(lambda: entry.data, allowed=(PayloadDecodeError,))
    assert job_id is not None or kind == "EnvelopeError"
    assert len(list(_replayable([entry]))) == (job_id is not None)
