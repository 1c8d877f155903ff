"""User data to and from MessagePack (docs/wire-format.md, section 3).

Decides what a payload may hold and says where the fault is when it cannot be encoded. It must never run on
hostile bytes without a bound on time and memory, and never put a value of the user's data into a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgpack

from chasquimq.errors import PayloadDecodeError, PayloadEncodeError

# Containers inside containers, the outermost counted. Deeper data is refused on both sides.
DEEPEST_NESTING = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG_CONTAINERS = bytes([0xDC, 0xDD, 0xDE, 0xDF])
_CONTAINERS = bytes(range(0x80, 0xA0)) + _LONG_CONTAINERS
_NOT_MAPS = bytes(set(range(256)) - {*range(0x80, 0x90), 0xDE, 0xDF})
_NOT_ARRAYS = bytes(set(range(256)) - {*range(0x90, 0xA0), 0xDC, 0xDD})
_NOT_CONTAINERS = bytes(set(range(256)) - set(_CONTAINERS))
_NOT_LONG_CONTAINERS = bytes(set(range(256)) - set(_LONG_CONTAINERS))
_LONGEST = 2**32 - 1
_ADVICE = {
    "set": "pass a list (for instance sorted(value))",
    "frozenset": "pass a list (for instance sorted(value))",
    "Decimal": "pass str(value)",
    "UUID": "pass str(value)",
    "complex": "pass [value.real, value.imag]",
}


def encode_payload(data: object) -> bytes:
    """User data as MessagePack: bytes stay bytes, tuples become arrays, aware datetimes the timestamp extension.

    Raises PayloadEncodeError for anything else; the message names the place and the remedy.
    """
    try:
        encoded: bytes = msgpack.packb(data, use_bin_type=True, datetime=True, default=_encode_unknown)
    except (TypeError, ValueError, OverflowError, RecursionError, BufferError) as error:
        raise PayloadEncodeError(_explain(data, error)) from error
    # Few payloads hold so many container-like bytes: the walk below is rare.
    if len(encoded.translate(None, _NOT_CONTAINERS)) > DEEPEST_NESTING and _is_too_deep(data):
        raise PayloadEncodeError(_explain(data, None))
    # The packer takes a tuple as a key, for which no Python reader has a use: it would come back as a list.
    if encoded.translate(None, _NOT_ARRAYS) and encoded.translate(None, _NOT_MAPS) and _has_container_as_key(data):
        raise PayloadEncodeError(_explain(data, None))
    return encoded


def decode_payload(buffer: bytes | bytearray | memoryview) -> object:
    """The data in one MessagePack value: timestamps as aware UTC datetimes, other extensions as msgpack.ExtType.

    Raises PayloadDecodeError when the bytes are not exactly one value within the limits.
    """
    if not isinstance(buffer, (bytes, bytearray, memoryview)):
        raise TypeError(f"decode_payload takes bytes, not {type(buffer).__name__}")
    encoded = bytes(buffer)
    try:
        if encoded.translate(None, _NOT_LONG_CONTAINERS):
            # Skipping allocates nothing. A header that announces more than there is must fail here and not in
            # unpackb, which would first make a list of the announced length, again at each level.
            cursor = msgpack.Unpacker(max_buffer_size=len(encoded))
            cursor.feed(encoded)
            cursor.skip()
        value = msgpack.unpackb(encoded, raw=False, strict_map_key=False, timestamp=3)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise PayloadDecodeError(f"the payload is not one valid MessagePack value: {reason}") from error
    if len(encoded.translate(None, _NOT_CONTAINERS)) > DEEPEST_NESTING and _is_too_deep(value):
        raise PayloadDecodeError(f"the payload is nested deeper than {DEEPEST_NESTING} levels")
    return value


def _encode_unknown(value: Any) -> msgpack.Timestamp:
    """Called for what the packer does not know: subclasses of datetime, which it does not recognise."""
    if isinstance(value, datetime) and value.utcoffset() is not None:
        since = value - _EPOCH
        return msgpack.Timestamp(since.days * 86400 + since.seconds, since.microseconds * 1000)
    raise TypeError(f"can not serialize {type(value).__name__!r} object")


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEEPEST_NESTING + 1):
        containers = [item for item in level if isinstance(item, (list, tuple, dict))]
        if not containers:
            return False
        level = []
        for container in containers:
            level.extend(container)
            if isinstance(container, dict):
                level.extend(container.values())
    return True


def _has_container_as_key(value: object) -> bool:
    level = [value]
    while level:
        containers = [item for item in level if _is_container(item)]
        level = []
        for container in containers:
            if isinstance(container, dict):
                if any(_is_container(key) for key in container):
                    return True
                level.extend(container.values())
            else:
                level.extend(container)  # type: ignore[arg-type]  # a list or a tuple
    return False


def _explain(data: object, error: Exception | None) -> str:
    """Where the first fault is and what to do: a walk in the packer's order, without recursion."""
    path: list[str] = []
    # The iterators of the containers that the walk is in; the first level holds the data itself.
    levels: list[Iterator[tuple[str, object, bool]]] = [iter([("data", data, False)])]
    while levels:
        step, item, is_key = next(levels[-1], (None, None, False))
        if step is None:
            levels.pop()
            if path:
                path.pop()
            continue
        fault = _fault(item)
        if fault is not None:
            return f"{''.join(path)}{step} {fault}"
        if _is_container(item):
            if is_key:
                return (
                    f"{''.join(path)}{step} is a {type(item).__name__}, and a map with such a key cannot be read back; "
                    "use a text or a number as key, or pass a list of pairs"
                )
            if len(levels) > DEEPEST_NESTING:
                return (
                    f"data is nested deeper than {DEEPEST_NESTING} levels, or a container holds itself "
                    f"(at {''.join(path[:4])}…); flatten the data or cut the cycle"
                )
            path.append(step)
            levels.append(_children(item))
    return f"data cannot be encoded as MessagePack: {error}"


def _is_container(item: object) -> bool:
    return isinstance(item, (list, tuple, dict)) and not isinstance(item, msgpack.ExtType)


def _children(item: Any) -> Iterator[tuple[str, object, bool]]:
    """What a container holds: the way there, the item, whether it is a key of a map."""
    if isinstance(item, dict):
        for key, value in item.items():
            yield f" key {_key_text(key)}", key, True
            yield f"[{_key_text(key)}]", value, False
    else:
        for index, value in enumerate(item):
            yield f"[{index}]", value, False


def _key_text(key: object) -> str:
    if isinstance(key, str):
        return f'"{key}"' if len(key) <= 40 else f'"{key[:40]}…"'
    if type(key) is int and -_LONGEST <= key <= _LONGEST:
        return str(key)
    return f"({type(key).__name__})"


def _fault(item: object) -> str | None:
    if item is None or isinstance(item, (float, msgpack.ExtType, msgpack.Timestamp)):
        return None
    if isinstance(item, int):
        if -(2**63) <= item < 2**64:
            return None
        return "is an integer beyond 64 bits, which MessagePack cannot hold; pass it as str"
    if isinstance(item, str):
        try:
            size = len(item.encode())
        except UnicodeEncodeError:
            return "is a str with a lone surrogate, which UTF-8 cannot hold; encode it to bytes yourself"
        return None if size <= _LONGEST else "is a str of more than 4 GiB; store it elsewhere and pass a reference"
    if isinstance(item, (bytes, bytearray, memoryview)):
        if isinstance(item, memoryview) and not item.c_contiguous:
            return "is a memoryview that is not contiguous; pass bytes(value)"
        return None if len(item) <= _LONGEST else "is more than 4 GiB of bytes; store it elsewhere, pass a reference"
    if isinstance(item, datetime) and item.utcoffset() is not None:
        return None
    if isinstance(item, (list, tuple, dict)):
        return None
    return f"is of type {type(item).__name__}, which MessagePack cannot hold; {_advice(item)}"


def _advice(item: object) -> str:
    kind = type(item)
    if isinstance(item, datetime):
        return "give the datetime a time zone (for instance datetime.now(timezone.utc)) or pass value.isoformat()"
    if isinstance(item, (date, time)):
        return "pass value.isoformat()"
    if isinstance(item, timedelta):
        return "pass value.total_seconds()"
    if hasattr(kind, "__dataclass_fields__"):
        return "pass dataclasses.asdict(value)"
    if callable(getattr(kind, "model_dump", None)):
        return "pass value.model_dump()"
    return _ADVICE.get(
        kind.__name__, "convert it to None, bool, int, float, str, bytes, list or dict before adding the job"
    )
