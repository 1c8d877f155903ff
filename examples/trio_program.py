"""A program on trio: worker, follower and producers in one nursery, a deadline for every run, and a clean end.

    pip install 'chasquimq[embedded,trio]'
    python examples/trio_program.py

Uses the server that CHASQUIMQ_REDIS_URL names, else an embedded one.
"""

import os

import trio

from chasquimq import BackoffSpec
from chasquimq.aio import Job, Queue, QueueEvents, Worker
from chasquimq.events import Completed, RetryScheduled

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")
NAME = "trio-pages"


async def fetch(job: Job[str, int]) -> int:
    """Pretends to load a page. Trio's cancel scopes work in handlers: a run that takes too long is a failed run."""
    seconds = 5.0 if job.data == "slow.example" and job.attempts_made == 1 else 0.01
    with trio.fail_after(0.2):
        await trio.sleep(seconds)
    return len(job.data)


async def follow(*, task_status: trio.TaskStatus[None]) -> None:
    """Prints what happens in the queue, in this process or in another one."""
    async with QueueEvents(NAME, connection=CONNECTION) as queue_events:
        task_status.started()  # the place in the stream is known: nothing from now on is missed
        async for event in queue_events:
            if isinstance(event, RetryScheduled):
                print(f"{event.job_id} is tried again in {event.backoff_ms} ms")
            elif isinstance(event, Completed):
                print(f"{event.job_id} is done after {event.attempt} run(s)")


async def load(queue: Queue[str, int], page: str) -> None:
    job = await queue.add("fetch", page, job_id=page, attempts=3, backoff=BackoffSpec.fixed(50))
    print(f"{page} has {await job.wait_for_result(timeout_ms=10_000)} letters")


async def main() -> None:
    async with Queue[str, int](NAME, connection=CONNECTION) as queue, trio.open_nursery() as background:
        await background.start(follow)
        # In an ``async with`` block the worker would run in the background by itself; run() makes it one of our tasks.
        worker = Worker(NAME, fetch, connection=CONNECTION, store_results=True)
        background.start_soon(worker.run)

        async with trio.open_nursery() as producers:
            for page in ("trio.example", "slow.example", "redis.example"):
                producers.start_soon(load, queue, page)

        await worker.close()  # run() returns when everything is written
        background.cancel_scope.cancel()  # the follower would wait for more
    print("the end")


if __name__ == "__main__":
    trio.run(main)
