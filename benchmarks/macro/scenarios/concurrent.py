"""A hundred tasks that add at the same time, each waiting for its own answers."""

from __future__ import annotations

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.workload import NAME, frames, payload

__all__ = ["CASES"]


def pipelined(run: Run) -> Outcome:
    """What the server makes of it when somebody sends a hundred adds at a time."""
    from benchmarks.macro.bare import BareClient

    client = BareClient(run.host, run.port)
    tasks = run.params["tasks"]
    requests = list(frames(run.queue, run.jobs, retry_safe=True))
    writes = [b"".join(requests[start : start + tasks]) for start in range(0, run.jobs, tasks)]
    client.command(b"PING")
    run.meter.start()
    for write in writes:
        client.exchange(write, tasks)
    return Outcome(run.jobs, run.added())


async def aio(run: Run) -> Outcome:
    import anyio

    from chasquimq.aio import Queue

    tasks = run.params["tasks"]

    async def add_some(queue: Queue, first: int) -> None:
        for number in range(first, run.jobs, tasks):
            await queue.add(NAME, payload(number))

    async with Queue(run.queue, connection=run.url) as queue:
        await queue.peek_dlq(1)
        run.meter.start()
        async with anyio.create_task_group() as group:
            for first in range(tasks):
                group.start_soon(add_some, queue, first)
        return Outcome(run.jobs, run.added())


async def reference(run: Run) -> Outcome:
    import asyncio

    from chasquimq import Queue

    tasks = run.params["tasks"]
    queue = Queue(run.queue, redis_url=run.url)

    async def add_some(first: int) -> None:
        for number in range(first, run.jobs, tasks):
            await queue.add(NAME, payload(number))

    await queue.peek_dlq(1)
    run.meter.start()
    await asyncio.gather(*(add_some(first) for first in range(tasks)))
    outcome = Outcome(run.jobs, run.added())
    await queue.close()
    return outcome


CASES = (
    Case(
        "add-100",
        "add, 100 in flight",
        params={"jobs": 30_000, "tasks": 100},
        quick={"jobs": 12_000},
        sides={"pipelined-100": pipelined, "aio": aio, "reference": reference},
    ),
)
