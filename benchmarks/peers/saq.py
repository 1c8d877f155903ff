"""saq: a list, a list of what runs, and one key per job that every change of state rewrites."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.macro.faces import AioSide, Handling
from benchmarks.macro.workload import CONCURRENCY, payload

__all__ = ["Side"]


class Side(AioSide):
    """With ``Queue.enqueue`` and a ``Worker`` in this loop."""

    imports = "from saq import Queue, Worker"
    tells_when_ready = False

    def _queue_of(self) -> Any:
        from saq import Queue

        url = f"{self.run.url}?max_connections={3 * CONCURRENCY}"
        return Queue.from_url(url, name=self.run.queue, max_concurrent_ops=CONCURRENCY)

    async def open(self) -> None:
        self._queue: Any = self._queue_of()
        await self._queue.connect()
        self._options = {"ttl": -1}
        if self.run.params.get("retries"):
            # At once: it looks at delays once a second.
            self._options["retries"] = 5

    async def close(self) -> None:
        await self._queue.disconnect()

    def add(self, number: int) -> Any:
        return self._queue.enqueue("handle", data=payload(number), **self._options)

    @contextlib.asynccontextmanager
    async def working(self, handling: Handling) -> AsyncIterator[None]:
        from saq import Worker

        logging.getLogger("saq").setLevel(logging.CRITICAL)
        count = handling.by_number()

        async def handle(_context: Any, *, data: dict[str, Any]) -> None:
            count(data["n"])

        queue = self._queue_of()
        await queue.connect()
        worker = Worker(queue, [("handle", handle)], concurrency=CONCURRENCY)
        running = asyncio.create_task(worker.start())
        yield
        await worker.stop()
        await running
        await queue.disconnect()

    def waiting(self) -> int:
        found: int = self.run.probe.call("ZCARD", f"saq:{self.run.queue}:incomplete")
        return found
