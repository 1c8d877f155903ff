"""The reference implementation: the engine in Rust, with its own Python package (the wheel ``chasquimq``)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.macro.faces import AioSide, Handling
from benchmarks.macro.workload import CONCURRENCY, NAME, payload

__all__ = ["Side"]


class Side(AioSide):
    """Its jobs are byte for byte this library's: the runner fills its backlogs."""

    fills_itself = False
    imports = "from chasquimq import Queue, Worker"
    tells_when_ready = False

    async def open(self) -> None:
        from chasquimq import Queue

        # Its stream is trimmed to a million entries unless told otherwise.
        self._queue: Any = Queue(self.run.queue, redis_url=self.run.url, max_stream_len=2_000_000)
        await self._queue.peek_dlq(1)

    async def close(self) -> None:
        await self._queue.close()

    def add(self, number: int) -> Any:
        return self._queue.add(NAME, payload(number))

    def rows(self, numbers: range) -> Any:
        return [{"name": NAME, "data": payload(number)} for number in numbers]

    async def add_rows(self, rows: Any) -> Any:
        return await self._queue.add_bulk(rows)

    async def add_late(self, due_ms: Sequence[int]) -> None:
        # Its add_bulk takes one delay for all rows; a hundred adds at a time are its fastest way.
        async def add_some(first: int) -> None:
            for number in range(first, len(due_ms), 100):
                due = datetime.fromtimestamp(due_ms[number] / 1000, UTC)
                await self._queue.add(NAME, payload(number), delay_ms=due)

        await self.loop.together([add_some(first) for first in range(100)])

    @contextlib.asynccontextmanager
    async def working(self, handling: Handling) -> AsyncIterator[None]:
        from chasquimq import Worker

        count = handling.by_job()

        async def handle(job: Any) -> None:
            count(job)

        async def handle_with_result(job: Any) -> int:
            count(job)
            return 1

        params = self.run.params
        results = params.get("results", False)
        worker: Any = Worker(
            self.run.queue,
            handle_with_result if results else handle,
            redis_url=self.run.url,
            concurrency=CONCURRENCY,
            events_enabled=params.get("events", True),
            store_results=results,
        )
        running = asyncio.create_task(worker.run())
        yield
        await worker.close()
        await running

    def waiting(self) -> int:
        run = self.run
        found: int = run.probe.call("XLEN", run.tag + b"stream") + run.probe.call("ZCARD", run.tag + b"delayed")
        return found

    def failed(self) -> int:
        found: int = self.run.probe.call("XLEN", self.run.tag + b"dlq")
        return found
