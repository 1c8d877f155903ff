"""The smallest whole program: add a job, run it, read its result. Asynchronous form, on asyncio or on trio.

    python examples/quickstart_async.py            on asyncio
    python examples/quickstart_async.py trio       the same code on trio (pip install 'chasquimq[trio]')

Without CHASQUIMQ_REDIS_URL it uses an embedded server, which needs: pip install 'chasquimq[embedded]'.
"""

import os
import sys

import anyio

from chasquimq.aio import Job, Queue, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")


async def send_welcome(job: Job[dict[str, str], str]) -> str:
    """The handler. Returning means done; raising means try again later. A plain function would run in a thread."""
    await anyio.sleep(0.01)  # whatever a real one would wait for
    return f"welcome, {job.data['to']}"


async def main() -> None:
    async with (
        # The queue opens its first connection with the first call.
        Queue[dict[str, str], str]("quickstart-async", connection=CONNECTION) as queue,
        # Handlers run as tasks, here up to ten at a time. Usually the worker is another process, and its
        # main program is: await worker.run(handle_signals=True)
        Worker("quickstart-async", send_welcome, connection=CONNECTION, concurrency=10, store_results=True),
    ):
        job = await queue.add("welcome", {"to": "ada@example.com"})
        print("added", job.name)
        print("result:", await job.wait_for_result(timeout_ms=10_000))
    # Leaving the block has drained the worker: whatever ran is finished and written.


if __name__ == "__main__":
    # On asyncio alone, asyncio.run(main()) does as well.
    anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")
