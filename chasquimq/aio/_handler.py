"""A plain function as a handler of the asynchronous worker: it is called in a thread and awaited here.

On asyncio the threads are ours, because anyio's are joined at exit and a handler that does not return would keep the
process from ending; on trio anyio's are daemons already. Either way the function may use ``anyio.from_thread``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from chasquimq._net.event_loop import call_in, is_asyncio, running_loop
from chasquimq._net.handler_threads import HandlerThreads, Outcome, outcome_of

__all__ = ["ThreadedHandler"]


class ThreadedHandler:
    """Awaitable form of a plain function. Being cancelled leaves the thread to itself: it cannot be stopped."""

    def __init__(self, function: Callable[[Any], Any], concurrency: int) -> None:
        self._function = function
        self._concurrency = concurrency
        self._threads = HandlerThreads()
        self._limiter: anyio.CapacityLimiter | None = None
        # Loads a good part of anyio, which a worker with a coroutine function as its handler can do without.
        from anyio import from_thread  # noqa: PLC0415

        self._thread_locals = from_thread.threadlocals  # type: ignore[attr-defined]  # not in its __all__

    async def __call__(self, job: Any) -> Any:
        result, error = await (self._in_our_thread(job) if is_asyncio() else self._in_anyios_thread(job))
        if error is not None:
            raise error
        return result

    async def _in_our_thread(self, job: Any) -> Outcome:
        loop, token, ended, outcomes = running_loop(), anyio.lowlevel.current_token(), anyio.Event(), list[Outcome]()

        def call(job: Any) -> Any:
            # What anyio's own worker threads have: the way back into the event loop.
            self._thread_locals.current_token = token
            return self._function(job)

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            call_in(loop, ended.set)

        self._threads.submit(call, job, done)
        await ended.wait()
        return outcomes[0]

    async def _in_anyios_thread(self, job: Any) -> Outcome:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._concurrency)
        return await anyio.to_thread.run_sync(
            outcome_of, self._function, job, limiter=self._limiter, abandon_on_cancel=True
        )

    def close(self) -> None:
        """Ends the threads as they become idle."""
        self._threads.close()
