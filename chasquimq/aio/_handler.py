"""A plain function as a handler of the asynchronous worker: it is called in a thread and awaited here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from chasquimq._net.event_loop import call_in, running_loop
from chasquimq._net.handler_threads import HandlerThreads, Outcome

__all__ = ["ThreadedHandler"]


class ThreadedHandler:
    """Awaitable form of a plain function. Being cancelled leaves the thread to itself: it cannot be stopped."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._threads = HandlerThreads()

    async def __call__(self, job: Any) -> Any:
        loop, ended, outcomes = running_loop(), anyio.Event(), list[Outcome]()

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            call_in(loop, ended.set)

        self._threads.submit(self._function, job, done)
        await ended.wait()
        result, error = outcomes[0]
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Ends the threads as they become idle."""
        self._threads.close()
