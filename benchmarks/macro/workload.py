"""What every side works on: the same jobs, and the same bytes where a side sends bytes.

The bytes are those that this library sends, so that a floor costs the server exactly as much. The functions that
make bytes run in the project's own environment only; the others also in those of the peers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

__all__ = ["CONCURRENCY", "FRAGILE", "NAME", "fill", "frames", "payload", "queue_tag"]

NAME = "welcome"
FRAGILE = "fragile"
"""The name of jobs that fail the first time, in scenarios where not all of them do."""
CONCURRENCY = 100
"""Handlers at the same time in one worker. Peers with threads take what their documentation recommends."""
_FILL_DEPTH = 500


def payload(number: int) -> dict[str, Any]:
    """The data of job ``number``."""
    return {"to": "ada@example.com", "n": number}


def queue_tag(queue: str) -> bytes:
    """The start of all keys of a queue (docs/wire-format.md, keys)."""
    return b"{chasqui:" + queue.encode() + b"}:"


def frames(
    queue: str, count: int, *, retry_safe: bool = False, retry: bytes = b"", fragile_every: int = 0
) -> Iterator[bytes]:
    """The XADDs of ``count`` jobs; ``retry_safe`` as ``add`` sends them, else as ``add_bulk`` does."""
    from chasquimq._fast import JobHead, encode_payload, frame_job, mint_ulid

    producer = b"00000000-0000-4000-8000-000000000000" if retry_safe else None
    head = JobHead(queue_tag(queue) + b"stream", producer)
    name, now = NAME.encode(), time.time_ns() // 1_000_000
    for number in range(count):
        named = FRAGILE.encode() if fragile_every and number % fragile_every == 0 else name
        yield frame_job(head, mint_ulid(), encode_payload(payload(number)), now, named, retry)


def fill(
    host: str,
    port: int,
    queue: str,
    count: int,
    *,
    retry: bytes = b"",
    fragile_every: int = 0,
    with_group: bool = True,
) -> None:
    """A backlog of ``count`` jobs, and the consumer group that reads it from the start."""
    from benchmarks.macro.bare import BareClient

    client = BareClient(host, port)
    if with_group:
        client.command(b"XGROUP", b"CREATE", queue_tag(queue) + b"stream", b"default", b"0", b"MKSTREAM")
    waiting: list[bytes] = []
    for frame in frames(queue, count, retry=retry, fragile_every=fragile_every):
        waiting.append(frame)
        if len(waiting) == _FILL_DEPTH:
            client.exchange(b"".join(waiting), len(waiting))
            waiting.clear()
    if waiting:
        client.exchange(b"".join(waiting), len(waiting))
    client.close()
