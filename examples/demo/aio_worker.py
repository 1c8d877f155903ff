"""The demo's worker, asynchronous form: handlers run as tasks. The same code runs on asyncio and on trio."""

import anyio

from chasquimq.aio import Worker
from examples.demo.handlers import Handlers
from examples.demo.screen import Progress
from examples.demo.tally import Tally


def run_on_asyncio(queue_name: str, connection: str, handlers: Handlers, tally: Tally) -> None:
    """Works until all jobs have ended."""
    anyio.run(_work, "asyncio", queue_name, connection, handlers, tally, backend="asyncio")


def run_on_trio(queue_name: str, connection: str, handlers: Handlers, tally: Tally) -> None:
    """Works until all jobs have ended."""
    anyio.run(_work, "trio", queue_name, connection, handlers, tally, backend="trio")


async def _work(label: str, queue_name: str, connection: str, handlers: Handlers, tally: Tally) -> None:
    worker = Worker(queue_name, handlers.count_async, connection=connection, concurrency=8, store_results=True)
    worker.on("completed", tally.on_completed)
    worker.on("failed", tally.on_failed)
    progress = Progress(label, tally)
    async with worker:  # starts it as a task; leaving the block drains it
        while not tally.is_finished:
            progress.show()
            await anyio.sleep(0.1)
    progress.show()
