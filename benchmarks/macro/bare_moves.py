"""The floors of the scenarios in which jobs move about: promotion of delayed jobs, and failing and being retried.

A blocking socket that sends the commands and scripts that the library sends, and decides nothing. The rules of
``bare`` hold here too.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

from benchmarks.macro.bare import (
    EVENTS_LENGTH,
    READ_COUNT,
    ROWS_PER_SCRIPT,
    BareClient,
    event_frames,
    pack,
    prepare_script,
    with_id,
)
from benchmarks.macro.workload import NAME, payload
from chasquimq._fast import encode_envelope, encode_member, encode_payload, with_attempt

__all__ = ["Promotion", "Retrying"]

PROMOTED_AT_ONCE = 256
_PIPELINE = 500
_PAUSE_S = 0.0003


class Promotion:
    """Moves due jobs into the stream: asks the script, sleeps until the time that it names."""

    def __init__(self, client: BareClient, tag: bytes) -> None:
        self._client = client
        self._delayed = tag + b"delayed"
        keys = [self._delayed, tag + b"stream", tag + b"dlq", tag + b"promoter:lock", tag + b"wake"]
        script = prepare_script(client, "promote_due")
        self.request = script.evalsha(keys, [b"bare", 5, PROMOTED_AT_ONCE, 100_000, 0])

    def delay(self, due_ms: Sequence[int]) -> None:
        """Adds one job per due time; its id is its number."""
        frames = [
            pack(b"ZADD", self._delayed, due, encode_member(NAME.encode(), _envelope(number)))
            for number, due in enumerate(due_ms)
        ]
        for first in range(0, len(frames), _PIPELINE):
            part = frames[first : first + _PIPELINE]
            self._client.exchange(b"".join(part), len(part))

    def run_until_empty(self) -> None:
        while True:
            _, now_ms, next_due_ms, _, *promoted = self._client.exchange(self.request)[0]
            if next_due_ms < 0:
                return
            if len(promoted) < PROMOTED_AT_ONCE:
                time.sleep(max(0, next_due_ms - now_ms) / 1000)


def _envelope(number: int) -> bytes:
    return encode_envelope(f"{number:026d}", encode_payload(payload(number)), 1_700_000_000_000, 0, b"")


class Retrying:
    """Empties a backlog in which some jobs, known by their name, fail the first time and wait for 1 ms."""

    def __init__(self, client: BareClient, tag: bytes, name: bytes, fragile: bytes) -> None:
        self._client = client
        self._tag = tag
        self._fragile = fragile
        self._stream = tag + b"stream"
        self._retry = prepare_script(client, "retry_jobs")
        self._retry_keys = [self._stream, tag + b"delayed", tag + b"wake", tag + b"events"]
        self._promote = Promotion(client, tag).request
        self._read = pack(
            *(b"XREADGROUP", b"GROUP", b"default", b"bare", b"COUNT", READ_COUNT),
            *(b"CLAIM", 30_000, b"STREAMS", self._stream, b">"),
        )
        events = tag + b"events"
        run = (b"n", name, b"attempt", 1)
        self._active = event_frames(events, b"active", *run)
        self._completed = event_frames(events, b"completed", *run, b"duration_us", 123)
        reason = (b"reason", b"RuntimeError: the remote service is away")
        self._failed = event_frames(events, b"failed", *run, *reason, b"duration_us", 123)
        self._waiting = event_frames(events, b"waiting")

    def run(self, jobs: int) -> list[bytes]:
        """Returns the ids of the jobs that were completed."""
        client, seen = self._client, set[bytes]()
        completed: list[bytes] = []
        settling: list[bytes] = []
        expected = 0
        while len(completed) < jobs:
            replies = client.exchange(b"".join([*settling, self._promote, self._read]), expected + 2)
            entries = replies[-1][0][1] if replies[-1] else []
            settling = list(self._follow_up(replies[-2][4:]))
            ends, fails = [], []
            for entry_id, fields in ((entry[0], entry[1]) for entry in entries):
                envelope = fields[1]
                job_id = envelope[2:28]
                if fields[3] == self._fragile and job_id not in seen:
                    seen.add(job_id)
                    fails.append((entry_id, job_id, envelope))
                else:
                    ends.append((entry_id, job_id))
                    completed.append(job_id)
            settling += self._settle(ends, fails)
            expected = len(settling)
            if not entries:
                time.sleep(_PAUSE_S)
        client.exchange(b"".join(settling), expected)
        return completed

    def _follow_up(self, promoted: Sequence[bytes]) -> Iterator[bytes]:
        """What is written after a promotion: one command per item."""
        if promoted:
            yield pack(b"DEL", *(self._tag + b"didx:" + job_id for job_id in promoted))
            yield from with_id(self._waiting, promoted)

    def _settle(
        self, ends: Sequence[tuple[bytes, bytes]], fails: Sequence[tuple[bytes, bytes, bytes]]
    ) -> Iterator[bytes]:
        ended = [job_id for _, job_id in ends]
        failed = [job_id for _, job_id, _ in fails]
        yield from with_id(self._active, itertools.chain(ended, failed))
        yield from with_id(self._completed, ended)
        yield from with_id(self._failed, failed)
        if ends:
            yield pack(b"XACKDEL", self._stream, b"default", b"IDS", len(ends), *(entry_id for entry_id, _ in ends))
        for first in range(0, len(fails), ROWS_PER_SCRIPT):
            arguments: list[bytes | str | int] = [b"default", b"", EVENTS_LENGTH]
            for entry_id, job_id, envelope in fails[first : first + ROWS_PER_SCRIPT]:
                member = encode_member(self._fragile, with_attempt(envelope, 1))
                arguments += [entry_id, 1, member, job_id, self._fragile, 2]
            yield self._retry.evalsha(self._retry_keys, arguments)
