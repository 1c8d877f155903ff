"""RQ: a list of job ids, a hash per job, one job at a time."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.macro.faces import Handling, SyncSide
from benchmarks.macro.workload import payload

__all__ = ["Side", "handle"]

_handlers: list[Callable[[int], None]] = []


def handle(data: dict[str, Any]) -> None:
    """The job's function, which its worker imports by name."""
    _handlers[-1](data["n"])


class Side(SyncSide):
    """With ``SimpleWorker``, which guards its jobs with signals and so insists on the main thread."""

    imports = "from rq import Queue, SimpleWorker"
    tells_when_ready = False
    wants_main_thread = True

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._wanted = threading.Event()

    def _connect(self) -> Any:
        from redis import Redis

        return Redis(self.run.host, self.run.port)

    def open(self) -> None:
        from rq import Queue

        self._queue: Any = Queue(self.run.queue, connection=self._connect())

    def close(self) -> None:
        self._queue.connection.close()

    def add(self, number: int) -> Any:
        return self._queue.enqueue(handle, payload(number), result_ttl=0)

    def add_rows(self, rows: Any) -> Any:
        prepare = self._queue.prepare_data
        return self._queue.enqueue_many([prepare(handle, (payload(number),), result_ttl=0) for number in rows])

    @contextlib.contextmanager
    def working(self, handling: Handling) -> Iterator[None]:
        _handlers.append(handling.by_number())
        self._wanted.set()
        # It looks at its own wish to stop between two jobs only: it ends with the process.
        yield

    def serve(self) -> None:
        from rq import Queue, SimpleWorker

        self._wanted.wait()
        logging.getLogger("rq").setLevel(logging.CRITICAL)
        connection = self._connect()
        worker = SimpleWorker([Queue(self.run.queue, connection=connection)], connection=connection)
        worker.work(logging_level="CRITICAL")

    def waiting(self) -> int:
        probe, queue = self.run.probe, self.run.queue
        found: int = probe.call("LLEN", f"rq:queue:{queue}") + probe.call("ZCARD", f"rq:wip:{queue}")
        return found

    def failed(self) -> int:
        found: int = self.run.probe.call("ZCARD", f"rq:failed:{self.run.queue}")
        return found
