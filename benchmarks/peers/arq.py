"""arq: a sorted set of job ids, polled; one key per job and one while it runs."""

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
    """With ``create_pool`` to add and ``Worker`` in this loop."""

    imports = "from arq import create_pool, Worker"
    tells_when_ready = False

    async def open(self) -> None:
        from arq import create_pool
        from arq.connections import RedisSettings

        self._pool: Any = await create_pool(
            RedisSettings(self.run.host, self.run.port, max_connections=2 * CONCURRENCY)
        )

    async def close(self) -> None:
        await self._pool.aclose()

    def add(self, number: int) -> Any:
        return self._pool.enqueue_job("handle", payload(number))

    async def add_late(self, due_ms: Sequence[int]) -> None:
        for number, due in enumerate(due_ms):
            at = datetime.fromtimestamp(due / 1000, UTC)
            await self._pool.enqueue_job("handle", payload(number), _defer_until=at)

    @contextlib.asynccontextmanager
    async def working(self, handling: Handling) -> AsyncIterator[None]:
        from arq import Retry, Worker, func
        from arq.connections import RedisSettings

        logging.getLogger("arq").setLevel(logging.ERROR)
        count = handling.by_number()

        async def handle(_context: Any, data: dict[str, Any]) -> None:
            try:
                count(data["n"])
            except RuntimeError:
                # It does not run a failed job again unless the job says so.
                raise Retry(defer=RETRY_S) from None

        worker = Worker(
            [func(handle, name="handle", keep_result=0, max_tries=MAX_TRIES)],
            redis_settings=RedisSettings(self.run.host, self.run.port),
            max_jobs=CONCURRENCY,
            poll_delay=0.01,
            handle_signals=False,
            log_results=False,
        )
        running = asyncio.create_task(worker.async_run())
        yield
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await worker.close()

    def waiting(self) -> int:
        found: int = self.run.probe.call("ZCARD", "arq:queue")
        return found
