"""Settling: the ends of jobs, gathered and written in batches.

Consumers note what happened (``starts``, ``completions``, ``failed``); the acker takes everything that
has gathered, writes it in one go, and books the answers. While one batch is on its way the next one builds up, so
the batches are as large as the traffic makes them and an idle worker writes at once. A batch that failed is put
back whole: every command in it may be sent twice. Events come first in a batch and are the first thing to be
given up. This module decides and formats; it never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from chasquimq._core.call import Call, Reply, reply_error
from chasquimq._core.keys import QueueKeys
from chasquimq._core.leases import LeaseBook
from chasquimq._core.outcome import DeadLetter, Retry
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, load_script
from chasquimq._dataclass import dataclass
from chasquimq._fast import Entry, FrameBuffer, event_head, pack_command, sort_ends, strike
from chasquimq.errors import ServerReplyError

__all__ = ["Batch", "Settlement", "SettlementSettings"]

ROWS_PER_SCRIPT = 64
ACKS_PER_COMMAND = 256


@dataclass(frozen=True, slots=True)
class SettlementSettings:
    """Names and limits of what is written."""

    group: bytes
    consumer: bytes
    events: bool = True
    events_max_len: int = 100_000
    dlq_max_len: int = 100_000
    result_ttl_s: int = 3600


@dataclass(slots=True)
class Failure:
    """A failed run and what becomes of the job."""

    entry: Entry
    end: Retry | DeadLetter
    reason: str | None
    """Text for the ``failed`` event; None when the job was refused without a run."""


class Batch:
    """What one write takes along. Written out, which is quicker than a dataclass: there is one for every write."""

    __slots__ = ("again", "completed", "drained_ms", "failures", "lost", "refusals", "started", "unstored")

    def __init__(
        self, started: list[Entry], completed: list[Entry], failures: list[Failure], drained_ms: int | None = None
    ) -> None:
        self.started = started
        self.completed = completed
        self.failures = failures
        self.drained_ms = drained_ms
        self.lost: list[Entry] = []
        """Filled when the answers are booked: entries whose end was refused because they were not ours any more."""
        self.unstored: list[Entry] = []
        """Completed, but the server had no room for the result."""
        self.refusals: list[ServerReplyError | Exception] = []
        """Error replies; the entries concerned are still held and are settled again with the next batch."""
        self.again: list[Any] = []

    def entry_ids(self) -> list[bytes]:
        ids = [entry.entry_id for entry in self.completed]
        ids += [failure.entry.entry_id for failure in self.failures]
        return ids


class Settlement:
    """The ends of jobs of one worker."""

    def __init__(self, keys: QueueKeys, settings: SettlementSettings, book: LeaseBook) -> None:
        self._keys = keys
        self._settings = settings
        self._book = book
        self._events_head = event_head(keys.events, settings.events_max_len)
        self.starts: deque[Entry] | None = deque() if settings.events else None
        """Where starts are noted, if they are to be told."""
        self.completions: deque[Entry] = deque()
        """Where runs that ended well are noted."""
        self._failures: deque[Failure] = deque()
        self._drained_ms: int | None = None
        self._unsure: set[bytes] = set()
        """Entries of batches whose answers were lost: not to find them later means that they are settled."""

    # -- noting, by consumers; each is one atomic append -----------------------------------------------------------

    def failed(self, failure: Failure) -> None:
        self._failures.append(failure)

    def drained(self, at_ms: int) -> None:
        if self._settings.events:
            self._drained_ms = at_ms

    def leave_to_parent(self) -> None:
        """In a forked child: the parent writes what was noted."""
        self.completions.clear()
        self._failures.clear()
        self._drained_ms = None
        if self.starts is not None:
            self.starts.clear()

    @property
    def is_empty(self) -> bool:
        return not (self.completions or self._failures or self.starts or self._drained_ms)

    # -- writing, by the acker ---------------------------------------------------------------------------------------

    def take(self) -> Batch | None:
        """Everything that has gathered, or None."""
        if self.is_empty:
            return None
        drained, self._drained_ms = self._drained_ms, None
        completed, failures = _take_all(self.completions), _take_all(self._failures)
        # Starts are taken last: whatever ended has noted its start before, so no end is written without it.
        batch = Batch(_take_all(self.starts) if self.starts else [], completed, failures, drained)
        self._book.settling(batch.entry_ids())
        return batch

    def put_back(self, batch: Batch) -> None:
        """The batch could not be written: it goes to the front again."""
        # They stay noted as settling: not to find one of them means that its end was written after all.
        self._unsure.update(batch.entry_ids())
        if self.starts is not None:
            self.starts.extendleft(reversed(batch.started))
        self.completions.extendleft(reversed(batch.completed))
        self._failures.extendleft(reversed(batch.failures))
        if self._drained_ms is None:
            self._drained_ms = batch.drained_ms

    def calls(self, batch: Batch, profile: ServerProfile, now_ms: float) -> list[Call[Any]]:
        """The Calls of one write; running them books their answers in the batch and in the lease book."""
        calls: list[Call[Any]] = []
        if self._settings.events:
            events = self._events(batch)
            if events.commands:
                # Best effort: a full server refuses events and nothing else is concerned.
                commands = events.commands
                calls.append(Call("worker.events", events.take(), _ignore, commands, idempotent=True))
        certain_after = self._book.certain_after(now_ms)
        certain, doubtful, stored, stored_if_ours = sort_ends(batch.completed, certain_after)
        for part in _parts(certain, ACKS_PER_COMMAND):
            plain = profile.has_xackdel
            calls.append(self._plain_ack(batch, part) if plain else self._scripted_ack(batch, part, b"", profile))
        for part in _parts(doubtful, ACKS_PER_COMMAND):
            calls.append(self._scripted_ack(batch, part, self._settings.consumer, profile))
        for part in _parts(stored, ROWS_PER_SCRIPT):
            calls.append(self._complete(batch, part, b"", profile))
        for part in _parts(stored_if_ours, ROWS_PER_SCRIPT):
            calls.append(self._complete(batch, part, self._settings.consumer, profile))
        retries = [failure for failure in batch.failures if isinstance(failure.end, Retry)]
        dead = [failure for failure in batch.failures if isinstance(failure.end, DeadLetter)]
        for failures in _parts(retries, ROWS_PER_SCRIPT):
            calls.append(self._retry(batch, failures, certain_after, profile))
        for failures in _parts(dead, ROWS_PER_SCRIPT):
            calls.append(self._dead_letter(batch, failures, profile))
        return calls

    def booked(self, batch: Batch) -> None:
        """All answers are in. What was refused by an error reply is noted again for the next batch."""
        self._book.settled(batch.entry_ids())
        for row in batch.again:
            if isinstance(row, Failure):
                self._failures.append(row)
            else:
                self.completions.append(row)

    def _events(self, batch: Batch) -> FrameBuffer:
        buffer = FrameBuffer()
        head = self._events_head
        buffer.active_events(head, batch.started)
        buffer.completed_events(head, batch.completed)
        for failure in batch.failures:
            if failure.reason is not None:
                buffer.command(self._failed_event(failure, failure.reason))
        if batch.drained_ms is not None:
            buffer.command([*self._event_start("drained", "", batch.drained_ms)])
        return buffer

    def _event_start(self, kind: str, job_id: str, at_ms: int) -> list[Argument]:
        max_len = self._settings.events_max_len
        start: list[Argument] = [b"XADD", self._keys.events, b"MAXLEN", b"~", max_len, b"*"]
        return [*start, b"e", kind, b"id", job_id, b"ts", at_ms]

    def _failed_event(self, failure: Failure, reason: str) -> list[Argument]:
        entry = failure.entry
        name: list[Argument] = [b"n", entry.name] if entry.name else []
        return [
            *self._event_start("failed", entry.job_id, entry.finished_on),
            *name,
            b"attempt",
            entry.attempt + 1,
            b"reason",
            reason,
            b"duration_us",
            entry.duration_us,
        ]

    def _plain_ack(self, batch: Batch, entries: list[Entry]) -> Call[None]:
        settings = self._settings
        ids = [entry.entry_id for entry in entries]
        request = pack_command([b"XACKDEL", self._keys.stream, settings.group, b"IDS", len(ids), *ids])
        return Call("worker.ack", request, self._booking(batch, entries, batch.completed), idempotent=True)

    def _scripted_ack(self, batch: Batch, entries: list[Entry], asks_for: bytes, profile: ServerProfile) -> Call[None]:
        """``asks_for``: the consumer that must still have the entries; b"" where the leases are certain."""
        arguments: list[Argument] = [self._settings.group, asks_for, *(entry.entry_id for entry in entries)]
        return self._scripted("ack_owned", [self._keys.stream], arguments, batch, entries, profile)

    def _complete(self, batch: Batch, entries: list[Entry], asks_for: bytes, profile: ServerProfile) -> Call[None]:
        """``asks_for`` as above."""
        settings = self._settings
        keys = [self._keys.stream, *(self._keys.result(entry.job_id) for entry in entries)]
        arguments: list[Argument] = [settings.group, asks_for, settings.result_ttl_s]
        for entry in entries:
            assert entry.result is not None  # noqa: S101 - sorted by the caller
            arguments += [entry.entry_id, entry.result]
        return self._scripted("complete_jobs", keys, arguments, batch, entries, profile)

    def _retry(self, batch: Batch, failures: list[Failure], certain_after: float, profile: ServerProfile) -> Call[None]:
        settings, keys = self._settings, self._keys
        _, doubtful, *_ = sort_ends([failure.entry for failure in failures], certain_after)
        asks_for = settings.consumer if doubtful else b""
        arguments: list[Argument] = [settings.group, asks_for, self._events_length]
        for failure in failures:
            entry, end = failure.entry, failure.end
            assert isinstance(end, Retry)  # noqa: S101 - sorted by the caller
            arguments += [entry.entry_id, end.wait_ms, end.member, entry.job_id, entry.name, end.coming_run]
        into = [keys.stream, keys.delayed, keys.wake, keys.events]
        return self._scripted("retry_jobs", into, arguments, batch, [f.entry for f in failures], profile)

    def _dead_letter(self, batch: Batch, failures: list[Failure], profile: ServerProfile) -> Call[None]:
        settings, keys = self._settings, self._keys
        arguments: list[Argument] = [
            settings.group,
            settings.consumer,
            self._events_length,
            settings.dlq_max_len,
        ]
        for failure in failures:
            entry, end = failure.entry, failure.end
            assert isinstance(end, DeadLetter)  # noqa: S101 - sorted by the caller
            shown_id = entry.job_id if end.show_id else ""
            arguments += [
                entry.entry_id,
                entry.raw,
                entry.name,
                end.reason,
                end.detail,
                shown_id,
                end.failed_run,
            ]
        into = [keys.stream, keys.dlq, keys.events]
        return self._scripted("dead_letter", into, arguments, batch, [f.entry for f in failures], profile)

    @property
    def _events_length(self) -> Argument:
        return self._settings.events_max_len if self._settings.events else b""

    def _scripted(
        self,
        name: str,
        keys: list[bytes],
        arguments: list[Argument],
        batch: Batch,
        entries: list[Entry],
        profile: ServerProfile,
    ) -> Call[None]:
        script = load_script(name, profile)
        rows: Sequence[Any] = batch.completed if name in ("ack_owned", "complete_jobs") else batch.failures
        return Call(
            f"worker.{name}",
            script.evalsha(keys, arguments),
            self._booking(batch, entries, rows),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )

    def _booking(self, batch: Batch, entries: list[Entry], rows: Sequence[Any]) -> Callable[[list[Reply]], None]:
        """Books one reply: a list with a state per entry, or one error for all of them."""
        held, unsure = self._book.held, self._unsure

        def parse(replies: list[Reply]) -> None:
            states = replies[0]
            if isinstance(states, hiredis.ReplyError):
                error = reply_error("worker.settle", states)
                if isinstance(error, ServerReplyError) and error.code == "NOGROUP":
                    # The group is gone and with it every lease; what still stands in the stream comes again.
                    states = [0] * len(entries)
                else:
                    batch.refusals.append(error)
                    concerned = {entry.entry_id for entry in entries}
                    unsure.update(concerned)  # a script that was refused half-way has settled the first ones
                    batch.again += [row for row in rows if _entry_of(row).entry_id in concerned]
                    return
            odd = strike(held, entries, states)
            for entry, state in odd:
                if entry.entry_id not in unsure:
                    (batch.unstored if state == 2 else batch.lost).append(entry)
            if unsure:
                unsure.difference_update(entry.entry_id for entry in entries)

        return parse


def _entry_of(row: Any) -> Entry:
    entry: Entry = row.entry if isinstance(row, Failure) else row
    return entry


def _take_all(queue: deque[Any]) -> list[Any]:
    # popleft, not list() and clear(): consumers append meanwhile.
    return [queue.popleft() for _ in range(len(queue))]


def _parts(rows: list[Any], size: int) -> list[list[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _ignore(_replies: list[Reply]) -> None:
    return None
