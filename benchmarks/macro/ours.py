"""This library as a side, in its synchronous and its asynchronous form, as its documentation says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.macro.case import Run
from benchmarks.macro.faces import AioSide, Handling, SyncSide
from benchmarks.macro.loop import Loop
from benchmarks.macro.workload import CONCURRENCY, NAME, payload

__all__ = ["Aio", "Sync"]


def _rows(numbers: range) -> Any:
    """A list, or for very many a generator: then the memory of a million rows is not part of what is measured."""
    rows: Iterator[tuple[str, Any]] = ((NAME, payload(number)) for number in numbers)
    return rows if len(numbers) > 100_000 else list(rows)


def _late_rows(due_ms: Sequence[int]) -> list[tuple[str, Any, dict[str, Any]]]:
    return [
        (NAME, {"n": number, "due": due}, {"delay": datetime.fromtimestamp(due / 1000, UTC)})
        for number, due in enumerate(due_ms)
    ]


class _Keys:
    """What both forms read from the server by hand."""

    run: Any

    def waiting(self) -> int:
        run = self.run
        found: int = run.probe.call("XLEN", run.tag + b"stream") + run.probe.call("ZCARD", run.tag + b"delayed")
        return found

    def failed(self) -> int:
        found: int = self.run.probe.call("XLEN", self.run.tag + b"dlq")
        return found

    def options(self) -> dict[str, Any]:
        params = self.run.params
        return {
            "connection": self.run.url,
            "concurrency": CONCURRENCY,
            "events": params.get("events", True),
            "store_results": params.get("results", False),
        }


class Sync(_Keys, SyncSide):
    """``chasquimq.sync``."""

    fills_itself = False
    imports = "from chasquimq.sync import Queue, Worker"

    def open(self) -> None:
        from chasquimq.sync import Queue

        self._queue = Queue(self.run.queue, connection=self.run.url)
        self._queue.peek_dlq(1)  # connects

    def close(self) -> None:
        self._queue.close()

    def add(self, number: int) -> Any:
        return self._queue.add(NAME, payload(number))

    def rows(self, numbers: range) -> Any:
        return _rows(numbers)

    def add_rows(self, rows: Any) -> Any:
        return self._queue.add_bulk(rows, return_jobs=isinstance(rows, list))

    def add_late(self, due_ms: Sequence[int]) -> None:
        self._queue.add_bulk(_late_rows(due_ms))

    def working(self, handling: Handling) -> Any:
        from chasquimq.sync import Worker

        handle = handling.by_job()

        def handle_with_result(job: Any) -> int:
            handle(job)
            return 1

        options = self.options()
        return Worker(self.run.queue, handle_with_result if options["store_results"] else handle, **options)


class Aio(_Keys, AioSide):
    """``chasquimq.aio``, on asyncio, uvloop and trio."""

    fills_itself = False

    def __init__(self, run: Run, loop: Loop) -> None:
        super().__init__(run, loop)
        event_loop = "" if run.side == "asyncio" else f"import {run.side}; "
        self.imports = f"{event_loop}from chasquimq.aio import Queue, Worker"

    async def open(self) -> None:
        from chasquimq.aio import Queue

        self._queue = Queue(self.run.queue, connection=self.run.url)
        await self._queue.peek_dlq(1)

    async def close(self) -> None:
        await self._queue.close()

    def add(self, number: int) -> Any:
        return self._queue.add(NAME, payload(number))

    def rows(self, numbers: range) -> Any:
        return _rows(numbers)

    async def add_rows(self, rows: Any) -> Any:
        return await self._queue.add_bulk(rows, return_jobs=isinstance(rows, list))

    async def add_late(self, due_ms: Sequence[int]) -> None:
        await self._queue.add_bulk(_late_rows(due_ms))

    def working(self, handling: Handling) -> Any:
        from chasquimq.aio import Worker

        count = handling.by_job()

        async def handle(job: Any) -> None:
            count(job)

        async def handle_with_result(job: Any) -> int:
            count(job)
            return 1

        options = self.options()
        return Worker(self.run.queue, handle_with_result if options["store_results"] else handle, **options)
