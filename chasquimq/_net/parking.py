"""Where threads wait until another one has something for them.

A thread parks when it finds nothing to do; whoever brings work unparks one. The last to park is the first to go
on, so that few threads stay warm. No wake-up is lost: a thread that parks looks once more after it can be seen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

__all__ = ["Parking"]


class Parking:
    """A stack of waiting threads. Appending to and popping from a list are atomic; there is no lock around them."""

    __slots__ = ("_parked",)

    def __init__(self) -> None:
        self._parked: list[threading.Lock] = []

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, is_ready: Callable[[], object], timeout_s: float = -1) -> None:
        """Waits until ``unpark`` picks this thread, unless there is something to do by now, or for ``timeout_s``."""
        ticket = threading.Lock()
        ticket.acquire()
        self._parked.append(ticket)
        if is_ready():
            self.unpark()  # perhaps ourselves; then the next line returns at once
        if not ticket.acquire(timeout=timeout_s):
            with contextlib.suppress(ValueError):  # it was picked at this very moment
                self._parked.remove(ticket)

    def unpark(self) -> bool:
        """Lets one waiting thread go on; False when nobody waits."""
        try:
            self._parked.pop().release()
        except IndexError:
            return False
        return True

    def unpark_all(self) -> None:
        while self.unpark():
            pass
