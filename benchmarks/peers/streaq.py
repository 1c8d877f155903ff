"""streaq: a stream of task ids and one key per task."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.macro.faces import AioSide, Handling
from benchmarks.macro.workload import CONCURRENCY, payload

__all__ = ["Side"]

MAX_TRIES = 5
RETRY_S = 0.001


class Side(AioSide):
    """With one ``Worker`` that adds and runs, as its documentation shows; ``enqueue_many`` for many."""

    imports = "from streaq import Worker"

    def _make(self, handling: Handling | None) -> Any:
        from streaq import StreaqRetry, Worker

        logging.getLogger("streaq").setLevel(logging.ERROR)
        worker: Any = Worker(
            redis_url=self.run.url, queue_name=self.run.queue, concurrency=CONCURRENCY, handle_signals=False
        )
        count = handling.by_number() if handling is not None else None

        async def handle(data: dict[str, Any]) -> None:
            assert count is not None
            try:
                count(data["n"])
            except RuntimeError as error:
                raise StreaqRetry(str(error), delay=RETRY_S) from None

        return worker, worker.task(ttl=0, silent=True, max_tries=MAX_TRIES)(handle)

    async def open(self) -> None:
        self._worker, self._task = self._make(None)
        await self._worker.__aenter__()

    async def close(self) -> None:
        await self._worker.__aexit__(None, None, None)

    def add(self, number: int) -> Any:
        return self._task.enqueue(payload(number))

    def rows(self, numbers: range) -> Any:
        return list(numbers)

    async def add_rows(self, rows: Any) -> Any:
        await self._worker.enqueue_many([self._task.enqueue(payload(number)) for number in rows])

    async def add_late(self, due_ms: Sequence[int]) -> None:
        for number, due in enumerate(due_ms):
            at = datetime.fromtimestamp(due / 1000, UTC)
            await self._task.enqueue(payload(number)).start(schedule=at)

    @contextlib.asynccontextmanager
    async def working(self, handling: Handling) -> AsyncIterator[None]:
        import anyio

        worker, _ = self._make(handling)
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            yield
            # The server knows the end of the last job before its worker has read the answer.
            await asyncio.sleep(0.2)
            group.cancel_scope.cancel()

    def waiting(self) -> int:
        probe, prefix = self.run.probe, f"streaq:{self.run.queue}:queues:"
        found: int = probe.call("XLEN", prefix + "normal") + probe.call("ZCARD", prefix + "delayed:normal")
        return found
