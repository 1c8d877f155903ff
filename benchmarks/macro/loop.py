"""The little that scenarios need of an event loop, on asyncio and trio.

Not anyio, because the peers' environments do not have it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from benchmarks.macro.meter import Void

__all__ = ["Loop"]


class Loop:
    """``backend``: "asyncio" (also with uvloop) or "trio"."""

    def __init__(self, backend: str) -> None:
        self._trio: Any = None
        if backend == "trio":
            import trio

            self._trio = trio

    async def sleep(self, seconds: float) -> None:
        await (self._trio or asyncio).sleep(seconds)

    def event(self) -> Any:
        """Something with ``set`` and an awaitable ``wait``."""
        return (self._trio or asyncio).Event()

    async def together(self, coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Runs all of them at the same time."""
        if self._trio is None:
            await asyncio.gather(*coroutines)
            return

        async def run(coroutine: Coroutine[Any, Any, None]) -> None:
            await coroutine

        async with self._trio.open_nursery() as nursery:
            for coroutine in coroutines:
                nursery.start_soon(run, coroutine)

    async def wait_for(self, is_done: Callable[[], bool], timeout_s: float, what: str, poll_s: float = 0.005) -> None:
        """Polls; void when it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if time.monotonic() > deadline:
                raise Void(f"after {timeout_s:.0f} s still waiting for {what}")
            await self.sleep(poll_s)

    async def wait(self, event: Any, timeout_s: float) -> bool:
        """Whether the event was set in time."""
        if self._trio is not None:
            with self._trio.move_on_after(timeout_s):
                await event.wait()
            return bool(event.is_set())
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        return True
