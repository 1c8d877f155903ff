"""Daemon threads for plain functions that an event loop waits for.

A handler that does not return must not keep the process from ending, so the threads are daemons (asyncio's and
anyio's own are joined at exit). Outcomes travel as values: some exceptions, GeneratorExit among them, cannot be thrown
through a future. It starts a thread when none is idle and never more than are asked for at a time.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from chasquimq._net.forking import end_stray_child

__all__ = ["HandlerThreads", "Outcome", "outcome_of"]

Outcome = tuple[Any, BaseException | None]
"""What a function returned, or what it raised."""


def outcome_of(function: Callable[..., Any], argument: Any) -> Outcome:
    """Calls the function and tells what came of it, without raising."""
    pid = os.getpid()
    outcome: Outcome
    try:
        outcome = function(argument), None
    except BaseException as error:  # noqa: BLE001 - user code; the outcome says it all
        outcome = None, error
    if os.getpid() != pid:
        end_stray_child(outcome[1])
    return outcome


class HandlerThreads:
    """A pool that grows to the number of functions running at a time."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = 0
        self._threads = 0
        self._guard = threading.Lock()

    def submit(self, function: Callable[..., Any], argument: Any, done: Callable[[Outcome], None]) -> None:
        """Has a thread call ``function(argument)`` in the caller's context, and ``done`` with the outcome."""
        context = contextvars.copy_context()

        def work() -> None:
            outcome: Outcome = context.run(outcome_of, function, argument)
            with self._guard:
                self._idle += 1
            done(outcome)

        with self._guard:
            starts = self._idle == 0
            if starts:
                self._threads += 1
            else:
                self._idle -= 1
        self._work.put(work)
        if starts:
            threading.Thread(target=self._serve, name="chasquimq-handler", daemon=True).start()

    def close(self) -> None:
        """Ends the threads as they become idle."""
        with self._guard:
            threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
