"""Every job fails once and is run again 1 ms later: what a worker makes of a bad day of a remote service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run, Tally
from benchmarks.macro.meter import Void
from benchmarks.macro.workload import fill

__all__ = ["CASES"]

CONCURRENCY = 100


def prepare(host: str, port: int, queue: str, params: Mapping[str, Any]) -> None:
    from chasquimq._fast import encode_retry

    # The jitter is written out: without it the reference draws up to 100 ms.
    fill(host, port, queue, params["jobs"], retry=encode_retry(3, ("fixed", 1, None, None, 0)))


def _failing_once(tally: Tally, run: Run) -> Callable[[Any], None]:
    """Fails each job the first time that it is seen; the second runs are counted."""
    seen: set[str] = set()
    count = tally.handler()

    def handle(job: Any) -> None:
        if job.id in seen:
            count(job)
            return
        if not run.meter.has_started:
            run.meter.start()
        seen.add(job.id)
        raise RuntimeError("the remote service is away")

    return handle


def sync(run: Run) -> Outcome:
    import threading

    from chasquimq.sync import Worker

    done = threading.Event()
    tally = Tally(run, done.set)
    with Worker(run.queue, _failing_once(tally, run), connection=run.url, concurrency=CONCURRENCY):
        if not done.wait(FINISH_S):
            raise Void(f"only {len(tally.ids)} of {run.jobs} jobs were completed")
        cost = run.settled()
    tally.check()
    return Outcome(run.jobs, cost)


async def aio(run: Run) -> Outcome:
    import anyio

    from chasquimq.aio import Worker

    done = anyio.Event()
    tally = Tally(run, done.set)
    fail_once = _failing_once(tally, run)

    async def handle(job: Any) -> None:
        fail_once(job)

    async with Worker(run.queue, handle, connection=run.url, concurrency=CONCURRENCY):
        with anyio.fail_after(FINISH_S):
            await done.wait()
            while not run.probe.is_settled(run.tag):
                await anyio.sleep(0.001)
        cost = run.settled()
    tally.check()
    return Outcome(run.jobs, cost)


async def reference(run: Run) -> Outcome:
    import asyncio

    from chasquimq import Worker

    done = asyncio.Event()
    tally = Tally(run, done.set)
    fail_once = _failing_once(tally, run)

    async def handle(job: Any) -> None:
        fail_once(job)

    worker = Worker(run.queue, handle, redis_url=run.url, concurrency=CONCURRENCY)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(FINISH_S):
        await done.wait()
        while not run.probe.is_settled(run.tag):
            await asyncio.sleep(0.001)
    cost = run.settled()
    await worker.close()
    await running
    tally.check()
    return Outcome(run.jobs, cost)


CASES = (
    Case(
        "retry",
        "jobs that fail once and are retried after 1 ms, events on",
        params={"jobs": 20_000},
        quick={"jobs": 8_000},
        sides={"sync": sync, "aio": aio, "reference": reference},
        prepare=prepare,
    ),
)
