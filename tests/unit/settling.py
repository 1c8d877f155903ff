"""A worker's settlement, and a server that does what its commands say to the entries that are pending there."""

from typing import Any

from chasquimq._core.call import Call
from chasquimq._core.keys import GROUP, QueueKeys
from chasquimq._core.leases import LeaseBook
from chasquimq._core.outcome import DeadLetter, Retry
from chasquimq._core.profile import ServerProfile
from chasquimq._core.settlement import Failure, Settlement, SettlementSettings
from tests.unit.entries import entry
from tests.unit.resp import NEWEST, commands, error, script_of, scripted

KEYS = QueueKeys("q")
LEASE = 30_000
NOW = 1_000.0
AT = 1_795_489_845_000
RETRY = Retry(250, b"member", 2)
DEAD = DeadLetter("unrecoverable", "ValueError: boom", 1)
SCRIPTS = ["ack_owned", "complete_jobs", "retry_jobs", "dead_letter"]
# Arguments before the rows, and arguments per row.
SHAPES = {"ack_owned": (2, 1), "complete_jobs": (3, 2), "retry_jobs": (3, 6), "dead_letter": (4, 7)}


class SettlingServer:
    """Only what the settlement needs: pending entries by id, and a list of what became of each."""

    def __init__(self, profile: ServerProfile, pending: list[bytes]) -> None:
        self.profile = profile
        self.pending = set(pending)
        self.ends: list[tuple[str, bytes]] = []
        self.events: list[list[bytes]] = []
        self.refuses: set[str] = set()
        """Kinds of commands that are answered with an error."""
        self.unstorable: set[bytes] = set()
        """Entries whose result finds no room."""

    def run(self, calls: list[Call[Any]]) -> list[list[Any]]:
        """Executes the requests; the answers, one list per Call."""
        return [[self._answer(command) for command in commands(call.request)] for call in calls]

    def _answer(self, command: list[bytes]) -> Any:
        kind = script_of(command, self.profile, SCRIPTS)
        if kind == "XADD":
            return self._event(command)
        if kind in self.refuses:
            return error("OOM command not allowed when used memory > 'maxmemory'.")
        if kind == "XACKDEL":
            assert self.profile.has_xackdel
            assert len(command) == 5 + int(command[4])
            return [self._end("acked", entry_id, missing=-1) for entry_id in command[5:]]
        _, arguments = scripted(command, kind, self.profile)
        start, width = SHAPES[kind]
        assert (len(arguments) - start) % width == 0
        states = [self._end(kind, entry_id) for entry_id in arguments[start::width]]
        if kind == "complete_jobs":
            rows = zip(states, arguments[start::width], strict=True)
            return [2 if state and entry_id in self.unstorable else state for state, entry_id in rows]
        return states

    def _event(self, command: list[bytes]) -> Any:
        if "events" in self.refuses:
            return error("OOM command not allowed when used memory > 'maxmemory'.")
        self.events.append(command)
        return b"1-1"

    def _end(self, kind: str, entry_id: bytes, *, missing: int = 0) -> int:
        if entry_id not in self.pending:
            return missing
        self.pending.discard(entry_id)
        self.ends.append((kind, entry_id))
        return 1


def book_answers(calls: list[Call[Any]], answers: list[list[Any]]) -> None:
    """What a frontend does with the answers."""
    for call, replies in zip(calls, answers, strict=True):
        assert len(replies) == call.replies
        call.parse(replies)


class Worker:
    """A settlement with its book, and the entries that are in its hands."""

    def __init__(self, profile=NEWEST, *, events=True, numbers=range(1)):
        self.profile = profile
        self.book = LeaseBook(LEASE)
        settings = SettlementSettings(group=GROUP, consumer=b"c-1", events=events)
        self.settlement = Settlement(KEYS, settings, self.book)
        self.entries = [entry(number) for number in numbers]
        for each in self.entries:
            self.hold(each)

    def hold(self, each):
        each.lease_until = self.book.lease_from(NOW)
        self.book.held[each.entry_id] = each

    def start(self, each):
        if self.settlement.starts is not None:
            self.settlement.starts.append(each)

    def complete(self, each, result=None):
        each.started_on, each.finished_on, each.duration_us, each.result = AT, AT + 3, 2_707, result
        self.start(each)
        self.settlement.completions.append(each)

    def fail(self, each, end, reason="boom"):
        each.started_on, each.finished_on, each.duration_us = AT, AT + 3, 3_545
        if reason is not None:
            self.start(each)
        self.settlement.failed(Failure(each, end, reason))

    def end(self, each, kind):
        if kind == "acked":
            self.complete(each)
        elif kind == "stored":
            self.complete(each, b"\xc3")
        else:
            self.fail(each, RETRY if kind == "retried" else DEAD)

    def write(self, server):
        """One batch from taking to booking; returns it."""
        batch = self.settlement.take()
        calls = self.settlement.calls(batch, self.profile, NOW)
        book_answers(calls, server.run(calls))
        self.settlement.booked(batch)
        return batch

    def server(self):
        return SettlingServer(self.profile, [each.entry_id for each in self.entries])

    def calls(self, now=NOW):
        return self.settlement.calls(self.settlement.take(), self.profile, now)

    def kinds(self, calls):
        return [script_of(commands(call.request)[0], self.profile, SCRIPTS) for call in calls]
