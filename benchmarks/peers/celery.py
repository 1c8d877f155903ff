"""Celery on Redis: a list per queue and a hash of what was delivered and not acknowledged."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.macro.faces import Handling, SyncSide
from benchmarks.macro.workload import payload

__all__ = ["Side"]

THREADS = 8
RETRY_S = 0.001


class Side(SyncSide):
    """With ``apply_async`` and a worker in threads of this process."""

    imports = "from celery import Celery"

    def _make(self, handling: Handling | None) -> Any:
        from celery import Celery

        logging.getLogger("celery").setLevel(logging.CRITICAL)
        app: Any = Celery("bench", broker=self.run.url)
        app.conf.update(
            task_default_queue=self.run.queue,
            task_ignore_result=True,
            worker_prefetch_multiplier=128,
            worker_hijack_root_logger=False,
            worker_enable_remote_control=False,
            broker_connection_retry_on_startup=True,
        )
        count = handling.by_number() if handling is not None else None

        def handle(task: Any, data: dict[str, Any]) -> None:
            assert count is not None
            try:
                count(data["n"])
            except RuntimeError as error:
                raise task.retry(exc=error, countdown=RETRY_S, max_retries=5) from None

        return app, app.task(name="handle", bind=True, shared=False)(handle)

    def open(self) -> None:
        self._app, self._task = self._make(None)
        self._producer: Any = self._app.amqp.producer_pool.acquire(block=True)

    def close(self) -> None:
        self._producer.release()
        self._app.close()

    def add(self, number: int) -> Any:
        return self._task.apply_async((payload(number),), producer=self._producer)

    def add_late(self, due_ms: Sequence[int]) -> None:
        for number, due in enumerate(due_ms):
            at = datetime.fromtimestamp(due / 1000, UTC)
            self._task.apply_async((payload(number),), producer=self._producer, eta=at)

    @contextlib.contextmanager
    def working(self, handling: Handling) -> Iterator[None]:
        from celery.app.trace import setup_worker_optimizations

        app, _ = self._make(handling)
        # As the program ``celery worker`` does before it makes the controller.
        setup_worker_optimizations(app)
        ready = threading.Event()
        worker: Any = app.WorkController(
            concurrency=THREADS,
            pool="threads",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            ready_callback=lambda _consumer: ready.set(),
        )
        thread = threading.Thread(target=worker.start, daemon=True)
        thread.start()
        ready.wait()
        yield
        worker.stop()
        thread.join(10)

    def waiting(self) -> int:
        probe = self.run.probe
        found: int = probe.call("LLEN", self.run.queue) + probe.call("HLEN", "unacked")
        return found
