"""Huey on Redis: one list; a popped job is the worker's alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from benchmarks.macro.faces import Handling, SyncSide
from benchmarks.macro.workload import payload

__all__ = ["Side"]

THREADS = 4


class Side(SyncSide):
    """With a task's call to add and its ``Consumer`` in threads of this process."""

    imports = "from huey import RedisHuey"
    tells_when_ready = False

    def _make(self, handling: Handling | None) -> Any:
        from huey import RedisHuey

        logging.getLogger("huey").setLevel(logging.CRITICAL)
        huey: Any = RedisHuey(self.run.queue, results=False, url=self.run.url)
        count = handling.by_number() if handling is not None else None

        def handle(data: dict[str, Any]) -> None:
            assert count is not None
            count(data["n"])

        retries = 5 if self.run.params.get("retries") else 0
        return huey, huey.task(retries=retries, name="handle")(handle)

    def open(self) -> None:
        self._huey, self._task = self._make(None)

    def close(self) -> None:
        self._huey.storage.conn.close()

    def add(self, number: int) -> Any:
        return self._task(payload(number))

    @contextlib.contextmanager
    def working(self, handling: Handling) -> Iterator[None]:
        huey, _ = self._make(handling)
        consumer = huey.create_consumer(workers=THREADS, periodic=False, check_worker_health=False)
        consumer.start()
        yield
        consumer.stop()
        for _, thread in consumer.worker_threads:
            thread.join(5)

    def waiting(self) -> int:
        name = self.run.queue
        found: int = self.run.probe.call("LLEN", f"huey.redis.{name}")
        found += self.run.probe.call("ZCARD", f"huey.schedule.{name}")
        return found
