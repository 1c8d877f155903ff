"""Bytes that the reference implementation wrote, against what this one would write: whole operations, not parts.

The parts (envelopes, members, payloads) are checked in ``tests/fast``.
"""

import json
from pathlib import Path

import pytest

from chasquimq._core.keys import GROUP, QueueKeys
from chasquimq._core.leases import LeaseBook
from chasquimq._core.outcome import DeadLetter, Retry, RetryPolicy, admit, after_failure
from chasquimq._core.producer import Producing, producer_settings
from chasquimq._core.settlement import Failure, Settlement, SettlementSettings
from chasquimq._fast import decode_envelope, decode_member, parse_entry_list
from chasquimq.errors import UnrecoverableError
from chasquimq.options import BackoffSpec, QueueOptions
from tests.unit.resp import CLASSIC, NEWEST, XACKDEL, command, commands, pairs, scripted

VECTORS = json.loads((Path(__file__).parent / "vectors" / "vectors.json").read_text("utf-8"))["vectors"]
BY_LABEL = {vector["label"]: vector for vector in VECTORS}
KEYS = QueueKeys("vec")
PROFILES = pytest.mark.parametrize("profile", [CLASSIC, XACKDEL, NEWEST], ids=lambda p: p.version)

# The calls of the vectors in this library's words: name, data, options.
ADDS = {
    "immediate, named, engine id": ("welcome", {"to": "ada"}, {}),
    "immediate, no name": ("", {"to": "ada"}, {}),
    "immediate, own id, nil data": ("w", None, {"job_id": "my-id"}),
    "attempts only": ("w", 1, {"job_id": "a", "attempts": 5}),
    "backoff int (fixed)": ("w", 1, {"job_id": "b", "backoff": 250}),
    "attempts + exponential, all fields": (
        "w",
        1,
        {
            "job_id": "c",
            "attempts": 7,
            "backoff": BackoffSpec.exponential(100, multiplier=3.0, max_delay_ms=5000, jitter_ms=0),
        },
    ),
    "fixed + jitter": ("w", 1, {"job_id": "d", "backoff": BackoffSpec.fixed(80, jitter_ms=10)}),
    "long id (str8), bin8 data": ("w", b"\x00\xff", {"job_id": "i" * 40}),
    "bin16 payload": ("w", "x" * 300, {"job_id": "e"}),
    "attempts 300, delay 70000": ("w", 1, {"job_id": "f", "attempts": 300, "backoff": 70_000}),
    "delayed, named, engine id": ("w", [1, 2], {"delay": 60_000}),
    "delayed, no name": ("", [1, 2], {"delay": 60_000}),
    "delayed, own id": ("w", [1, 2], {"delay": 60_000, "job_id": "d-1"}),
    "delayed 1.5 s, own id, attempts + fixed backoff": (
        "w",
        [1, 2],
        {"delay": 1_500, "job_id": "d-2", "attempts": 2, "backoff": 1_000},
    ),
    "delayed 300 ms, own id (ttl floor)": ("w", 1, {"delay": 300, "job_id": "d-3"}),
    "delayed, multi-byte name": ("発送", 1, {"delay": 60_000}),
}
# The one place where this library writes more, so that every kind of worker waits what was asked.
WITH_EXPLICIT_CAP = "attempts 300, delay 70000"


def written(vector):
    """The envelope and the name that the reference wrote."""
    if "member" in vector:
        name, envelope = decode_member(bytes.fromhex(vector["member"]))
        return envelope, name
    return bytes.fromhex(vector["fields"]["d"]), vector["fields"].get("n", "").encode()


def produce(label, profile):
    """The Call of this library for the call of a vector, with the reference's clock and id."""
    name, data, given = ADDS[label]
    envelope, _ = written(BY_LABEL[label])
    original = decode_envelope(envelope)
    producing = Producing(
        KEYS, producer_settings(QueueOptions()), now_ms=lambda: original.created_at_ms, producer_id="p"
    )
    job = producing.new_job(name, data, producing.options(None, given))
    if "job_id" not in given:
        assert len(job.job_id) == len(original.job_id) == 26
        job.job_id = original.job_id
    return command(producing.add(job, profile))


@PROFILES
@pytest.mark.parametrize("label", [label for label in ADDS if "delayed" not in label and label != WITH_EXPLICIT_CAP])
def test_an_immediate_add_writes_the_same_fields(label, profile):
    sent = produce(label, profile)
    envelope, name = written(BY_LABEL[label])
    if "job_id" in ADDS[label][2]:
        _, (_, _, ours, our_name) = scripted(sent, "add_unique", profile)
    else:
        fields = pairs(sent[sent.index(b"*") + 1 :])
        assert list(fields) == ([b"d", b"n"] if name else [b"d"])
        ours, our_name = fields[b"d"], fields.get(b"n", b"")
    assert (ours, our_name) == (envelope, name)


def test_a_wait_above_30_s_differs_by_its_explicit_cap_only():
    _, (_, _, ours, _) = scripted(produce(WITH_EXPLICIT_CAP, CLASSIC), "add_unique", CLASSIC)
    envelope, _ = written(BY_LABEL[WITH_EXPLICIT_CAP])
    delay = bytes.fromhex("ce00011170")
    assert envelope.endswith(delay + b"\xc0\xc0\xc0")
    assert ours == envelope.removesuffix(b"\xc0\xc0\xc0") + delay + b"\xc0\xc0"


@PROFILES
@pytest.mark.parametrize("label", [label for label in ADDS if "delayed" in label])
def test_a_delayed_add_writes_the_same_member_for_the_same_time(label, profile):
    vector = BY_LABEL[label]
    sent = produce(label, profile)
    own_id = "dlid" in vector
    keys, arguments = scripted(sent, "add_delayed_unique" if own_id else "add_delayed", profile)
    delay, _, member, *window = arguments
    assert member.hex() == vector["member"]
    envelope, _ = written(vector)
    assert decode_envelope(envelope).created_at_ms + int(delay) == vector["score"]
    if own_id:
        assert keys[2:] == [KEYS.dedup_marker(ADDS[label][2]["job_id"]), KEYS.delayed_index(ADDS[label][2]["job_id"])]
        assert vector["didx"] == vector["member"]
        assert int(window[0]) == vector["dlid_ttl"] == vector["didx_ttl"]


# -- retries and dead letters ----------------------------------------------------------------------------------


def failed_entry(raw, name="", entry_id=b"1-1"):
    fields = [b"d", raw, *([b"n", name.encode()] if name else [])]
    (entry,) = parse_entry_list([[entry_id, fields, 0, 0]], 1_048_576)
    return entry


def moved(end, entry):
    """The commands that write this end."""
    book = LeaseBook(30_000)
    book.held[entry.entry_id] = entry
    settings = SettlementSettings(group=GROUP, consumer=b"c-1", events=False)
    settlement = Settlement(KEYS, settings, book)
    settlement.failed(Failure(entry, end, None))
    (call,) = settlement.calls(settlement.take(), NEWEST, 0.0)
    return command(call)


def test_a_retry_writes_the_same_member_for_the_same_time():
    vector = BY_LABEL["retry reschedule of r-1 (attempt 0 -> 1)"]
    name, after = decode_member(bytes.fromhex(vector["member"]))
    before = after.replace(b"\x01\x92\x02", b"\x00\x92\x02")
    assert decode_envelope(before).attempt == 0
    entry = failed_entry(before, name.decode())
    end = after_failure(entry, ValueError("boom"), RetryPolicy(), 0.5)
    assert isinstance(end, Retry)
    assert end.member.hex() == vector["member"]
    # The job names no cap, so a worker's 30 s hold; the reference failed it at score - 30000.
    assert end.wait_ms == 30_000
    _, arguments = scripted(moved(end, entry), "retry_jobs", NEWEST)
    assert arguments[4:] == [b"30000", end.member, b"r-1", b"boom", b"2"]


DEAD = {
    "decode_failed": lambda: failed_entry(b"\xc1\xc1", "nm"),
    "malformed": lambda: parse_entry_list([[b"1-1", [b"n", b"nm"], 0, 0]], 1_048_576)[0],
    "unrecoverable": lambda: failed_entry(bytes.fromhex("94a3752d31c40481a17802cf000001a20b88d23100"), "unrec"),
    "retries_exhausted": lambda: failed_entry(
        bytes.fromhex("95a3722d31c40481a17801cf000001a20b88d23001920295a56669786564cdea60c0c000"), "boom"
    ),
}


@pytest.mark.parametrize("reason", DEAD)
def test_a_dead_letter_has_the_same_content_name_and_reason(reason):
    fields = dict(BY_LABEL[f"DLQ entry: {reason}"]["fields"])
    entry = DEAD[reason]()
    end = admit(entry, RetryPolicy())
    if end is None:
        error = UnrecoverableError("no") if reason == "unrecoverable" else ValueError("boom")
        end = after_failure(entry, error, RetryPolicy(), 0.5)
    assert isinstance(end, DeadLetter)
    _, arguments = scripted(moved(end, entry), "dead_letter", NEWEST)
    _, raw, name, why, detail, *_ = arguments[4:]
    assert (raw.hex(), name.decode(), why.decode()) == (fields["d"], fields.get("n", ""), fields["reason"])
    if reason == "malformed":
        assert detail.decode() == fields["detail"]


def test_a_result_is_written_as_the_same_value_under_the_same_key():
    vector = BY_LABEL["result of ok-1"]
    book = LeaseBook(30_000)
    settlement = Settlement(KEYS, SettlementSettings(group=GROUP, consumer=b"c-1", events=False), book)
    entry = failed_entry(bytes.fromhex("94a46f6b2d31c401c0cf000001a20b88d23100"))
    entry.result = bytes.fromhex(vector["value"])
    settlement.completions.append(entry)
    (call,) = settlement.calls(settlement.take(), NEWEST, 0.0)
    keys, arguments = scripted(command(call), "complete_jobs", NEWEST)
    assert keys[1].decode() == vector["key"]
    assert arguments[2:] == [b"3600", entry.entry_id, entry.result]


# -- events ----------------------------------------------------------------------------------------------------


def reference_event(kind):
    (entries,) = [vector["entries"] for vector in VECTORS if vector["kind"] == "events"]
    return next([field for field, _ in event] for event in entries if dict(event)["e"] == kind)


@pytest.mark.parametrize("kind", ["active", "completed", "failed", "drained"])
def test_an_event_has_the_same_fields_in_the_same_order(kind):
    settlement = Settlement(KEYS, SettlementSettings(group=GROUP, consumer=b"c-1"), LeaseBook(30_000))
    entry = failed_entry(bytes.fromhex("94a3722d31c401c0cf000001a20b88d23100"), "boom")
    assert settlement.starts is not None
    settlement.starts.append(entry)
    settlement.completions.append(entry)
    settlement.failed(Failure(entry, Retry(1, b"m", 2), "boom"))
    settlement.drained(1)
    call = settlement.calls(settlement.take(), NEWEST, 0.0)[0]
    ours = {sent[7].decode(): [field.decode() for field in sent[6::2]] for sent in commands(call.request)}
    assert ours[kind] == reference_event(kind)
