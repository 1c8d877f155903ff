"""Replies in every shape become entries; what cannot run gets its dead-letter reason and never an exception."""

import gc
import tracemalloc

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = 1 << 20
NOW = 1795489905760
BACKOFF = ("exponential", 100, 5000, 3.0, 0)
FIELDS = (
    "entry_id",
    "name",
    "job_id",
    "payload",
    "created_at_ms",
    "attempt",
    "max_attempts",
    "backoff",
    "raw",
    "deliveries",
    "idle_ms",
    "fault",
    "detail",
    "lease_until",
    "lost",
)


def envelope(fast, job_id="j", payload=b"\x01", attempt=0, retry=b""):
    return fast.envelope.encode_envelope(job_id, payload, NOW, attempt, retry)


def values(entry):
    return {field: getattr(entry, field) for field in FIELDS}


def one(fast, *parts, limit=LIMIT):
    (entry,) = fast.entries.parse_entry_list([list(parts)], limit)
    return entry


def test_an_entry_has_all_there_is(fast):
    raw = envelope(fast, "job-1", b"\x93\x01\x02\x03", 4, fast.envelope.encode_retry(7, BACKOFF))
    entry = one(fast, b"5-1", [b"d", raw, b"n", "発送".encode()], 1500, 2)
    assert values(entry) == {
        "entry_id": b"5-1",
        "name": "発送",
        "job_id": "job-1",
        "payload": b"\x93\x01\x02\x03",
        "created_at_ms": NOW,
        "attempt": 4,
        "max_attempts": 7,
        "backoff": BACKOFF,
        "raw": raw,
        "deliveries": 2,
        "idle_ms": 1500,
        "fault": None,
        "detail": "",
        "lease_until": 0.0,
        "lost": False,
    }


@pytest.mark.parametrize(
    "fields",
    [
        lambda d: [b"d", d, b"n", b"w"],
        lambda d: [b"n", b"w", b"d", d],
        lambda d: [b"x", b"1", b"d", d, b"more", b"2", b"n", b"w"],
        lambda d: (b"d", d, b"n", b"w"),
        lambda d: {b"d": d, b"n": b"w"},
        lambda d: [[b"d", d], [b"n", b"w"]],
        lambda d: [(b"d", d), (b"n", b"w")],
        lambda d: [b"d", d, b"n", b"w", b"lonely"],
        lambda d: [None, 1, 5, 2, b"d", d, b"n", b"w"],
    ],
    ids=["plain", "swapped", "unknown", "tuple", "dict", "pairs", "tuples", "odd", "strange keys"],
)
def test_fields_are_found_by_name(fast, fields):
    entry = one(fast, b"1-0", fields(envelope(fast)))
    assert (entry.job_id, entry.name, entry.fault) == ("j", "w", None)
    assert (entry.deliveries, entry.idle_ms) == (0, 0)


@pytest.mark.parametrize(
    "fields",
    [[], [b"n", b""], [b"n", b"\xff\xfe"], [b"n", 5], [b"n", None]],
    ids=["absent", "empty", "bad", "int", "nil"],
)
def test_an_entry_without_a_usable_name_runs_unnamed(fast, fields):
    entry = one(fast, b"1-0", [b"d", envelope(fast), *fields])
    assert (entry.name, entry.job_id, entry.fault) == ("", "j", None)


def test_names_are_not_mixed_up(fast):
    names = ["a", "a", "b", "", "a", "ab", "b"]
    rows = [[b"%d-0" % index, [b"d", envelope(fast), b"n", name.encode()]] for index, name in enumerate(names)]
    rows.insert(3, [b"9-0", [b"d", envelope(fast)]])
    names.insert(3, "")
    assert [entry.name for entry in fast.entries.parse_entry_list(rows, LIMIT)] == names


@pytest.mark.parametrize(
    "fields", [[], [b"n", b"w"], [b"d", None, b"n", b"w"], [b"d", 5], [b"d", [b"x"]], {b"n": b"w"}, [b"d"]]
)
def test_malformed(fast, fields):
    entry = one(fast, b"1-0", fields, 10, 3)
    assert (entry.fault, entry.detail) == ("malformed", "missing or non-bytes payload field")
    assert (entry.raw, entry.name, entry.job_id, entry.payload) == (b"", "", "", b"")
    assert (entry.deliveries, entry.idle_ms) == (3, 10)


def test_oversize_payloads_are_not_decoded(fast):
    raw = envelope(fast, payload=b"x" * 100)
    entry = one(fast, b"1-0", [b"d", raw, b"n", b"w"], limit=len(raw) - 1)
    assert (entry.fault, entry.raw, entry.name) == ("oversize_payload", raw, "w")
    assert (entry.job_id, entry.payload) == ("", b"")
    assert entry.detail == f"{len(raw)} bytes, the limit is {len(raw) - 1}"
    assert one(fast, b"1-0", [b"d", raw, b"n", b"w"], limit=len(raw)).fault is None


@pytest.mark.parametrize("raw", [b"", b"\xc1\xc1", b"\x94\x01\xc4\x00\x01\x00", b"\x94\xa1\xff\xc4\x00\x01\x00"])
def test_undecodable(fast, raw):
    entry = one(fast, b"1-0", [b"d", raw, b"n", b"nm"], 10, 3)
    assert (entry.fault, entry.raw, entry.name) == ("decode_failed", raw, "")
    assert (entry.job_id, entry.payload, entry.created_at_ms, entry.attempt) == ("", b"", 0, 0)
    assert (entry.max_attempts, entry.backoff, entry.deliveries) == (None, None, 3)
    assert entry.detail.startswith("the envelope")


def test_an_undecodable_backoff_leaves_nothing_half_decoded(fast):
    raw = b"\x95\xa1j\xc4\x00\x01\x00\x92\x07\x95\xa1\xff\x01\xc0\xc0\xc0"
    entry = one(fast, b"1-0", [b"d", raw])
    assert (entry.fault, entry.job_id, entry.max_attempts) == ("decode_failed", "", None)


def test_other_envelope_forms_run(fast):
    raw = b"\x84\xa2id\xa1j\xa7payload\xa2hi\xadcreated_at_ms\x05\xa1x\x01"
    entry = one(fast, b"1-0", [b"d", raw, b"n", b"w"])
    assert (entry.job_id, entry.payload, entry.created_at_ms, entry.name) == ("j", b"\xa2hi", 5, "w")


@pytest.mark.parametrize("count", [None, -1, 2**63, 2**70, b"5", 1.0, True])
def test_odd_counters_count_as_zero(fast, count):
    entry = one(fast, b"1-0", [b"d", envelope(fast)], count, count)
    assert (entry.idle_ms, entry.deliveries) == (0, 0)


def test_deleted_entries_are_passed_over(fast):
    rows = [None, [b"1-0", None], [b"2-0", [b"d", envelope(fast)], 0, 1], (b"3-0", None, 5, 1)]
    assert [entry.entry_id for entry in fast.entries.parse_entry_list(rows, LIMIT)] == [b"2-0"]


def encode_reply(value):
    """RESP3, for hiredis to read: shapes as they really come."""
    if value is None:
        return b"_\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, dict):
        return b"%%%d\r\n" % len(value) + b"".join(map(encode_reply, (part for pair in value.items() for part in pair)))
    return b"*%d\r\n" % len(value) + b"".join(map(encode_reply, value))


@pytest.mark.parametrize("streams", [list, dict], ids=["RESP2", "RESP3"])
def test_a_reply_as_the_parser_gives_it(fast, streams):
    rows = [[b"%d-0" % number, [b"d", envelope(fast, f"j{number}"), b"n", b"w"], 0, 0] for number in range(5)]
    reply = streams([(b"key", rows[:3]), (b"other", []), (b"third", rows[3:])])
    reader = hiredis.Reader()
    reader.feed(encode_reply(reply))
    entries = fast.entries.parse_entries(reader.gets(), LIMIT)
    assert [entry.job_id for entry in entries] == ["j0", "j1", "j2", "j3", "j4"]


@pytest.mark.parametrize("reply", [None, [], {}, (), [[b"key", []]], {b"key": []}, [[b"key", None]]])
def test_nothing_read(fast, reply):
    assert fast.entries.parse_entries(reply, LIMIT) == []


@pytest.mark.parametrize(
    "reply", [5, b"OK", "text", [5], [[b"key"]], [[b"key", 5]], [b"key", []], [[b"key", [5]]], [[b"key", [[b"1-0"]]]]]
)
def test_impossible_replies_raise(fast, reply):
    with pytest.raises(ValueError, match="stream"):
        fast.entries.parse_entries(reply, LIMIT)


@pytest.mark.parametrize(
    "entries", [5, b"OK", [5], [[b"1-0"]], [["1-0", []]], [[None, []]], [[b"1-0", 5]], [[b"1-0", b"d"]]]
)
def test_impossible_entries_raise(fast, entries):
    with pytest.raises(ValueError, match="stream"):
        fast.entries.parse_entry_list(entries, LIMIT)


def test_an_entry_list_may_be_none(fast):
    assert fast.entries.parse_entry_list(None, LIMIT) == []


anything = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.sampled_from([b"d", b"n"])),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.binary(), inner), st.tuples(inner, inner)),
    max_leaves=6,
)
rows = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.binary(), st.lists(st.one_of(st.sampled_from([b"d", b"n"]), anything)), anything, anything).map(
            list
        ),
    )
)


def outcome(fast, parse, reply):
    try:
        return [values(entry) for entry in getattr(fast.entries, parse)(reply, 40)]
    except ValueError as error:
        return str(error)


@given(reply=st.one_of(anything, rows))
@settings(derandomize=True, deadline=None, database=None, max_examples=150)
def test_any_reply_is_taken_alike(twins, reply):
    for parse, argument in (
        ("parse_entry_list", reply),
        ("parse_entries", [[b"key", reply]]),
        ("parse_entries", reply),
    ):
        outcomes = [outcome(fast, parse, argument) for fast in twins]
        assert all(repr(other) == repr(outcomes[0]) for other in outcomes)


@given(raw=st.binary(max_size=50), name=st.binary(max_size=10))
@settings(derandomize=True, deadline=None, database=None, max_examples=300)
def test_any_content_of_an_entry_is_taken(twins, raw, name):
    outcomes = [values(one(fast, b"1-0", [b"d", raw, b"n", name], limit=40)) for fast in twins]
    assert all(other == outcomes[0] for other in outcomes)


def test_engine_fields_belong_to_the_worker(fast):
    entry = fast.entries.Entry(b"1-0", "j")
    assert (entry.lease_until, entry.lost) == (0.0, False)
    entry.lease_until = 12.5
    entry.lost = True
    assert (entry.lease_until, entry.lost) == (12.5, True)
    with pytest.raises(AttributeError):
        entry.unknown = 1


def test_entries_can_be_made_by_hand(fast):
    given_values = {
        "entry_id": b"5-1",
        "name": "w",
        "job_id": "j",
        "payload": b"\x01",
        "created_at_ms": NOW,
        "attempt": 1,
        "max_attempts": 3,
        "backoff": BACKOFF,
        "raw": b"r",
        "deliveries": 2,
        "idle_ms": 9,
        "fault": "malformed",
        "detail": "why",
    }
    assert values(fast.entries.Entry(**given_values)) == given_values | {"lease_until": 0.0, "lost": False}


def test_an_entry_never_prints_its_payload(fast):
    entry = one(fast, b"5-1", [b"d", envelope(fast, "job-1", b"s3cr3t", 4), b"n", b"w"], 0, 2)
    assert repr(entry) == "<Entry 5-1 job='job-1' name='w' attempt=4 deliveries=2 payload=6 bytes>"
    broken = one(fast, b"5-1", [b"d", b"s3cr3t"])
    assert repr(broken) == "<Entry 5-1 job='' name='' fault=decode_failed deliveries=0 payload=0 bytes>"


def test_no_leaks(fast):
    retry = fast.envelope.encode_retry(70_000, BACKOFF)
    row = [b"1-0", [b"d", envelope(fast, retry=retry), b"n", b"some-name"], 5000, 5000]
    reply = [[b"key", [row, [b"2-0", [b"d", b"\xc1"]], [b"3-0", {b"n": b"w"}], None] * 20]]

    def work():
        for _ in range(50):
            fast.entries.parse_entries(reply, LIMIT)
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
