"""Reading: how many entries to ask for, and in which words; and what a worker's pace means for its writes.

A worker asks for what it can start now, plus a prefetch that is worth a few milliseconds of its measured pace:
nothing for slow handlers, hundreds for fast ones. It decides the words by the server's profile: where XREADGROUP
can take over idle entries (CLAIM) one command does both, elsewhere a script takes them over beside the read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chasquimq._core.call import Call, Reply, ReplyReader, single
from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import load_script
from chasquimq._fast import Entry, EntryReader, pack_command, parse_entries, parse_entry_list

__all__ = ["Intake", "Reading"]

PREFETCH_MS = 25
MAX_PREFETCH = 2048
MAX_COUNT = 512
"""Together enough for one batch that is read, one that runs and one that is acknowledged: then the server never waits
for the worker, nor the worker for the server."""
GATHERING_MS = 2.0
SLOWEST_GATHERING, FASTEST_GATHERING = 0.5, 16.0
"""Ends in a millisecond."""
CLAIM_INTERVAL_MS = 2_000
"""How often a worker looks for idle entries (and those that others handed back) where reads do not find them."""
_PACE_WINDOW_MS = 20


class Intake:
    """How many entries to read next. All times are monotonic milliseconds."""

    __slots__ = ("_concurrency", "_measured_at", "_measured_ends", "_pace")

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._pace = 0.0
        self._measured_at: float | None = None
        self._measured_ends = 0

    @property
    def prefetch(self) -> int:
        """Entries that may wait in the worker: what it finishes in a few milliseconds."""
        return min(MAX_PREFETCH, int(self._pace * PREFETCH_MS))

    @property
    def gathering_ms(self) -> float:
        """How long ends gather before they are written.

        Jobs that take a while end one by one, and a write costs the server (and the worker) several times as much as
        one more end in it: two milliseconds halve the writes. Slow workers would wait for nothing, and fast ones have
        hundreds in each write anyhow.
        """
        return GATHERING_MS if SLOWEST_GATHERING <= self._pace <= FASTEST_GATHERING else 0.0

    def wanted(self, held: int, ends: int, now_ms: float) -> int:
        """How many to ask for, given how many are held and how many have ended so far; 0 = wait."""
        self._measure(ends, now_ms)
        limit = self._concurrency + self.prefetch
        free = limit - held
        if free <= 0:
            return 0
        if held >= self._concurrency and free * 4 < limit:
            return 0  # the prefetch is refilled in a few large reads, not entry by entry
        return min(free, MAX_COUNT)

    def _measure(self, ends: int, now_ms: float) -> None:
        if self._measured_at is None:
            self._measured_at, self._measured_ends = now_ms, ends
            return
        elapsed = now_ms - self._measured_at
        if elapsed >= _PACE_WINDOW_MS:
            pace = (ends - self._measured_ends) / elapsed
            self._pace = (self._pace + pace) / 2
            self._measured_at, self._measured_ends = now_ms, ends


class Reading:
    """The read commands of one worker."""

    def __init__(
        self,
        keys: QueueKeys,
        group: bytes,
        consumer: bytes,
        *,
        lease_ms: int,
        block_ms: int,
        max_payload_bytes: int,
    ) -> None:
        self._keys = keys
        self._group = group
        self._consumer = consumer
        self._lease_ms = lease_ms
        self.block_ms = max(1, min(block_ms, lease_ms // 3))
        """A read may be answered long after it was sent, and a lease counts from the sending."""
        self._max_payload_bytes = max_payload_bytes
        self._claim_from = b"0-0"
        self._claim_interval_ms = min(lease_ms / 3, CLAIM_INTERVAL_MS)
        self._claim_at = float("-inf")

    def reader(self, reader: ReplyReader) -> ReplyReader:
        """What reads the replies on the connection of the read commands, which has ``reader`` for all the others."""
        return EntryReader(reader, self._keys.stream, self._max_payload_bytes)

    def is_claim_due(self, now_ms: float) -> bool:
        """Whether it is time to look for idle entries, where the read does not do that."""
        return now_ms >= self._claim_at

    def create_group(self, profile: ServerProfile) -> Call[int]:
        """Creates stream and group; a group that exists is fine."""
        script = load_script("create_group", profile)
        keys, arguments = [self._keys.stream], [self._group]
        return Call(
            "worker.create_group",
            script.evalsha(keys, arguments),
            single("worker.create_group", int),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )

    def read(self, count: int, profile: ServerProfile, *, block: bool = True) -> Call[list[Entry]]:
        """Reads up to ``count`` entries; waits for the first one when ``block``."""
        command: list[Any] = [b"XREADGROUP", b"GROUP", self._group, self._consumer, b"COUNT", count]
        if block:
            block_ms = self.block_ms if profile.has_claim else min(self.block_ms, int(self._claim_interval_ms))
            command += [b"BLOCK", block_ms]
        if profile.has_claim:
            command += [b"CLAIM", self._lease_ms]
        command += [b"STREAMS", self._keys.stream, b">"]
        return Call(
            "worker.read",
            pack_command(command),
            single("worker.read", self._entries),
            blocks_ms=self.block_ms if block else 0,
        )

    def claim(self, count: int, profile: ServerProfile, now_ms: float) -> Call[list[Entry]]:
        """Takes over idle entries, for servers whose read cannot."""
        self._claim_at = now_ms + self._claim_interval_ms
        script = load_script("claim_idle", profile)
        keys = [self._keys.stream]
        arguments: list[Any] = [self._group, self._consumer, self._lease_ms, count, self._claim_from]

        def convert(reply: Reply) -> list[Entry]:
            self._claim_from = reply[0]
            if self._claim_from != b"0-0":
                self._claim_at = now_ms  # the scan is not at its end: on with it
            return parse_entry_list(reply[1], self._max_payload_bytes)

        return Call(
            "worker.claim",
            script.evalsha(keys, arguments),
            single("worker.claim", convert),
            eval_form=lambda _: script.eval(keys, arguments),
        )

    @property
    def _entries(self) -> Callable[[Reply], list[Entry]]:
        limit = self._max_payload_bytes
        return lambda reply: parse_entries(reply, limit)
