"""taskiq with taskiq-redis: a stream, acknowledged entry by entry and never deleted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.macro.faces import AioSide, Handling
from benchmarks.macro.workload import CONCURRENCY, payload

__all__ = ["Side"]

SHUTDOWN_S = 2.0


class Side(AioSide):
    """With ``kiq`` to add and the receiver that its worker program runs."""

    imports = "from taskiq_redis import RedisStreamBroker; from taskiq.receiver import Receiver"
    tells_when_ready = False

    def _make(self, handling: Handling | None) -> Any:
        from taskiq_redis import RedisStreamBroker

        logging.getLogger("taskiq").setLevel(logging.CRITICAL)
        broker: Any = RedisStreamBroker(self.run.url, queue_name=self.run.queue, consumer_id="0")
        count = handling.by_number() if handling is not None else None

        async def handle(data: dict[str, Any]) -> None:
            assert count is not None
            count(data["n"])

        return broker, broker.register_task(handle, task_name="handle")

    async def open(self) -> None:
        self._broker, self._task = self._make(None)
        await self._broker.startup()

    async def close(self) -> None:
        await self._broker.shutdown()

    def add(self, number: int) -> Any:
        return self._task.kiq(payload(number))

    @contextlib.asynccontextmanager
    async def working(self, handling: Handling) -> AsyncIterator[None]:
        from taskiq.receiver import Receiver

        broker, _ = self._make(handling)
        broker.is_worker_process = True
        finish = asyncio.Event()
        with ThreadPoolExecutor(1) as executor:
            receiver: Any = Receiver(
                broker,
                executor=executor,
                validate_params=False,
                max_async_tasks=CONCURRENCY,
                max_prefetch=CONCURRENCY,
                run_startup=True,
            )
            running = asyncio.create_task(receiver.listen(finish))
            yield
            finish.set()
            # Its way out does not always end; what was measured is complete by now.
            await asyncio.wait([running], timeout=SHUTDOWN_S)

    def waiting(self) -> int:
        """Pending entries and those that its group has not read: acknowledged ones stay in the stream."""
        groups = self.run.probe.call("XINFO", "GROUPS", self.run.queue)
        fields = dict(zip(groups[0][::2], groups[0][1::2], strict=True))
        found: int = fields[b"pending"] + (fields[b"lag"] or 0)
        return found
