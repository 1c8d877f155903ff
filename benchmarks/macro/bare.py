"""The floor: a blocking socket, hiredis, and the same commands that the library sends.

Nothing here may decide, check or convert anything that the measured commands do not need: whatever a floor does
beyond them flatters the library.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

import hiredis

__all__ = ["BareClient", "Consumption", "pack"]

READ_COUNT = 256
LEASE_MS = 30_000


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

    def __init__(self, client: BareClient, tag: bytes, *, events: bool) -> None:
        self._client = client
        self._events = events
        self._stream = tag + b"stream"
        self.read = pack(
            *(b"XREADGROUP", b"GROUP", b"default", b"bare", b"COUNT", READ_COUNT, b"BLOCK", 5000),
            *(b"CLAIM", LEASE_MS, b"STREAMS", self._stream, b">"),
        )
        self._event_parts = _event_parts(tag + b"events")

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
        ack = pack(b"XACKDEL", self._stream, b"default", b"IDS", len(entry_ids), *entry_ids)
        if not self._events:
            return ack, 1
        before, between, after = self._event_parts
        parts = [part for job_id in job_ids for part in (before, job_id, between, job_id, after)]
        return b"".join([*parts, ack]), 1 + 2 * len(job_ids)


def _event_parts(key: bytes) -> tuple[bytes, bytes, bytes]:
    """The two event entries of a job, cut where its id goes; what differs otherwise has the same length."""
    start = (b"XADD", key, b"MAXLEN", b"~", 100_000, b"*", b"e")
    marker = b"#" * 26
    at = (b"ts", 1_700_000_000_000, b"n", b"welcome", b"attempt", 1)
    active = pack(*start, b"active", b"id", marker, *at)
    completed = pack(*start, b"completed", b"id", marker, *at, b"duration_us", 123)
    before, between, after = (active + completed).split(marker)
    return before, between, after
