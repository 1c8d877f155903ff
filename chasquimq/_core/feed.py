"""Events that wait for somebody who iterates over them: a bounded buffer that tells when it overflowed."""

from __future__ import annotations

from collections import deque

from chasquimq.events import Gap, QueueEvent

__all__ = ["Feed"]

CAPACITY = 10_000


class Feed:
    """The last events that were read in the background, in order. Single operations are atomic; it takes no lock."""

    def __init__(self) -> None:
        self._events: deque[QueueEvent] = deque()
        self._lost_after: str | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: QueueEvent) -> None:
        """Appends an event; beyond the capacity the oldest one is lost."""
        if len(self._events) >= CAPACITY:
            lost = self._events.popleft()
            self._lost_after = self._lost_after or lost.event_id
        self._events.append(event)

    def take(self) -> QueueEvent | None:
        """The oldest event, a Gap first if some before it were lost, or None."""
        try:
            event = self._events[0]
        except IndexError:
            return None
        if self._lost_after is not None:
            after, self._lost_after = self._lost_after, None
            return Gap(event_id=event.event_id, after=after)
        return self._events.popleft()
