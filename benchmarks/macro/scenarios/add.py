"""Adding one job after the other, each waited for."""

from __future__ import annotations

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.workload import NAME, frames, payload

__all__ = ["CASES"]


def bare(run: Run) -> Outcome:
    from benchmarks.macro.bare import BareClient

    client = BareClient(run.host, run.port)
    requests = list(frames(run.queue, run.jobs, retry_safe=True))
    client.command(b"PING")
    run.meter.start()
    for request in requests:
        client.exchange(request)
    return Outcome(run.jobs, run.added())


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Queue

    with Queue(run.queue, connection=run.url) as queue:
        queue.peek_dlq(1)  # connects
        run.meter.start()
        for number in range(run.jobs):
            queue.add(NAME, payload(number))
        return Outcome(run.jobs, run.added())


async def aio(run: Run) -> Outcome:
    from chasquimq.aio import Queue

    async with Queue(run.queue, connection=run.url) as queue:
        await queue.peek_dlq(1)
        run.meter.start()
        for number in range(run.jobs):
            await queue.add(NAME, payload(number))
        return Outcome(run.jobs, run.added())


async def reference(run: Run) -> Outcome:
    from chasquimq import Queue

    queue = Queue(run.queue, redis_url=run.url)
    await queue.peek_dlq(1)
    run.meter.start()
    for number in range(run.jobs):
        await queue.add(NAME, payload(number))
    outcome = Outcome(run.jobs, run.added())
    await queue.close()
    return outcome


CASES = (
    Case(
        "add",
        "add, one by one",
        params={"jobs": 10_000},
        quick={"jobs": 4_000},
        sides={"bare": bare, "sync": sync, "aio": aio, "reference": reference},
    ),
)
