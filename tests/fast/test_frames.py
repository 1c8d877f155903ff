"""What is framed parses back to the same arguments: RESP is read here by a parser of its own."""

import sys
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chasquimq.errors import EnvelopeError

NOW = 1795489905760
STREAM = b"{chasqui:q}:stream"
PRODUCER = b"01447038-ef32-4d64-b8ac-c25a2e0efa91"
EVENTS = b"{chasqui:q}:events"


def commands_in(request):
    """An independent reader of RESP requests: every command as a list of its arguments."""
    commands = []
    at = 0

    def number(mark):
        nonlocal at
        end = request.index(b"\r\n", at)
        line = request[at:end]
        assert line[:1] == mark
        assert line[1:] == b"%d" % int(line[1:])
        at = end + 2
        return int(line[1:])

    while at < len(request):
        arguments = []
        for _ in range(number(b"*")):
            size = number(b"$")
            arguments.append(request[at : at + size])
            assert request[at + size : at + size + 2] == b"\r\n"
            at += size + 2
        commands.append(arguments)
    return commands


def collected(fast, append):
    buffer = fast.frames.FrameBuffer()
    append(buffer)
    assert len(buffer) == buffer.size
    count = buffer.commands
    commands = commands_in(buffer.take())
    assert count == len(commands)
    return commands


class Level(IntEnum):
    HIGH = 9


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"", b""),
        (b"a\r\nb\x00", b"a\r\nb\x00"),
        ("発送", "発送".encode()),
        (Text("sub"), b"sub"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (0, b"0"),
        (-17, b"-17"),
        (2**64, b"18446744073709551616"),
        (Level.HIGH, b"9"),
        (1.5, b"1.5"),
        (1795489905760.0, b"1795489905760.0"),
        (float("inf"), b"inf"),
    ],
)
def test_arguments(fast, argument, expected):
    assert commands_in(fast.frames.pack_command(["SET", argument])) == [[b"SET", expected]]
    assert collected(fast, lambda buffer: buffer.command((b"SET", argument))) == [[b"SET", expected]]


@pytest.mark.parametrize("wrong", [None, True, [b"x"], {}, object(), 1j])
def test_other_arguments_are_refused_and_leave_the_buffer_alone(fast, wrong):
    with pytest.raises(TypeError, match="bytes, str, int or float"):
        fast.frames.pack_command([b"SET", wrong])
    buffer = fast.frames.FrameBuffer()
    buffer.command([b"PING"])
    with pytest.raises(TypeError, match="bytes, str, int or float"):
        buffer.command([b"SET", b"key", wrong])
    with pytest.raises(UnicodeEncodeError):
        buffer.command([b"SET", b"key", "\ud800"])
    assert buffer.commands == 1
    assert commands_in(buffer.take()) == [[b"PING"]]


def test_an_empty_command_is_refused(fast):
    with pytest.raises(ValueError, match="at least its name"):
        fast.frames.pack_command([])


arguments = st.lists(st.one_of(st.binary(), st.text(), st.integers(), st.floats()), min_size=1, max_size=20)


@given(commands=st.lists(arguments, max_size=8))
@settings(derandomize=True, deadline=None, database=None, max_examples=100)
def test_any_commands_parse_back(twins, commands):
    expected = [
        [part if isinstance(part, bytes) else (part if isinstance(part, str) else repr(part)).encode() for part in row]
        for row in commands
    ]
    for fast in twins:
        assert [commands_in(fast.frames.pack_command(row)) for row in commands] == [[row] for row in expected]
        assert collected(fast, lambda buffer: [buffer.command(row) for row in commands]) == expected


jobs = st.tuples(
    st.one_of(st.text(), st.text(min_size=30, max_size=300)),
    st.one_of(st.binary(), st.binary(min_size=250, max_size=300)),
    st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1)),
    st.one_of(st.just(b""), st.binary(max_size=300)),
    st.sampled_from([(None, None), (3, None), (None, ("fixed", 250, None, None, None))]),
)


@given(job=jobs, producer_id=st.sampled_from([None, PRODUCER]))
@settings(derandomize=True, deadline=None, database=None, max_examples=200)
def test_a_job_is_one_xadd(twins, job, producer_id):
    job_id, payload, created_at_ms, name, override = job
    for fast in twins:
        retry = fast.envelope.encode_retry(*override)
        expected = [b"XADD", STREAM]
        if producer_id is not None:
            expected += [b"IDMP", producer_id, job_id.encode()]
        expected += [b"*", b"d", fast.envelope.encode_envelope(job_id, payload, created_at_ms, 0, retry)]
        if name:
            expected += [b"n", name]
        head = fast.frames.JobHead(STREAM, producer_id)
        arguments = (head, job_id, payload, created_at_ms, name, retry)
        assert commands_in(fast.frames.frame_job(*arguments)) == [expected]
        buffer = fast.frames.FrameBuffer()
        buffer.job(*arguments)
        buffer.job(*arguments)
        assert commands_in(buffer.take()) == [expected] * 2


def test_a_head_shows_what_it_is_for(fast):
    head = fast.frames.JobHead(STREAM, PRODUCER)
    assert (head.stream_key, head.producer_id) == (STREAM, PRODUCER)
    assert fast.frames.JobHead(STREAM).producer_id is None


@pytest.mark.parametrize(
    ("job_id", "created_at_ms", "error"),
    [("j", -1, EnvelopeError), ("j", 2**64, EnvelopeError), ("j", 1.5, TypeError), ("\ud800", NOW, UnicodeEncodeError)],
)
def test_an_impossible_job_leaves_the_buffer_alone(fast, job_id, created_at_ms, error):
    head = fast.frames.JobHead(STREAM, PRODUCER)
    buffer = fast.frames.FrameBuffer()
    buffer.job(head, "first", b"\x01", NOW, b"w", b"")
    before = buffer.size
    for append in (buffer.job, fast.frames.frame_job):
        with pytest.raises(error):
            append(head, job_id, b"\x01", created_at_ms, b"w", b"")
    assert (buffer.size, buffer.commands) == (before, 1)


@pytest.mark.parametrize(("name", "named"), [(b"", []), ("発送".encode(), [b"n", "発送".encode()])])
def test_events(fast, name, named):
    head = fast.frames.event_head(EVENTS, 100_000)
    start = [b"XADD", EVENTS, b"MAXLEN", b"~", b"100000", b"*", b"e"]
    job = [b"id", b"j-1", b"ts", b"1795489905760", *named, b"attempt", b"12"]

    def append(buffer):
        buffer.active(head, "j-1", NOW, name, 12)
        buffer.completed(head, "j-1", NOW, name, 12, 2707)
        buffer.completed(head, "j-1", NOW, name, 12, 2707, '{"größe":1}')
        buffer.completed(head, "j" * 5000, 0, name, 0, 2**64 - 1)

    active, completed, with_value, extreme = collected(fast, append)
    assert active == [*start, b"active", *job]
    assert completed == [*start, b"completed", *job, b"duration_us", b"2707"]
    assert with_value == [*completed, b"returnvalue", '{"größe":1}'.encode()]
    assert extreme[extreme.index(b"id") + 1] == b"j" * 5000
    assert extreme[-1] == b"18446744073709551615"


def test_impossible_events_leave_the_buffer_alone(fast):
    head = fast.frames.event_head(EVENTS, 100_000)
    buffer = fast.frames.FrameBuffer()
    with pytest.raises(EnvelopeError):
        buffer.active(head, "j", -1, b"", 1)
    with pytest.raises(EnvelopeError):
        buffer.completed(head, "j", NOW, b"", 1, -1)
    with pytest.raises(TypeError):
        buffer.completed(head, "j", NOW, b"", 1, None)
    with pytest.raises(UnicodeEncodeError):
        buffer.completed(head, "j", NOW, b"", 1, 1, "\ud800")
    assert (buffer.size, buffer.commands, buffer.take()) == (0, 0, b"")


@pytest.mark.parametrize("count", [1, 9, 10, 1000])
def test_acks_are_one_command(fast, count):
    ids = [b"%d-0" % number for number in range(count)]
    for sequence in (ids, tuple(ids)):
        assert collected(fast, lambda buffer, sequence=sequence: buffer.acks(STREAM, b"default", sequence)) == [
            [b"XACKDEL", STREAM, b"default", b"IDS", b"%d" % count, *ids]
        ]


def test_acks_of_nothing_are_refused(fast):
    buffer = fast.frames.FrameBuffer()
    with pytest.raises(ValueError, match="at least one"):
        buffer.acks(STREAM, b"default", [])
    assert buffer.size == 0


def test_raw_counts_as_it_is_told(fast):
    buffer = fast.frames.FrameBuffer()
    ping = fast.frames.pack_command([b"PING"])
    buffer.raw(ping)
    buffer.raw(ping * 3, 3)
    buffer.raw(b"", 0)
    assert buffer.commands == 4
    assert buffer.take() == ping * 4


def test_take_empties_and_the_buffer_lives_on(fast):
    buffer = fast.frames.FrameBuffer()
    assert not buffer
    for size in (1, 100_000, 10_000_000, 1):
        buffer.command([b"ECHO", b"x" * size])
        assert buffer
        assert commands_in(buffer.take()) == [[b"ECHO", b"x" * size]]
        assert (buffer.size, buffer.commands, len(buffer), buffer.take()) == (0, 0, 0, b"")


def test_what_was_taken_does_not_change(fast):
    buffer = fast.frames.FrameBuffer()
    buffer.command([b"ONE"])
    taken = buffer.take()
    buffer.command([b"TWO"])
    assert commands_in(taken) == [[b"ONE"]]


def test_borrowed_objects_are_given_back(fast):
    job_id, payload, name = "j" * 40, b"p" * 40, b"n" * 40
    head = fast.frames.JobHead(STREAM, PRODUCER)
    counts = [sys.getrefcount(value) for value in (job_id, payload, name, head)]
    buffer = fast.frames.FrameBuffer()
    for _ in range(100):
        buffer.job(head, job_id, payload, NOW, name, b"")
        fast.frames.frame_job(head, job_id, payload, NOW, name, b"")
        buffer.command([job_id, payload, name])
        buffer.take()
    assert [sys.getrefcount(value) for value in (job_id, payload, name, head)] == counts
