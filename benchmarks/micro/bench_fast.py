"""What each function of ``chasquimq._fast`` costs, compiled and as its twin.

Run with ``pytest -p benchmark benchmarks/micro/bench_fast.py``; each group holds the two
implementations of one function, so that its ratio shows. Where one call is too short to time, a round makes many.
"""

from collections import deque
from importlib import import_module
from types import SimpleNamespace

import hiredis
import msgpack
import pytest

PACKAGES = {"cython": "chasquimq._fast", "python": "chasquimq._fast._pure"}
MODULES = ("backoff", "clock", "entries", "envelope", "frames", "job_state", "payload", "replies", "running", "ulid")
CALLS = 100
NOW = 1795489905760
JOB_ID = "01M85RHMFQ1N9XM1BBQPN8XY0A"
DATA = {"to": "ada@example.com", "n": 5}
PAYLOAD = msgpack.packb(DATA)
BACKOFF = ("exponential", 100, 5000, 3.0, 0)
STREAM = b"{chasqui:q}:stream"
IDS = [b"1795489905760-%d" % number for number in range(CALLS)]


@pytest.fixture(params=PACKAGES)
def fast(request):
    return SimpleNamespace(**{name: import_module(f"{PACKAGES[request.param]}.{name}") for name in MODULES})


@pytest.fixture
def measure(benchmark, request):
    """Times ``CALLS`` calls a round; the group is the test's name."""
    benchmark.group = request.node.originalname.removeprefix("test_")

    def run(function, *arguments):
        def calls():
            for _ in range(CALLS):
                function(*arguments)

        benchmark.extra_info["calls"] = CALLS
        benchmark(calls)

    return run


def test_an_empty_call(measure):
    """The floor: what the loop itself costs."""
    measure(lambda: None)


def test_mint_ulid(measure, fast):
    measure(fast.ulid.mint_ulid)


def test_mint_ulids_of_1000(measure, fast):
    measure(fast.ulid.mint_ulids, 1000)


def test_ulid_timestamp_ms(measure, fast):
    measure(fast.ulid.ulid_timestamp_ms, JOB_ID)


def test_encode_payload(measure, fast):
    measure(fast.payload.encode_payload, DATA)


def test_decode_payload(measure, fast):
    measure(fast.payload.decode_payload, PAYLOAD)


def test_encode_large_payload(measure, fast):
    measure(fast.payload.encode_payload, [DATA] * 100)


def test_decode_large_payload(measure, fast):
    measure(fast.payload.decode_payload, msgpack.packb([DATA] * 100))


@pytest.mark.parametrize("way", ["packb", "Packer"])
def test_encode_with_msgpack(measure, way):
    """For comparison with encode_payload."""
    measure(msgpack.packb if way == "packb" else msgpack.Packer().pack, DATA)


def test_decode_with_msgpack(measure):
    """For comparison with decode_payload."""
    measure(msgpack.unpackb, PAYLOAD)


def test_encode_retry(measure, fast):
    measure(fast.envelope.encode_retry, 5, BACKOFF)


def test_encode_envelope(measure, fast):
    measure(fast.envelope.encode_envelope, JOB_ID, PAYLOAD, NOW, 0, b"")


def test_decode_envelope(measure, fast):
    measure(fast.envelope.decode_envelope, fast.envelope.encode_envelope(JOB_ID, PAYLOAD, NOW, 0, b""))


def test_with_attempt(measure, fast):
    measure(fast.envelope.with_attempt, fast.envelope.encode_envelope(JOB_ID, PAYLOAD, NOW, 0, b""), 1)


def test_encode_member(measure, fast):
    measure(fast.envelope.encode_member, b"welcome", PAYLOAD * 4)


def test_decode_member(measure, fast):
    measure(fast.envelope.decode_member, fast.envelope.encode_member(b"welcome", PAYLOAD * 4))


@pytest.mark.parametrize("override", ["plain", "retry"])
def test_parse_entries_of_100(benchmark, fast, override):
    """100 entries a call: divide by 100 for one."""
    benchmark.group = f"parse_entries of 100, {override}"
    retry = fast.envelope.encode_retry(5, BACKOFF) if override == "retry" else b""
    rows = [
        [entry_id, [b"d", fast.envelope.encode_envelope(JOB_ID, PAYLOAD, NOW, 0, retry), b"n", b"welcome"], 0, 0]
        for entry_id in IDS
    ]
    reply = [[STREAM, rows]]
    benchmark(fast.entries.parse_entries, reply, 1 << 20)


def test_read_entries_of_100(benchmark, fast):
    """From the received bytes of a read to 100 entries: divide by 100 for one."""
    benchmark.group = "read_entries of 100"
    envelope = fast.envelope.encode_envelope(JOB_ID, PAYLOAD, NOW, 0, b"")
    text = b"$%d\r\n%b\r\n"
    fields = b"*4\r\n" + b"".join(text % (len(part), part) for part in (b"d", envelope, b"n", b"welcome"))
    entries = [b"*4\r\n" + text % (len(entry_id), entry_id) + fields + b":0\r\n:0\r\n" for entry_id in IDS]
    received = b"%1\r\n" + text % (len(STREAM), STREAM) + b"*%d\r\n" % CALLS + b"".join(entries)
    reader = fast.replies.EntryReader(hiredis.Reader(), STREAM, 1 << 20)

    def read():
        reader.feed(received, 0, len(received))
        return fast.entries.parse_entries(reader.gets(), 1 << 20)

    assert len(benchmark(read)) == CALLS


def test_start_and_complete(measure, fast):
    ended = deque()
    runs = fast.running.Runs(
        None,
        fast.job_state.JobState,
        clock=fast.clock,
        decode=fast.payload.decode_payload,
        listened={},
        started=None,
        completed=ended,
        keeps_values=False,
    )
    entry = fast.entries.Entry(b"1-1", JOB_ID, PAYLOAD, name="welcome", created_at_ms=NOW)
    entry.lease_until = float("inf")

    def run():
        runs.complete(runs.start(entry), None)
        ended.clear()

    measure(run)


def test_pack_command(measure, fast):
    measure(fast.frames.pack_command, [b"XADD", STREAM, b"*", b"n", 5, "text"])


def test_frame_job(measure, fast):
    head = fast.frames.JobHead(STREAM, b"01447038-ef32-4d64-b8ac-c25a2e0efa91")
    measure(fast.frames.frame_job, head, JOB_ID, PAYLOAD, NOW, b"welcome", b"")


def buffered(benchmark, fast, append):
    """Appends ``CALLS`` times, then empties the buffer."""
    buffer = fast.frames.FrameBuffer()

    def calls():
        for _ in range(CALLS):
            append(buffer)
        buffer.take()

    benchmark(calls)


def test_buffer_job(benchmark, fast):
    benchmark.group = "buffer_job"
    head = fast.frames.JobHead(STREAM, b"01447038-ef32-4d64-b8ac-c25a2e0efa91")
    buffered(benchmark, fast, lambda buffer: buffer.job(head, JOB_ID, PAYLOAD, NOW, b"welcome", b""))


def test_buffer_completed(benchmark, fast):
    benchmark.group = "buffer_completed"
    head = fast.frames.event_head(b"{chasqui:q}:events", 100_000)
    buffered(benchmark, fast, lambda buffer: buffer.completed(head, JOB_ID, NOW, b"welcome", 1, 2707))


def test_buffer_acks_of_100(measure, fast):
    buffer = fast.frames.FrameBuffer()

    def acks():
        buffer.acks(STREAM, b"default", IDS)
        buffer.take()

    measure(acks)


def test_backoff_ms(measure, fast):
    measure(fast.backoff.backoff_ms, "exponential", 100, 30_000, 2.0, 100, 3, 0.3)
