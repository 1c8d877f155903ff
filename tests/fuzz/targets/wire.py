"""What a server sends, and what is sent to it."""

from __future__ import annotations

import itertools
import re
from typing import Any

import hiredis

from chasquimq._core.redirect import redirect_of
from chasquimq._net.opening import UNREADABLE
from chasquimq.errors import EnvelopeError
from tests.fuzz.source import Source
from tests.fuzz.twins import TWINS
from tests.fuzz.verdict import outcome, same

STREAM = b"{chasqui:q}:stream"
LIMIT = 200
_FIELDS = (
    *("entry_id", "job_id", "payload", "name", "created_at_ms", "attempt", "max_attempts", "backoff", "raw"),
    *("deliveries", "idle_ms", "fault", "detail"),
)
# A length that hiredis takes at its word: it makes a list of that length before the first item is there.
_GIANT_LIST = re.compile(rb"[*~>%|]\+?0*[0-9]{6,}")


def replies(data: bytes) -> None:
    """The reader of a worker gives what hiredis and ``parse_entries`` give, however the bytes are cut."""
    source = Source(data)
    cuts = [source.short() for _ in range(source.byte() % 6)]
    stream = source.rest()
    if _GIANT_LIST.search(stream):
        return
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    same([outcome(_read_all, twin, pieces, allowed=()) for twin in TWINS])


def _read_all(twin: Any, pieces: list[bytes]) -> list[Any]:
    """What comes of each piece: the replies that it completed, or the error at which reading ends."""
    reader = twin.replies.EntryReader(hiredis.Reader(), STREAM, LIMIT)
    steps: list[Any] = []
    for piece in pieces:
        given: list[Any] = []
        steps.append(given)
        try:
            reader.feed(piece, 0, len(piece))
            while (reply := reader.gets()) is not False:
                given.append(_shown_reply(twin, reply))
        except UNREADABLE as error:
            given.append(type(error).__name__)
            return steps
    return steps


def _shown_reply(twin: Any, reply: Any) -> Any:
    if isinstance(reply, hiredis.ReplyError):
        return repr(reply)
    try:
        return ("entries", [_shown(entry) for entry in twin.entries.parse_entries(reply, LIMIT)])
    except ValueError as error:
        return ("no entries", str(error), repr(reply))


def _shown(entry: Any) -> list[Any]:
    repr(entry)
    return [getattr(entry, name) for name in _FIELDS]


def entries(data: bytes) -> None:
    """Whatever a server calls entries: a list of them, or ValueError for what has not their shape."""
    if _GIANT_LIST.search(data):
        return
    reader = hiredis.Reader()
    reader.feed(data)
    try:
        reply = reader.gets()
    except UNREADABLE:
        return
    if reply is False or isinstance(reply, hiredis.ReplyError):
        return
    for function in ("parse_entries", "parse_entry_list"):
        same([outcome(_parsed, getattr(twin.entries, function), reply, allowed=(ValueError,)) for twin in TWINS])


def _parsed(parse: Any, reply: Any) -> list[list[Any]]:
    return [_shown(entry) for entry in parse(reply, LIMIT)]


def requests(data: bytes) -> None:
    """Commands as bytes: those that a server reads as what was meant, or nothing at all."""
    made = []
    for twin in TWINS:
        source = Source(data)
        frames, log = twin.frames.FrameBuffer(), []
        head = twin.frames.JobHead(source.binary(), source.choice([None, b"p", b""]))
        event = twin.frames.event_head(b"events", abs(source.whole()))
        for _ in range(16):
            if not source:
                break
            before = frames.size, frames.commands
            method, arguments = _step(twin, source, head, event)
            ended = outcome(getattr(frames, method), *arguments, allowed=(*_REFUSED, EnvelopeError))
            if ended[0] != "gave":
                assert (frames.size, frames.commands) == before, "a refused command was half written"
            # Which of several wrong arguments is named first is not promised.
            log.append(ended if ended[0] == "gave" else "refused")
        count, size = frames.commands, frames.size
        request = frames.take()
        assert len(request) == size
        made.append((log, count, request))
    same([("gave", each) for each in made])
    _, count, request = made[0]
    reader = hiredis.Reader()
    reader.feed(request)
    commands = [reader.gets() for _ in range(count)]
    assert all(type(command) is list and command for command in commands)
    assert all(type(argument) is bytes for command in commands for argument in command)
    assert reader.gets() is False
    assert not reader.has_data()


_REFUSED = (TypeError, ValueError, OverflowError)  # UnicodeEncodeError is a ValueError


def _step(twin: Any, source: Source, head: Any, event: bytes) -> tuple[str, tuple[Any, ...]]:
    kind = source.byte() % 5
    if kind == 0:
        retry = source.choice([b"", b"\xc0", b"\x92\x05\xc0"])
        return "job", (head, source.text(), source.binary(), source.whole(), source.binary(), retry)
    if kind == 1:
        return "active", (event, source.text(), source.whole(), source.binary(), source.whole())
    if kind == 2:
        return "completed", (event, source.text(), source.whole(), source.binary(), source.whole(), source.whole())
    if kind == 3:
        return "acks", (source.binary(), source.binary(), [source.binary() for _ in range(source.byte() % 4)])
    return "command", ([_argument(source) for _ in range(source.byte() % 5)],)


def _argument(source: Source) -> Any:
    kind = source.byte() % 8
    if kind == 0:
        return source.binary()
    if kind == 1:
        return source.text()
    if kind == 2:
        return source.whole()
    if kind == 3:
        return source.choice([0.0, -0.0, 1.5, 1e300, float("inf"), float("nan")])
    if kind == 4:
        return bytearray(source.binary())
    if kind == 5:
        return memoryview(source.binary())
    return source.choice([None, True, [], {}, object, b""])


def redirect(data: bytes) -> None:
    """An error reply tells where a command belongs, or nothing; a node that it names can be connected to."""
    found = redirect_of(hiredis.ReplyError(data.decode("utf-8", "replace")), is_script=True, may_repeat=True)
    if found is not None and found.node is not None:
        host, port = found.node
        assert isinstance(host, str)
        assert 0 <= port <= 65_535
