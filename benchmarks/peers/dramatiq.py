"""Dramatiq on Redis: a list of ids and a hash of messages."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.macro.faces import Handling, SyncSide
from benchmarks.macro.workload import payload

__all__ = ["Side"]

THREADS = 8


class Side(SyncSide):
    """With ``send`` and its ``Worker`` in this process."""

    imports = "import dramatiq; from dramatiq.brokers.redis import RedisBroker"

    def _make(self, handling: Handling | None) -> Any:
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker

        logging.getLogger("dramatiq").setLevel(logging.CRITICAL)
        broker: Any = RedisBroker(url=self.run.url)
        count = handling.by_number() if handling is not None else None

        def handle(data: dict[str, Any]) -> None:
            assert count is not None
            count(data["n"])

        actor = dramatiq.actor(
            handle, broker=broker, queue_name=self.run.queue, max_retries=5, min_backoff=1, max_backoff=1
        )
        return broker, actor

    def open(self) -> None:
        self._broker, self._actor = self._make(None)

    def close(self) -> None:
        self._broker.close()

    def add(self, number: int) -> Any:
        return self._actor.send(payload(number))

    def add_late(self, due_ms: Sequence[int]) -> None:
        for number, due in enumerate(due_ms):
            delay = max(0, due - time.time_ns() // 1_000_000)
            self._actor.send_with_options(args=(payload(number),), delay=delay)

    @contextlib.contextmanager
    def working(self, handling: Handling) -> Iterator[None]:
        from dramatiq import Worker

        broker, _ = self._make(handling)
        worker = Worker(broker, worker_threads=THREADS)
        worker.start()
        yield
        worker.stop()
        broker.close()

    def waiting(self) -> int:
        """Messages, queued, running or delayed: each is in a hash until it is acknowledged."""
        probe, queue = self.run.probe, f"dramatiq:{self.run.queue}"
        found: int = probe.call("HLEN", f"{queue}.msgs") + probe.call("HLEN", f"{queue}.DQ.msgs")
        return found
