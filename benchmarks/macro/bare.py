"""The floor: a blocking socket, hiredis, and the same commands that the library sends.

Nothing here may decide, check or convert anything that the measured commands do not need: whatever a floor does
beyond them flatters the library.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import hiredis

from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Script, load_script

__all__ = [
    "EVENTS_LENGTH",
    "READ_COUNT",
    "ROWS_PER_SCRIPT",
    "BareClient",
    "Consumption",
    "event_frames",
    "pack",
    "prepare_script",
    "read_frame",
    "with_id",
]

READ_COUNT = 256
LEASE_MS = 30_000
ROWS_PER_SCRIPT = 64
RESULT_TTL_S = 3600
EVENTS_LENGTH = 100_000
NEWEST = ServerProfile("redis", "", has_xackdel=True, has_claim=True, has_idmp=True)
"""The server that is measured; the floors know no other."""


def pack(*arguments: bytes | int) -> bytes:
    """One command as RESP."""
    parts = [argument if isinstance(argument, bytes) else b"%d" % argument for argument in arguments]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


class BareClient:
    """A blocking connection without any of the care that a library takes."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._buffer = bytearray(256 * 1024)

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self, replies: int) -> list[Any]:
        """The next ``replies`` answers; an error among them is raised."""
        receive, reader, buffer = self._socket.recv_into, self._reader, self._buffer
        feed, gets = reader.feed, reader.gets
        received: list[Any] = []
        while True:
            while (reply := gets()) is not False:
                if isinstance(reply, hiredis.ReplyError):
                    raise reply
                received.append(reply)
                if len(received) == replies:
                    return received
            feed(buffer, 0, receive(buffer))

    def exchange(self, request: bytes, replies: int = 1) -> list[Any]:
        self.send(request)
        return self.receive(replies)

    def command(self, *arguments: bytes | int) -> Any:
        return self.exchange(pack(*arguments))[0]

    def close(self) -> None:
        self._socket.close()


class Consumption:
    """Reads a backlog and acknowledges it: the acks of one batch travel with the next read, in one write."""

    def __init__(self, client: BareClient, tag: bytes, *, events: bool, results: bool = False) -> None:
        self._client = client
        self._tag = tag
        self._stream = tag + b"stream"
        self.read = read_frame(self._stream, READ_COUNT)
        self._events: tuple[bytes, bytes, bytes] | None = None
        if events:
            key, run = tag + b"events", (b"n", b"welcome", b"attempt", 1)
            shown = (b"returnvalue", b"1") if results else ()
            before, between = event_frames(key, b"active", *run)
            begin, after = event_frames(key, b"completed", *run, b"duration_us", 123, *shown)
            self._events = before, between + begin, after
        self._complete = prepare_script(client, "complete_jobs") if results else None

    def run(self, jobs: int, ahead: int = 1) -> list[bytes]:
        """Consumes ``jobs`` jobs with ``ahead`` reads under way; returns their ids.

        With one read the server is idle while the client handles a batch; with two it never is.
        """
        client = self._client
        ids: list[bytes] = []
        owed: deque[tuple[int, bool]] = deque()
        """What the server still owes for each write: answers to acks and events, and perhaps to one read."""
        asked = 0
        while asked < jobs and len(owed) < ahead:
            client.send(self.read)
            owed.append((0, True))
            asked += READ_COUNT
        while owed:
            settled, has_read = owed.popleft()
            replies = client.receive(settled + has_read)
            if not has_read:
                continue
            entries = replies[-1][0][1]
            # An envelope begins with an array header and a text header of one byte each; the job id has 26 bytes.
            batch = [entry[1][1][2:28] for entry in entries]
            ids += batch
            request, expected = self.acknowledge([entry[0] for entry in entries], batch)
            reads_on = asked < jobs
            client.send(request + self.read if reads_on else request)
            owed.append((expected, reads_on))
            asked += READ_COUNT
        return ids

    def acknowledge(self, entry_ids: list[bytes], job_ids: list[bytes]) -> tuple[bytes, int]:
        """The write that ends these jobs, and how many replies it brings."""
        if self._complete is None:
            acks = [pack(b"XACKDEL", self._stream, b"default", b"IDS", len(entry_ids), *entry_ids)]
        else:
            acks = list(self._complete_all(self._complete, entry_ids, job_ids))
        if self._events is None:
            return b"".join(acks), len(acks)
        before, between, after = self._events
        parts = [part for job_id in job_ids for part in (before, job_id, between, job_id, after)]
        return b"".join([*parts, *acks]), len(acks) + 2 * len(job_ids)

    def _complete_all(self, script: Script, entry_ids: list[bytes], job_ids: list[bytes]) -> Iterator[bytes]:
        for first in range(0, len(entry_ids), ROWS_PER_SCRIPT):
            ids, jobs = entry_ids[first : first + ROWS_PER_SCRIPT], job_ids[first : first + ROWS_PER_SCRIPT]
            keys = [self._stream, *(self._tag + b"result:" + job_id for job_id in jobs)]
            stored = [argument for entry_id in ids for argument in (entry_id, b"\x01")]
            yield script.evalsha(keys, [b"default", b"", RESULT_TTL_S, *stored])


def read_frame(stream: bytes, count: int) -> bytes:
    """The read of up to ``count`` jobs."""
    return pack(
        *(b"XREADGROUP", b"GROUP", b"default", b"bare", b"COUNT", count, b"BLOCK", 5000),
        *(b"CLAIM", LEASE_MS, b"STREAMS", stream, b">"),
    )


def prepare_script(client: BareClient, name: str) -> Script:
    """One of the library's scripts, known to the server."""
    script = load_script(name, NEWEST)
    client.command(b"SCRIPT", b"LOAD", script.text)
    return script


def event_frames(key: bytes, kind: bytes, *fields: bytes | int) -> tuple[bytes, bytes]:
    """The XADD of an event, cut where the job's id goes; what differs otherwise has the same length."""
    marker = b"#" * 26
    start = (b"XADD", key, b"MAXLEN", b"~", EVENTS_LENGTH, b"*", b"e", kind)
    before, after = pack(*start, b"id", marker, b"ts", 1_700_000_000_000, *fields).split(marker)
    return before, after


def with_id(frame: tuple[bytes, bytes], job_ids: Iterable[bytes]) -> Iterator[bytes]:
    """The event of each job."""
    before, after = frame
    return (b"".join((before, job_id, after)) for job_id in job_ids)
