"""Whether following the events stream is worth it for those who wait for results, and how fast it is read.

A stream that brings thousands of events a second costs more than polling a few keys; one in which results do not show
up tells nothing; one that cannot be read is in trouble. It is left alone for a while then, and results are polled.
Times are monotonic milliseconds; it never waits.
"""

from __future__ import annotations

__all__ = ["FollowingPolicy"]

WINDOW_MS = 1_000.0
MOST_EVENTS = 5_000
"""A second of this costs a hundredth of a core and half a megabyte."""
MOST_READS = 50
"""After so many reads within a second, events gather for ``GATHER_MS`` before they are read."""
GATHER_MS = 20.0
CROWDED_MS = 5_000.0
SILENT_LOOKS = 3
"""So many looks in a row that found results which the stream had not told of: who works here writes no events."""
SILENT_MS = 60_000.0
_FIRST_TROUBLE_MS = 1_000.0
_LONGEST_TROUBLE_MS = 60_000.0


class FollowingPolicy:
    """What a Queue has learnt about its events stream, from one wait to the next."""

    def __init__(self) -> None:
        self._rests_until_ms = 0.0
        self._reads_from_ms = 0.0
        self._window_from_ms = 0.0
        self._events = 0
        self._reads = 0
        self._silent_looks = 0
        self._failures = 0

    def is_worth_it(self, now_ms: float) -> bool:
        return now_ms >= self._rests_until_ms

    def reads_from_ms(self) -> float:
        """When the next read may begin."""
        return max(self._reads_from_ms, self._rests_until_ms)

    def read(self, events: int, now_ms: float) -> None:
        """A read brought so many events."""
        self._failures = 0
        if now_ms - self._window_from_ms > WINDOW_MS:
            self._window_from_ms, self._events, self._reads = now_ms, 0, 0
        self._events += events
        self._reads += 1
        if self._events > MOST_EVENTS:
            self._rests_until_ms = now_ms + CROWDED_MS
        elif self._reads > MOST_READS:
            self._reads_from_ms = now_ms + GATHER_MS

    def result_found(self, *, is_told: bool, now_ms: float) -> None:
        """A look found results while the stream was followed; ``is_told``: it had told of one of them."""
        self._silent_looks = 0 if is_told else self._silent_looks + 1
        if self._silent_looks >= SILENT_LOOKS:
            self._silent_looks = 0
            self._rests_until_ms = now_ms + SILENT_MS

    def failed(self, now_ms: float) -> None:
        """The stream could not be read."""
        self._rests_until_ms = now_ms + min(_FIRST_TROUBLE_MS * 2.0 ** min(self._failures, 10), _LONGEST_TROUBLE_MS)
        self._failures += 1
