"""The line between a process and whoever looks after it: orders go down, messages come up.

A program holds the upper end of one line, whose lower end its supervisor has; the supervisor holds the upper end of one
line per worker process. An order is one byte, so that a signal handler may give it. The end of the line says that the
other side is gone, however it went: so nobody may keep a copy of an end that is not its own.
"""

from __future__ import annotations

import contextlib
import os
from enum import Enum
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from chasquimq._dataclass import dataclass

__all__ = ["AskedToClose", "Ended", "LowerEnd", "Message", "News", "StartFailed", "UpperEnd", "new_line"]

_CLOSE, _FORCE = b"c", b"f"
_ORDERS_AT_ONCE = 64


class News(Enum):
    """Messages that say all with their name."""

    READY = "ready"
    """From a worker process: it takes jobs. From the supervisor: all of them do, for the first time."""
    CLOSING = "closing"
    """From the supervisor: the processes were told to drain."""
    OVER = "over"
    """From the supervisor: every process has ended, and so will it."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A worker could not start, as ``Worker.run`` would raise it."""

    error: Exception


@dataclass(frozen=True, slots=True)
class AskedToClose:
    """From a worker process: its handler or listener has called ``close()`` of the program's worker."""

    force: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """From the supervisor: a worker process has ended without being asked to, or badly."""

    process: str
    pid: int | None
    exit_code: int | None
    lived_s: float
    restart_in_s: float | None
    """None: it is not started again, because all are to end."""
    error: Exception | None = None
    """Why it could not start, if it said so."""


Message = News | StartFailed | AskedToClose | Ended


class _End:
    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """For whoever waits until there is something to receive."""
        return self._connection.fileno()

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()


class UpperEnd(_End):
    """The end of whoever gives orders."""

    def ask(self, force: bool) -> None:
        """Has the other side drain, or stop at once. From any thread or signal handler; nobody there is fine."""
        with contextlib.suppress(OSError):
            os.write(self._connection.fileno(), _FORCE if force else _CLOSE)

    def has_news(self, within_s: float) -> bool:
        """Waits for a message or the end of the line."""
        return self._connection.poll(within_s)

    def receive(self) -> Message | None:
        """The next message, waited for; None when the other side is gone."""
        try:
            message: Message = self._connection.recv()
        except (EOFError, OSError):
            return None
        return message


class LowerEnd(_End):
    """The end of whoever is given orders."""

    def tell(self, message: Message) -> None:
        """Sends a message; nobody there is fine."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def receive(self) -> bool | None:
        """Waits for orders: False to drain, True to stop at once. None: whoever gave them is gone."""
        try:
            orders = os.read(self._connection.fileno(), _ORDERS_AT_ONCE)
        except OSError:
            return None
        return _FORCE in orders if orders else None


def new_line() -> tuple[UpperEnd, LowerEnd]:
    """Both ends of a new line; they may be handed to a new process."""
    upper, lower = Pipe()
    return UpperEnd(upper), LowerEnd(lower)
