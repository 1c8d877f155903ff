"""One Redis core: an event loop that serves whoever has sent something, and one stream with its blocked readers.

A turn of the loop takes all requests that have arrived, runs them one after the other, and lets the answers go at its
end. An entry that somebody waits for goes to him within the command that adds it.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from benchmarks.scale.commands import CommandCosts
from benchmarks.scale.simulation.timeline import Timeline

__all__ = ["Core", "Group", "Reader", "Request", "Sender"]

COLD_AFTER = 150.0
"""For how long the loop sleeps until it is cold."""
Group = tuple[float, int]
"""Jobs that were added together: when their producer sent them first, and how many they are."""


class Sender(Protocol):
    """Who sends requests."""

    def answered(self, time: float, request: Request) -> None:
        """The answer to a request that is no read has arrived."""

    def lost(self, time: float, request: Request) -> None:
        """The connection broke, or could not be made."""


class Reader(Sender, Protocol):
    def received(self, time: float, groups: list[Group]) -> None:
        """Entries have arrived."""


class Request:
    """A write to the server: rows that are added, starts and ends of jobs, or a read of up to ``count`` entries."""

    __slots__ = ("count", "ends", "rows", "sender", "sent_at", "starts")

    def __init__(
        self, sender: Sender, sent_at: float, *, rows: int = 0, starts: int = 0, ends: int = 0, count: int = 0
    ) -> None:
        self.sender = sender
        self.sent_at = sent_at
        self.rows = rows
        self.starts = starts
        self.ends = ends
        self.count = count


class Core:
    """Serves requests. ``way`` is how far it is to everybody; ``away`` when it is not there."""

    def __init__(
        self, timeline: Timeline, costs: CommandCosts, *, way: float, away: tuple[float, float] | None = None
    ) -> None:
        self._timeline = timeline
        self._costs = costs
        self._way = way
        self._away = away or (float("inf"), float("inf"))
        self._inbox: list[Request] = []
        self._in_turn = False
        self._idle_since = 0.0
        self._stream: deque[Group] = deque()
        self._blocked: deque[tuple[Reader, int]] = deque()
        self._leaving: list[tuple[Reader, list[Group]] | Request] = []
        """Answers to what the running turn has done."""
        self.waiting = 0
        """Entries that nobody has read."""
        self.busy = 0.0
        self.reads = self.read = self.writes = self.ended = 0
        """Reads that brought something and what they brought; writes with ends, and how many."""
        if away is not None:
            timeline.at(away[0], self._go_away)

    def is_away(self, time: float) -> bool:
        return self._away[0] <= time < self._away[1]

    def send(self, time: float, request: Request) -> None:
        """A client sends this at that time."""
        self._timeline.at(time + self._way, self._arrive, request)

    def _arrive(self, time: float, request: Request) -> None:
        if self.is_away(time):
            self._timeline.at(time + self._way, request.sender.lost, request)
            return
        self._inbox.append(request)
        if not self._in_turn:
            self._turn(time)

    def _turn(self, time: float) -> None:
        if not self._inbox or self.is_away(time):
            self._in_turn = False
            self._idle_since = time
            return
        spent = self._costs.turn
        if not self._in_turn and time - self._idle_since > COLD_AFTER:
            spent += self._costs.cold
        self._in_turn = True
        requests, self._inbox = self._inbox, []
        for request in requests:
            spent += self._run(request)
        self.busy += spent
        done = time + spent
        for leaving in self._leaving:
            if isinstance(leaving, Request):
                self._timeline.at(done + self._way, leaving.sender.answered, leaving)
            else:
                self._timeline.at(done + self._way, leaving[0].received, leaving[1])
        self._leaving = []
        self._timeline.at(done, self._turn)

    def _run(self, request: Request) -> float:
        """Does what a request asks for; returns what it costs."""
        costs = self._costs
        if request.count:
            return self._read(request)
        self._leaving.append(request)
        if request.rows:
            return costs.add + costs.row * request.rows + self._add(request)
        if request.ends:
            self.writes += 1
            self.ended += request.ends
        return costs.write + costs.start * request.starts + costs.end * request.ends

    def _add(self, request: Request) -> float:
        rows, spent = request.rows, 0.0
        while rows and self._blocked:
            reader, _ = self._blocked.popleft()
            spent += self._costs.wake + self._hand_out(reader, [(request.sent_at, 1)], 1)
            rows -= 1
        if rows:
            self._stream.append((request.sent_at, rows))
            self.waiting += rows
        return spent

    def _read(self, request: Request) -> float:
        reader: Reader = request.sender  # type: ignore[assignment]  # who asks for entries can receive them
        if not self.waiting:
            self._blocked.append((reader, request.count))
            return self._costs.read
        left, groups = request.count, []
        while left and self._stream:
            sent_at, rows = self._stream.popleft()
            taken = min(rows, left)
            groups.append((sent_at, taken))
            left -= taken
            if taken < rows:
                self._stream.appendleft((sent_at, rows - taken))
        taken = request.count - left
        self.waiting -= taken
        return self._costs.read + self._hand_out(reader, groups, taken)

    def _hand_out(self, reader: Reader, groups: list[Group], jobs: int) -> float:
        self._leaving.append((reader, groups))
        self.reads += 1
        self.read += jobs
        return self._costs.entry * jobs

    def _go_away(self, time: float) -> None:
        """The connections break. What was being done is done; entries stay (an append-only file, a replica)."""
        for request in self._inbox:
            self._timeline.at(time, request.sender.lost, request)
        for reader, count in self._blocked:
            self._timeline.at(time, reader.lost, Request(reader, time, count=count))
        self._inbox = []
        self._blocked.clear()
