"""The demo's worker, synchronous form: handlers run in threads, and the main thread watches."""

import time

from chasquimq.sync import Worker
from examples.demo.handlers import Handlers
from examples.demo.screen import Progress
from examples.demo.tally import Tally


def run(queue_name: str, connection: str, handlers: Handlers, tally: Tally) -> None:
    """Works until all jobs have ended."""
    worker = Worker(queue_name, handlers.count, connection=connection, concurrency=8, store_results=True)
    worker.on("completed", tally.on_completed)
    worker.on("failed", tally.on_failed)
    progress = Progress("sync", tally)
    with worker:  # starts it in the background; leaving the block drains it
        while not tally.is_finished:
            progress.show()
            time.sleep(0.1)
    progress.show()
