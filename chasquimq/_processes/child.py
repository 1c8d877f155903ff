"""What runs in each worker process: the form's ordinary worker, and a line to the supervisor.

A terminal's Ctrl-C reaches every process of the program, so it is left to the program to act on it. SIGTERM drains this
process alone. When the supervisor is gone, by whatever death, the process drains and ends by itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType

from chasquimq._processes.blueprint import Blueprint
from chasquimq._processes.link import AskedToClose, LowerEnd, News, StartFailed, UpperEnd
from chasquimq.errors import ChasquiError

__all__ = ["Child", "current_child", "hold_signals", "main"]

_HELD = (signal.SIGINT, signal.SIGTERM)

_current: Child | None = None


def current_child() -> Child | None:
    """This process's line to its supervisor, if it is a worker process."""
    return _current


def hold_signals() -> set[signal.Signals | int]:
    """Keeps SIGINT and SIGTERM from this thread, and from the processes that it starts until they ask for them.

    Between its start and its own handlers a process would take them in its parent's way. Returns the mask before.
    """
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, _HELD))


class Child:
    """A worker process, as its worker sees it."""

    def __init__(self, line: LowerEnd) -> None:
        self._line = line

    def ready(self) -> None:
        """The worker takes jobs."""
        self._line.tell(News.READY)

    def ask_all(self, force: bool) -> None:
        """Somebody here has called ``close()`` of the worker that stands for all processes."""
        self._line.tell(AskedToClose(force))

    def obey(self, ask: Callable[[bool], object]) -> None:
        """Passes orders on from now on: ``ask(force)`` is called from another thread or from a signal handler."""
        signal.signal(signal.SIGINT, _leave_it_to_the_program)
        signal.signal(signal.SIGTERM, lambda _number, _frame: ask(False))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
        threading.Thread(target=self._pass_on, args=(ask,), name="chasquimq-orders", daemon=True).start()

    def _pass_on(self, ask: Callable[[bool], object]) -> None:
        while (force := self._line.receive()) is not None:
            ask(force)
        ask(False)


def _leave_it_to_the_program(_number: int, _frame: FrameType | None) -> None:
    """Not SIG_IGN, which the programs that a handler starts would inherit."""


def main(blueprint: Blueprint, name: str, line: LowerEnd, others: Iterable[UpperEnd | LowerEnd]) -> None:
    """The whole life of a worker process; ``others``: ends of lines that a fork has copied."""
    global _current  # noqa: PLW0603 - one per process, as the process itself
    for end in others:
        end.close()
    _current = child = Child(line)
    try:
        blueprint.run(blueprint, name, child)
    except ChasquiError as error:
        error.add_note(f"Raised in the worker process {name!r} (pid {os.getpid()}).")
        line.tell(StartFailed(error))
        sys.exit(1)
