"""Where tasks wait until another one has something for them; the twin of ``_net.parking`` for one event loop."""

from __future__ import annotations

from collections.abc import Callable

import anyio

__all__ = ["TaskParking"]


class TaskParking:
    """A stack of waiting tasks: the last to park is the first to go on."""

    __slots__ = ("_parked",)

    def __init__(self) -> None:
        self._parked: list[anyio.Event] = []

    def __len__(self) -> int:
        return len(self._parked)

    async def park(self, is_ready: Callable[[], object]) -> None:
        """Waits until ``unpark`` picks this task, unless there is something to do by now."""
        if is_ready():
            return
        ticket = anyio.Event()
        self._parked.append(ticket)
        try:
            await ticket.wait()
        except BaseException:
            if ticket in self._parked:
                self._parked.remove(ticket)
            elif ticket.is_set():
                self.unpark()  # whoever picked us meant somebody who goes on
            raise

    def unpark(self) -> bool:
        """Lets one waiting task go on; False when nobody waits."""
        if not self._parked:
            return False
        self._parked.pop().set()
        return True

    def unpark_all(self) -> None:
        while self.unpark():
            pass
