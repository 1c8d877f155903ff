"""User data survives the journey, and what cannot survive it is refused with the place and the remedy."""

import gc
import math
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chasquimq.errors import PayloadDecodeError, PayloadEncodeError

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=200)

datetimes = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC))
keys = st.one_of(st.text(), st.integers(-(2**63), 2**64 - 1), st.binary(), st.booleans(), st.none())
leaves = st.one_of(keys, st.floats(), datetimes, st.text(min_size=30, max_size=40))
data = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner), st.tuples(inner, inner), st.dictionaries(keys, inner)),
    max_leaves=40,
)


def oracle(value):
    return msgpack.packb(value, use_bin_type=True, datetime=True)


def same(one, other):
    """Equality that tells 1 from 1.0 and True and takes NaN for NaN."""
    return repr(one) == repr(other)


@given(value=data)
@deterministic
def test_encoding_is_plain_messagepack(twins, value):
    for fast in twins:
        assert fast.payload.encode_payload(value) == oracle(value)


@given(value=data)
@deterministic
def test_decoding_gives_the_data_back(twins, value):
    encoded = oracle(value)
    expected = msgpack.unpackb(encoded, raw=False, strict_map_key=False, timestamp=3)
    for fast in twins:
        assert same(fast.payload.decode_payload(encoded), expected)


@given(
    junk=st.one_of(
        st.binary(), st.lists(st.sampled_from(sorted({*range(0x80, 0xA1), *range(0xC0, 0xE1), 0, 1}))).map(bytes)
    )
)
@settings(deterministic, max_examples=800)
def test_arbitrary_bytes_decode_alike_or_raise_the_documented_error(twins, junk):
    outcomes = []
    for fast in twins:
        try:
            outcomes.append(repr(fast.payload.decode_payload(junk)))
        except PayloadDecodeError as error:
            outcomes.append(f"refused: {error}")
    assert len(set(outcomes)) == 1
    try:
        expected = repr(msgpack.unpackb(junk, raw=False, strict_map_key=False, timestamp=3))
    except Exception:  # noqa: BLE001 - the oracle raises many kinds
        assert outcomes[0].startswith("refused")
    else:
        assert outcomes[0] == expected


@given(value=data, cut=st.integers(0, 200), extra=st.binary(min_size=1, max_size=3))
@deterministic
def test_one_whole_value_and_nothing_else(twins, value, cut, extra):
    encoded = oracle(value)
    for fast in twins:
        with pytest.raises(PayloadDecodeError):
            fast.payload.decode_payload(encoded + extra)
        with pytest.raises(PayloadDecodeError):
            fast.payload.decode_payload(encoded[: cut % len(encoded)])


@pytest.mark.parametrize(
    "value",
    [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
    + [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)]
    + [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-320]
    + ["x" * size for size in (0, 31, 32, 255, 256, 65535, 65536)]
    + [b"x" * size for size in (0, 255, 256, 65535, 65536)]
    + [[None] * size for size in (0, 15, 16, 65535, 65536)]
    + [dict.fromkeys(range(size)) for size in (0, 15, 16, 65535, 65536)],
    ids=lambda value: f"{type(value).__name__}-{len(value) if hasattr(value, '__len__') else value}",
)
def test_every_header_size(fast, value):
    encoded = fast.payload.encode_payload(value)
    assert encoded == oracle(value)
    assert same(fast.payload.decode_payload(encoded), value)


class Colour(IntEnum):
    RED = 3


class Moment(datetime):
    pass


class Table(dict):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: "a", "b": (2,), b"c": None}, {1: "a", "b": [2], b"c": None}),
        (bytearray(b"\x00\x01"), b"\x00\x01"),
        (memoryview(b"\x00\x01"), b"\x00\x01"),
        (msgpack.ExtType(5, b"xy"), msgpack.ExtType(5, b"xy")),
        (Colour.RED, 3),
        (Table(a=1), {"a": 1}),
        (datetime(2026, 11, 24, 3, 4, 5, 678901, tzinfo=UTC), datetime(2026, 11, 24, 3, 4, 5, 678901, tzinfo=UTC)),
        (
            datetime(1900, 1, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))),
            datetime(1900, 1, 1, 10, 0, 0, 1, tzinfo=UTC),
        ),
        (Moment(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        (msgpack.Timestamp(1, 500), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ([msgpack.ExtType(5, b"xy")] * 2, [msgpack.ExtType(5, b"xy")] * 2),
    ],
)
def test_other_accepted_types(fast, value, expected):
    assert same(fast.payload.decode_payload(fast.payload.encode_payload(value)), expected)


def test_an_extension_as_key_comes_back(fast):
    value = {"list": [], "map": {msgpack.ExtType(5, b"x"): 1}}
    assert fast.payload.decode_payload(fast.payload.encode_payload(value)) == value


def test_datetimes_come_back_aware(fast):
    decoded = fast.payload.decode_payload(fast.payload.encode_payload(datetime(2026, 1, 1, tzinfo=UTC)))
    assert decoded.utcoffset() == timedelta(0)


@dataclass
class Point:
    x: int


class Pair(NamedTuple):
    one: int
    two: int


class Model:
    def model_dump(self):
        return {}


@pytest.mark.parametrize(
    ("value", "place", "hint"),
    [
        ({"user": [0, 1, 2, {3}]}, 'data["user"][3] is of type set', "pass a list"),
        ({"a": {"b": Decimal(1)}}, 'data["a"]["b"] is of type Decimal', "str(value)"),
        ([UUID(int=0)], "data[0] is of type UUID", "str(value)"),
        ({1: complex(1)}, "data[1] is of type complex", "value.real"),
        (datetime(2026, 1, 1), "data is of type datetime", "time zone"),
        ([date(2026, 1, 1)], "data[0] is of type date", "isoformat"),
        ([timedelta(1)], "data[0] is of type timedelta", "total_seconds"),
        (Point(1), "data is of type Point", "dataclasses.asdict"),
        (Model(), "data is of type Model", "model_dump"),
        (object(), "data is of type object", "convert it"),
        ([2**64], "data[0] is an integer beyond 64 bits", "pass it as str"),
        ((1, -(2**63) - 1), "data[1] is an integer beyond 64 bits", "pass it as str"),
        ({2**70: 1}, "data key (int) is an integer beyond 64 bits", "pass it as str"),
        ({(1, 2): 3}, "data key (tuple) is a tuple", "a list of pairs"),
        ({"a": [{"b": 1}, {(): 0}]}, 'data["a"][1] key (tuple) is a tuple', "a list of pairs"),
        (({Pair(1, 2): 3},), "data[0] key (Pair) is a Pair", "a list of pairs"),
        ({"a": "\ud800"}, 'data["a"] is a str with a lone surrogate', "encode it"),
        ([1, memoryview(b"abcdef")[::2]], "data[1] is a memoryview that is not contiguous", "bytes(value)"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
def test_a_refusal_names_the_place_and_the_remedy(fast, value, place, hint):
    with pytest.raises(PayloadEncodeError) as refused:
        fast.payload.encode_payload(value)
    assert str(refused.value).startswith(place)
    assert hint in str(refused.value)


def test_a_refusal_never_shows_the_data(fast):
    with pytest.raises(PayloadEncodeError) as refused:
        fast.payload.encode_payload({"token": {"s3cr3t"}, "x" * 1000: 1})
    assert "s3cr3t" not in str(refused.value)
    assert len(str(refused.value)) < 200


def nested(levels, innermost=1):
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [63, 64, 65, 511, 512])
def test_nesting_up_to_the_limit(fast, levels):
    value = nested(levels)
    encoded = fast.payload.encode_payload(value)
    assert encoded == b"\x91" * levels + b"\x01"
    assert fast.payload.encode_payload(fast.payload.decode_payload(encoded)) == encoded


@pytest.mark.parametrize("levels", [513, 1100, 50_000])
def test_nesting_beyond_the_limit(fast, levels):
    with pytest.raises(PayloadEncodeError, match="nested deeper than 512"):
        fast.payload.encode_payload(nested(levels))
    with pytest.raises(PayloadDecodeError):
        fast.payload.decode_payload(b"\x91" * levels + b"\x01")
    with pytest.raises(PayloadDecodeError):
        fast.payload.decode_payload(b"\x81\x01" * levels + b"\x01")


def test_many_flat_containers_are_not_deep(fast):
    value = [{"row": [number]} for number in range(2000)]
    assert fast.payload.decode_payload(fast.payload.encode_payload(value)) == value


def test_containers_that_hold_themselves(fast):
    endless_list: list[object] = []
    endless_list.append(endless_list)
    endless_dict: dict[str, object] = {}
    endless_dict["me"] = [endless_dict] * 50
    for endless in (endless_list, endless_dict):
        with pytest.raises(PayloadEncodeError, match="holds itself"):
            fast.payload.encode_payload(endless)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xc1",
        b"\x01\x02",
        b"\xa1\xff",
        b"\xd9\xff",
        b"\x81\x90\x01",
        b"\x81\x80\x01",
        b"\xd7\xff" + b"\xff" * 8,
        b"\xc7\x0c\xff" + b"\x7f" * 12,
        b"\xc7\x0c\xff\x00\x00\x00\x00" + b"\x7f" * 8,
        b"\xc7\x05\xff12345",
        b"\xca\x00",
        b"\xcb" + b"\x00" * 7,
        b"\xcd\x00",
        b"\xd3\x00",
        b"\xc6\xff\xff\xff\xff",
    ],
    ids=bytes.hex,
)
def test_hostile_bytes(fast, hostile):
    with pytest.raises(PayloadDecodeError):
        fast.payload.decode_payload(hostile)


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        # Each header alone could be true; together they announce far more than there is.
        b"\xdd\x00\x04\x00\x00" * 60_000,
        b"\xdc\xff\xff" * 100_000,
        b"\xdf\x00\x02\x00\x00" * 60_000,
    ],
    ids=["array", "map", "bin", "str", "array-chain", "array16-chain", "map-chain"],
)
def test_announced_sizes_allocate_nothing(fast, hostile):
    tracemalloc.start()
    try:
        with pytest.raises(PayloadDecodeError):
            fast.payload.decode_payload(hostile)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * len(hostile) + 100_000


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decodes_any_bytes_like(fast, kind):
    assert fast.payload.decode_payload(kind(b"\x92\x01\xa1x")) == [1, "x"]


@pytest.mark.parametrize("wrong", [None, "text", 5, [1]])
def test_decodes_nothing_else(fast, wrong):
    with pytest.raises(TypeError):
        fast.payload.decode_payload(wrong)


def test_results_are_not_shared(fast):
    encoded = fast.payload.encode_payload([[], {}])
    first, second = (fast.payload.decode_payload(encoded) for _ in range(2))
    first[0].append(1)
    first[1]["a"] = 1
    assert second == [[], {}]


def test_no_leaks(fast):
    value = {"to": "ada@example.com", "rows": [1, 2.5, None, True, b"x" * 600, ("a",)], 300: -5}
    encoded = fast.payload.encode_payload(value)

    def work():
        for _ in range(200):
            fast.payload.encode_payload(value)
            fast.payload.decode_payload(encoded)
            for bad in (b"\x92\x01", b"\x82\xa1a\x01\xa1b", b"\x81\x90\x01", b"\x92\x92\x01\x02\xc1"):
                with suppress(PayloadDecodeError):
                    fast.payload.decode_payload(bad)
        gc.collect()

    work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        work()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
