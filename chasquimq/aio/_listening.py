"""Calling a worker's listeners, asynchronous form: plain functions at once, coroutine functions as tasks.

A listener never disturbs a job: it is not waited for, and what it raises is logged and told through ``error``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import Any

import anyio
import anyio.abc

from chasquimq._core.listeners import Listeners
from chasquimq._core.log import logger_named

__all__ = ["Listening"]

logger = logger_named("chasquimq.worker")

GRACE_S = 1.0
"""How long the end of a worker waits for listeners that are still running."""


class Listening:
    """The listener tasks of one worker."""

    def __init__(self, *, waits: bool = False) -> None:
        """``waits``: without a task group, coroutine listeners are kept for ``run_waiting`` instead of dropped."""
        self._waits = waits
        self._waiting: deque[tuple[str, Listeners, Awaitable[Any]]] = deque()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._running = 0
        self._all_done: anyio.Event | None = None

    def start_in(self, tasks: anyio.abc.TaskGroup) -> None:
        """Coroutine listeners run in this task group from now on."""
        self._tasks = tasks

    def emit(self, event: str, listeners: Listeners, arguments: tuple[Any, ...]) -> None:
        """Calls the listeners of an event; those that are coroutine functions go on as tasks."""
        for listener in listeners.take(event):
            try:
                answer = listener(*arguments)
            except Exception as error:  # noqa: BLE001 - user code must not disturb the job
                self._raised(event, listeners, error)
                continue
            if isinstance(answer, Awaitable):
                if self._tasks is None:
                    if self._waits:
                        self._waiting.append((event, listeners, answer))
                    else:
                        _discard(answer)
                    continue
                self._running += 1
                self._tasks.start_soon(self.run, event, listeners, answer)

    async def run_waiting(self) -> None:
        """Awaits the listeners that had no task group to run in, one after the other."""
        while self._waiting:
            event, listeners, answer = self._waiting.popleft()
            try:
                await answer
            except Exception as error:  # noqa: BLE001 - user code must not end the subscription
                self._raised(event, listeners, error)

    def drop_waiting(self) -> None:
        """Nobody will await them any more."""
        while self._waiting:
            _discard(self._waiting.popleft()[2])

    async def emit_and_wait(self, event: str, listeners: Listeners, arguments: tuple[Any, ...]) -> None:
        """The same for an event after the last task: coroutine listeners are awaited here."""
        for listener in listeners.take(event):
            try:
                answer = listener(*arguments)
                if isinstance(answer, Awaitable):
                    with anyio.move_on_after(GRACE_S):
                        await answer
            except Exception:
                logger.exception("a listener of %r raised", event)

    async def wait_a_moment(self) -> None:
        """Lets running listeners come to their end, for a second at most."""
        if self._running:
            self._all_done = anyio.Event()
            with anyio.move_on_after(GRACE_S):
                await self._all_done.wait()

    async def run(self, event: str, listeners: Listeners, answer: Awaitable[Any]) -> None:
        """One listener that is a coroutine function, as a task."""
        try:
            await answer
        except Exception as error:  # noqa: BLE001 - user code must not disturb the job
            self._raised(event, listeners, error)
        finally:
            self._running -= 1
            if self._running == 0 and self._all_done is not None:
                self._all_done.set()

    def _raised(self, event: str, listeners: Listeners, error: Exception) -> None:
        logger.error("a listener of %r raised", event, exc_info=error)
        if event != "error":
            self.emit("error", listeners, (error,))


def _discard(answer: Awaitable[Any]) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        close()
