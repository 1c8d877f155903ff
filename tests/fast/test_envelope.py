"""The envelope is written in one form and read in every form the tolerance matrix of the wire format lists."""

import struct

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chasquimq.errors import EnvelopeError

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=200)

NOW = 1795489905760
PAYLOAD = b"\x81\xa1a\x01"
FIXED = ["fixed", 250, None, None, None]


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def read(fast, data):
    envelope = fast.envelope.decode_envelope(data)
    return (
        envelope.job_id,
        envelope.payload,
        envelope.created_at_ms,
        envelope.attempt,
        envelope.max_attempts,
        envelope.backoff,
    )


def as_map(**changes):
    return pack({"id": "j", "payload": PAYLOAD, "created_at_ms": NOW, "attempt": 2} | changes)


def as_array(job_id=None, payload=None, created=None, attempt=None, retry=None):
    """An array envelope; an element that is given replaces the usual one as raw MessagePack."""
    usual = (pack("j"), pack(PAYLOAD), pack(NOW), pack(2))
    elements = [new or old for new, old in zip((job_id, payload, created, attempt), usual, strict=True)]
    if retry is not None:
        elements.append(retry)
    return bytes([0x90 | len(elements)]) + b"".join(elements)


PLAIN = ("j", PAYLOAD, NOW, 2, None, None)
BYTES_AS_ARRAY = bytes([1, 200, 255])

RUNS = {
    "4 elements": (as_array(), PLAIN),
    "3 elements": (pack(["j", PAYLOAD, NOW]), ("j", PAYLOAD, NOW, 0, None, None)),
    "retry nil": (as_array(retry=b"\xc0"), PLAIN),
    "retry both nil": (as_array(retry=pack([None, None])), PLAIN),
    "retry": (as_array(retry=pack([5, FIXED])), (*PLAIN[:4], 5, tuple(FIXED))),
    "map": (as_map(), PLAIN),
    "map without attempt": (
        pack({"id": "j", "payload": PAYLOAD, "created_at_ms": NOW}),
        ("j", PAYLOAD, NOW, 0, None, None),
    ),
    "map in another order": (pack({"created_at_ms": NOW, "attempt": 2, "payload": PAYLOAD, "id": "j"}), PLAIN),
    "map with retry": (as_map(retry=[5, FIXED]), (*PLAIN[:4], 5, tuple(FIXED))),
    "map with retry nil": (as_map(retry=None), PLAIN),
    "map with unknown keys": (as_map(trace={"a": [1, {}]}, x=None), PLAIN),
    "map with a key that is no text": (
        pack({"id": "j", 7: 1, "payload": PAYLOAD, "created_at_ms": NOW, "attempt": 2}),
        PLAIN,
    ),
    "map with bin keys": (pack({b"id": "j", b"payload": PAYLOAD, b"created_at_ms": NOW, b"attempt": 2}), PLAIN),
    "map16": (b"\xde\x00\x04" + as_map()[1:], PLAIN),
    "retry as map": (as_array(retry=pack({"max_attempts": 2, "backoff": None})), (*PLAIN[:4], 2, None)),
    "retry as map with unknown keys": (as_array(retry=pack({"max_attempts": 2, "x": [1] * 20})), (*PLAIN[:4], 2, None)),
    "backoff as map": (
        as_array(
            retry=pack(
                [None, {"kind": "exponential", "delay_ms": 1, "max_delay_ms": 2, "multiplier": 1.5, "jitter_ms": 4}]
            )
        ),
        (*PLAIN[:4], None, ("exponential", 1, 2, 1.5, 4)),
    ),
    "id as bin": (as_array(job_id=pack("jäß".encode())), ("jäß", *PLAIN[1:])),
    "id empty": (as_array(job_id=pack("")), ("", *PLAIN[1:])),
    "id str8": (as_array(job_id=b"\xd9\x01j"), PLAIN),
    "id str16": (as_array(job_id=b"\xda\x00\x01j"), PLAIN),
    "id str32": (as_array(job_id=b"\xdb\x00\x00\x00\x01j"), PLAIN),
    "payload bin16": (as_array(payload=b"\xc5\x00\x04" + PAYLOAD), PLAIN),
    "payload bin32": (as_array(payload=b"\xc6\x00\x00\x00\x04" + PAYLOAD), PLAIN),
    "payload empty bin": (as_array(payload=pack(b"")), ("j", b"", *PLAIN[2:])),
    "payload as byte values": (as_array(payload=pack(list(BYTES_AS_ARRAY))), ("j", BYTES_AS_ARRAY, *PLAIN[2:])),
    "payload as many byte values": (as_array(payload=pack(list(PAYLOAD * 300))), ("j", PAYLOAD * 300, *PLAIN[2:])),
    "payload as byte values in a map": (as_map(payload=list(BYTES_AS_ARRAY)), ("j", BYTES_AS_ARRAY, *PLAIN[2:])),
    "created int64": (as_array(created=b"\xd3" + struct.pack(">q", NOW)), PLAIN),
    "created 0": (as_array(created=b"\x00"), ("j", PAYLOAD, 0, 2, None, None)),
    "created 2**64-1": (as_array(created=b"\xcf" + b"\xff" * 8), ("j", PAYLOAD, 2**64 - 1, 2, None, None)),
    "attempt uint8": (as_array(attempt=b"\xcc\x02"), PLAIN),
    "attempt uint64": (as_array(attempt=b"\xcf" + b"\x00" * 7 + b"\x02"), PLAIN),
    "attempt int8": (as_array(attempt=b"\xd0\x02"), PLAIN),
    "attempt 2**32-1": (as_array(attempt=pack(2**32 - 1)), (*PLAIN[:3], 2**32 - 1, None, None)),
    "array16": (b"\xdc\x00\x04" + as_array()[1:], PLAIN),
    "array32": (b"\xdd\x00\x00\x00\x04" + as_array()[1:], PLAIN),
    "multiplier int": (
        as_array(retry=pack([None, ["exponential", 1, None, 3, None]])),
        (*PLAIN[:4], None, ("exponential", 1, None, 3.0, None)),
    ),
    "multiplier float32": (
        as_array(retry=b"\x92\xc0\x95\xa5fixed\x01\xc0\xca" + struct.pack(">f", 1.5) + b"\xc0"),
        (*PLAIN[:4], None, ("fixed", 1, None, 1.5, None)),
    ),
    "unknown kind": (
        as_array(retry=pack([None, ["Fixed", 1, None, None, None]])),
        (*PLAIN[:4], None, ("Fixed", 1, None, None, None)),
    ),
    "bytes behind": (as_array() + b"\xc1junk", PLAIN),
    "bytes behind a map": (as_map() + b"\xc1", PLAIN),
}

INLINE = {
    "str": "inline",
    "map": {"a": [1, 2, {"b": None}]},
    "nil": None,
    "float": 1.5,
    "int": 7,
    "empty array": [],
    "array of other things": [1, 256],
    "array with a bool": [1, True],
    "array of arrays": [[1], [2]],
    "long map": {str(number): number for number in range(100)},
    "timestamp": msgpack.Timestamp(1, 2),
}

FAILS = {
    "empty": b"",
    "0 elements": b"\x90",
    "2 elements": pack(["j", PAYLOAD]),
    "6 elements": pack(["j", PAYLOAD, NOW, 0, None, None]),
    "6 elements, array16": b"\xdc\x00\x06" + pack(["j", PAYLOAD, NOW, 0, None, None])[1:],
    "no container": pack("text"),
    "reserved bytes": b"\xc1\xc1",
    "cut off": as_array()[:-1],
    "cut off in the payload": as_array()[:6],
    "announces 4 G elements": b"\xdd\xff\xff\xff\xff",
    "map announces 4 G": b"\xdf\xff\xff\xff\xff",
    "payload announces 4 G": as_array(payload=b"\xc6\xff\xff\xff\xff"),
    "id int": as_array(job_id=b"\x05"),
    "id nil": as_array(job_id=b"\xc0"),
    "id array": as_array(job_id=b"\x91\x01"),
    "id str not UTF-8": as_array(job_id=b"\xa1\xff"),
    "id bin not UTF-8": as_array(job_id=b"\xc4\x01\xff"),
    "created float": as_array(created=pack(1.0)),
    "created negative": as_array(created=b"\xff"),
    "created negative int64": as_array(created=b"\xd3" + b"\xff" * 8),
    "created bool": as_array(created=b"\xc3"),
    "created nil": as_array(created=b"\xc0"),
    "attempt negative": as_array(attempt=b"\xff"),
    "attempt nil": as_array(attempt=b"\xc0"),
    "attempt bool": as_array(attempt=b"\xc2"),
    "attempt 2**32": as_array(attempt=pack(2**32)),
    "retry of 1": as_array(retry=pack([1])),
    "retry of 3": as_array(retry=pack([1, None, None])),
    "retry int": as_array(retry=pack(3)),
    "max_attempts 2**32": as_array(retry=pack([2**32, None])),
    "max_attempts float": as_array(retry=pack([1.0, None])),
    "max_attempts negative": as_array(retry=pack([-1, None])),
    "backoff of 4": as_array(retry=pack([None, FIXED[:4]])),
    "backoff of 6": as_array(retry=pack([None, [*FIXED, None]])),
    "backoff int": as_array(retry=pack([None, 250])),
    "backoff map without delay": as_array(retry=pack([None, {"kind": "fixed"}])),
    "kind int": as_array(retry=pack([None, [1, 250, None, None, None]])),
    "kind not UTF-8": as_array(retry=b"\x92\xc0\x95\xa1\xff\x01\xc0\xc0\xc0"),
    "delay float": as_array(retry=pack([None, ["fixed", 250.0, None, None, None]])),
    "delay nil": as_array(retry=pack([None, ["fixed", None, None, None, None]])),
    "max_delay float": as_array(retry=pack([None, ["fixed", 1, 1.0, None, None]])),
    "multiplier str": as_array(retry=pack([None, ["fixed", 1, None, "2", None]])),
    "multiplier bool": as_array(retry=pack([None, ["fixed", 1, None, True, None]])),
    "jitter negative": as_array(retry=pack([None, ["fixed", 1, None, None, -1]])),
    "map without id": pack({"payload": PAYLOAD, "created_at_ms": NOW}),
    "map without payload": pack({"id": "j", "created_at_ms": NOW}),
    "map without created": pack({"id": "j", "payload": PAYLOAD}),
    "map with a key twice": b"\x84\xa2id\xa1a\xa2id\xa1b\xa7payload\xc4\x00\xadcreated_at_ms\x01",
    "inline payload without end": b"\x94\xa1j" + b"\x91" * 5000,
}


@pytest.mark.parametrize("row", RUNS)
def test_forms_that_are_read(fast, row):
    data, expected = RUNS[row]
    assert read(fast, data) == expected


@pytest.mark.parametrize("row", RUNS)
def test_every_form_is_written_again_canonically(fast, row):
    data, expected = RUNS[row]
    job_id, payload, created_at_ms, _, max_attempts, backoff = expected
    retry = fast.envelope.encode_retry(max_attempts, backoff)
    written = fast.envelope.with_attempt(data, 9)
    assert written == fast.envelope.encode_envelope(job_id, payload, created_at_ms, 9, retry)
    elements = msgpack.unpackb(written)
    assert elements[:4] == [job_id, payload, created_at_ms, 9]
    assert len(elements) == (5 if retry else 4)


@pytest.mark.parametrize("form", ["array", "map"])
@pytest.mark.parametrize("row", INLINE)
def test_payloads_that_stand_inline(fast, row, form):
    raw = pack(INLINE[row])
    data = as_array(payload=raw) if form == "array" else pack({"id": "j", "created_at_ms": NOW, "attempt": 2})
    if form == "map":
        data = b"\x84" + data[1:] + pack("payload") + raw
    assert read(fast, data) == ("j", raw, NOW, 2, None, None)


@pytest.mark.parametrize("row", FAILS)
def test_forms_that_are_refused(fast, row):
    with pytest.raises(EnvelopeError):
        fast.envelope.decode_envelope(FAILS[row])
    with pytest.raises(EnvelopeError):
        fast.envelope.with_attempt(FAILS[row], 1)


def test_both_implementations_give_the_same_reasons(twins):
    for row, data in FAILS.items():
        reasons = set()
        for fast in twins:
            with pytest.raises(EnvelopeError) as refused:
                fast.envelope.decode_envelope(data)
            reasons.add(str(refused.value))
        assert len(reasons) == 1, row


unsigned = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
optional = st.one_of(st.none(), unsigned)
backoffs = st.one_of(
    st.none(),
    st.tuples(
        st.one_of(st.sampled_from(["fixed", "exponential"]), st.text()),
        unsigned,
        optional,
        st.one_of(st.none(), st.floats(allow_nan=False)),
        optional,
    ),
)
jobs = st.tuples(
    st.one_of(st.text(), st.text(min_size=30, max_size=300)),
    st.one_of(st.binary(), st.binary(min_size=250, max_size=300)),
    unsigned,
    st.integers(0, 2**32 - 1),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    backoffs,
)


@given(job=jobs)
@deterministic
def test_any_job_comes_back(twins, job):
    job_id, payload, created_at_ms, attempt, max_attempts, backoff = job
    expected = [job_id, payload, created_at_ms, attempt]
    if max_attempts is not None or backoff is not None:
        expected.append([max_attempts, backoff])
    for fast in twins:
        retry = fast.envelope.encode_retry(max_attempts, backoff)
        data = fast.envelope.encode_envelope(job_id, payload, created_at_ms, attempt, retry)
        assert data == pack(expected)
        assert read(fast, data) == job


junk = st.one_of(
    st.binary(max_size=60),
    st.tuples(
        st.sampled_from(sorted({*range(0x82, 0x87), *range(0x92, 0x97), 0xDC})),
        st.lists(
            st.sampled_from(
                [
                    pack(part)
                    for part in (
                        "j",
                        b"ab",
                        5,
                        None,
                        1.5,
                        "id",
                        "payload",
                        "created_at_ms",
                        "attempt",
                        "retry",
                        [1, None],
                        {},
                        -1,
                    )
                ]
            ),
            max_size=12,
        ),
    ).map(lambda pair: bytes([pair[0]]) + b"".join(pair[1])),
    st.tuples(st.sampled_from([row[0] for row in RUNS.values()]), st.integers(0, 400), st.integers(0, 255)).map(
        lambda change: bytes(
            change[2] if index == change[1] % len(change[0]) else byte for index, byte in enumerate(change[0])
        )
    ),
)


@given(data=junk)
@settings(deterministic, max_examples=1000)
def test_arbitrary_bytes_read_alike_or_raise_the_documented_error(twins, data):
    outcomes = set()
    for fast in twins:
        try:
            outcomes.add(repr(read(fast, data)))
        except EnvelopeError as error:
            outcomes.add(f"refused: {error}")
    assert len(outcomes) == 1


@given(name=st.binary(max_size=300), envelope=st.binary(max_size=300))
@deterministic
def test_members_come_back(twins, name, envelope):
    for fast in twins:
        member = fast.envelope.encode_member(name, envelope)
        assert member == struct.pack("<I", len(name)) + name + envelope
        assert fast.envelope.decode_member(member) == (name, envelope)


@pytest.mark.parametrize("member", [b"", b"\x01\x00\x00", b"\x01\x00\x00\x00", b"\x00\x00\x00\x80abc", b"\xff" * 8])
def test_members_that_cannot_be_split(fast, member):
    with pytest.raises(EnvelopeError):
        fast.envelope.decode_member(member)


def test_a_member_may_be_all_name(fast):
    assert fast.envelope.decode_member(b"\x02\x00\x00\x00ab") == (b"ab", b"")


@pytest.mark.parametrize(("created_at_ms", "attempt"), [(-1, 0), (2**64, 0), (NOW, -1), (NOW, 2**32), (10**40, 0)])
def test_impossible_numbers_are_refused(fast, created_at_ms, attempt):
    with pytest.raises(EnvelopeError, match="must lie in"):
        fast.envelope.encode_envelope("j", PAYLOAD, created_at_ms, attempt, b"")


@pytest.mark.parametrize("number", [1.0, "1", None])
def test_numbers_of_another_type_are_refused(fast, number):
    with pytest.raises(TypeError):
        fast.envelope.encode_envelope("j", PAYLOAD, number, 0, b"")
    with pytest.raises(TypeError):
        fast.envelope.with_attempt(as_array(), number)


@pytest.mark.parametrize(
    ("max_attempts", "backoff"),
    [
        (2**32, None),
        (-1, None),
        (None, ("fixed", -1, None, None, None)),
        (None, ("fixed", 2**64, None, None, None)),
        (None, ("fixed", 1, -1, None, None)),
        (None, ("fixed", 1, None, None, 2**64)),
    ],
)
def test_impossible_retries_are_refused(fast, max_attempts, backoff):
    with pytest.raises(EnvelopeError, match="must lie in"):
        fast.envelope.encode_retry(max_attempts, backoff)


def test_no_retry_is_no_element(fast):
    assert fast.envelope.encode_retry(None, None) == b""


def test_an_envelope_never_prints_its_payload(fast):
    text = repr(fast.envelope.Envelope("j", b"s3cr3t", NOW, 1))
    assert "s3cr3t" not in text
    assert "'j'" in text
    assert "6 bytes" in text


def test_keys_that_are_times_cannot_be_made_to_collide(fast, monkeypatch):
    """msgpack.Timestamp has a hash that can be computed backwards. With 65,000 keys of the same hash, which fit into
    one job, making the map of them took minutes, at each delivery anew."""
    compared = []
    monkeypatch.setattr(msgpack.Timestamp, "__eq__", lambda one, other: compared.append(one) or one is other)
    keys = [b"\xc7\x0c\xff" + struct.pack(">IQ", *pair) for pair in times_of_one_hash(50)]
    flood = b"\xde" + len(keys).to_bytes(2, "big") + b"".join(key + b"\xc0" for key in keys)
    for hostile in (b"\x94" + flood + b"\xc4\x00\x01\x00", as_array(retry=b"\x92\xc0" + flood)):
        with pytest.raises(EnvelopeError):
            read(fast, hostile)
    inline = b"\x93\xa1j\x91" + flood + b"\x01"
    assert read(fast, inline)[1] == b"\x91" + flood
    assert not compared


def times_of_one_hash(count):
    """Nanoseconds and seconds, chosen by taking the hash of a tuple of two numbers (CPython's, xxHash) apart."""
    first, second, fifth = 11400714785074694791, 14029467366897019727, 2870177450012600261
    modulus, found = 2**64, []
    inverse_first, inverse_second = pow(first, -1, modulus), pow(second, -1, modulus)

    def before(state, number):
        turned = state * inverse_first % modulus
        return ((turned >> 31 | turned << 33) - number * second) % modulus

    for nanoseconds in range(1, 10**6):
        seconds = (before(before(12345678901234567, nanoseconds), 0) - fifth) * inverse_second % modulus
        if seconds < 2**61 - 1:
            found.append((nanoseconds, seconds))
        if len(found) == count:
            break
    assert len({hash(msgpack.Timestamp(seconds, nanoseconds)) for nanoseconds, seconds in found}) == 1
    return found
