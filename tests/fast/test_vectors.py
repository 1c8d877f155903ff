"""Bytes that the reference implementation wrote are read right and written again byte for byte."""

import json
from pathlib import Path

import pytest

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())["vectors"]
BY_LABEL = {vector["label"]: vector for vector in VECTORS}

# What the call in each vector passed: the data, then the retry override as (max_attempts, backoff).
CALLS = {
    "immediate, named, engine id": ({"to": "ada"}, None, None),
    "immediate, no name": ({"to": "ada"}, None, None),
    "immediate, own id, nil data": (None, None, None),
    "attempts only": (1, 5, None),
    "backoff int (fixed)": (1, None, ("fixed", 250, None, None, None)),
    "attempts + exponential, all fields": (1, 7, ("exponential", 100, 5000, 3.0, 0)),
    "fixed + jitter": (1, None, ("fixed", 80, None, None, 10)),
    "long id (str8), bin8 data": (b"\x00\xff", None, None),
    "bin16 payload": ("x" * 300, None, None),
    "attempts 300, delay 70000": (1, 300, ("fixed", 70000, None, None, None)),
    "delayed, named, engine id": ([1, 2], None, None),
    "delayed, no name": ([1, 2], None, None),
    "delayed, own id": ([1, 2], None, None),
    "delayed 1.5 s, own id, attempts + fixed backoff": ([1, 2], 2, ("fixed", 1000, None, None, None)),
    "delayed 300 ms, own id (ttl floor)": (1, None, None),
    "delayed, multi-byte name": (1, None, None),
    "retry reschedule of r-1 (attempt 0 -> 1)": ({"x": 1}, 2, ("fixed", 60000, None, None, 0)),
    "DLQ entry: unrecoverable": ({"x": 2}, None, None),
    "DLQ entry: retries_exhausted": ({"x": 1}, 2, ("fixed", 60000, None, None, 0)),
}
NAMES = {"delayed, multi-byte name": "発送", "retry reschedule of r-1 (attempt 0 -> 1)": "boom"}


def envelope_in(vector):
    if vector["kind"] == "delayed_member":
        member = bytes.fromhex(vector["member"])
        return member[4 + int.from_bytes(member[:4], "little") :]
    return bytes.fromhex(dict(vector["fields"])["d"])


def assert_both_ways(fast, envelope, data, max_attempts, backoff):
    decoded = fast.envelope.decode_envelope(envelope)
    assert fast.payload.decode_payload(decoded.payload) == data
    assert (decoded.max_attempts, decoded.backoff) == (max_attempts, backoff)
    encoded = fast.envelope.encode_envelope(
        decoded.job_id,
        fast.payload.encode_payload(data),
        decoded.created_at_ms,
        decoded.attempt,
        fast.envelope.encode_retry(max_attempts, backoff),
    )
    assert encoded == envelope
    assert fast.envelope.with_attempt(envelope, decoded.attempt) == envelope


def test_every_vector_is_used():
    used = {*CALLS, "bulk of three", "DLQ entry: decode_failed", "DLQ entry: malformed", "result of ok-1"}
    others = {label for label, vector in BY_LABEL.items() if vector["kind"] in ("repeat_spec", "events")}
    assert set(BY_LABEL) == used | others


@pytest.mark.parametrize("label", CALLS)
def test_envelopes(fast, label):
    assert_both_ways(fast, envelope_in(BY_LABEL[label]), *CALLS[label])


def test_envelopes_of_a_bulk_add(fast):
    for fields, data in zip(BY_LABEL["bulk of three"]["entries"], (1, "x", b"\x00\xff"), strict=True):
        assert_both_ways(fast, bytes.fromhex(fields["d"]), data, None, None)


@pytest.mark.parametrize("label", [v["label"] for v in VECTORS if v["kind"] == "delayed_member"])
def test_members(fast, label):
    vector = BY_LABEL[label]
    member = bytes.fromhex(vector["member"])
    name, envelope = fast.envelope.decode_member(member)
    expected = NAMES.get(label, "" if "no name" in label else "w")
    assert name.decode() == expected
    assert envelope == envelope_in(vector)
    assert fast.envelope.encode_member(name, envelope) == member
    assert vector.get("didx", vector["member"]) == vector["member"]


def test_a_retry_raises_only_the_attempt(fast):
    retried = envelope_in(BY_LABEL["retry reschedule of r-1 (attempt 0 -> 1)"])
    decoded = fast.envelope.decode_envelope(retried)
    assert (decoded.job_id, decoded.attempt) == ("r-1", 1)
    fresh = fast.envelope.with_attempt(retried, 0)
    assert fast.envelope.decode_envelope(fresh).attempt == 0
    assert fast.envelope.with_attempt(fresh, 1) == retried
    # Nothing but one byte differs.
    assert sum(one != other for one, other in zip(fresh, retried, strict=True)) == 1


@pytest.mark.parametrize("label", [v["label"] for v in VECTORS if v["kind"] == "dlq_entry"])
def test_the_entry_behind_a_dead_letter(fast, label):
    written = dict(BY_LABEL[label]["fields"])
    name = written.get("n", "nm")
    fields = [b"n", name.encode()] if written["reason"] == "malformed" else [b"d", bytes.fromhex(written["d"])]
    if written["reason"] == "decode_failed":
        fields += [b"n", b"nm"]
    source_id = written["source_id"].encode()
    (entry,) = fast.entries.parse_entry_list([[source_id, fields]], 1 << 20)
    assert (entry.entry_id, entry.raw.hex()) == (source_id, written["d"])
    if written["reason"] in ("malformed", "decode_failed"):
        assert (entry.fault, entry.name) == (written["reason"], "")
        assert "detail" not in written or entry.detail == written["detail"]
    else:
        assert entry.fault is None


def test_the_stored_result(fast):
    vector = BY_LABEL["result of ok-1"]
    assert fast.payload.encode_payload({"ok": True}).hex() == vector["value"]
    assert fast.payload.decode_payload(bytes.fromhex(vector["value"])) == {"ok": True}


def test_the_immediate_add_command(fast):
    vector = BY_LABEL["immediate, named, engine id"]
    envelope = bytes.fromhex(vector["fields"]["d"])
    decoded = fast.envelope.decode_envelope(envelope)
    producer_id = b"01447038-ef32-4d64-b8ac-c25a2e0efa91"
    head = fast.frames.JobHead(b"{chasqui:vec}:stream", producer_id)
    framed = fast.frames.frame_job(head, decoded.job_id, decoded.payload, decoded.created_at_ms, b"welcome", b"")
    assert framed == fast.frames.pack_command(
        [
            b"XADD",
            b"{chasqui:vec}:stream",
            b"IDMP",
            producer_id,
            decoded.job_id,
            b"*",
            b"d",
            envelope,
            b"n",
            b"welcome",
        ]
    )


def test_the_events_of_a_run(fast):
    rows = {
        dict(fields)["e"]: dict(fields)
        for fields in BY_LABEL["one event of each kind (field order as written)"]["entries"]
    }
    key = b"{chasqui:vec}:events"
    head = fast.frames.event_head(key, 100000)
    for kind in ("active", "completed"):
        row = rows[kind]
        buffer = fast.frames.FrameBuffer()
        common = (head, row["id"], int(row["ts"]), row["n"].encode(), int(row["attempt"]))
        if kind == "active":
            buffer.active(*common)
        else:
            buffer.completed(*common, int(row["duration_us"]))
        # dict keeps the order in which the reference wrote the fields.
        fields = [text for pair in row.items() for text in pair]
        assert buffer.take() == fast.frames.pack_command([b"XADD", key, b"MAXLEN", b"~", 100000, b"*", *fields])
