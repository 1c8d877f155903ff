"""A worker empties a backlog with a handler that does nothing: from the first handler to the last acknowledgement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run, Tally
from benchmarks.macro.meter import Void
from benchmarks.macro.workload import fill

__all__ = ["CASES"]

CONCURRENCY = 100


def prepare(host: str, port: int, queue: str, params: Mapping[str, Any]) -> None:
    fill(host, port, queue, params["jobs"])


def _bare(run: Run, ahead: int) -> Outcome:
    from benchmarks.macro.bare import BareClient, Consumption

    client = BareClient(run.host, run.port)
    consumption = Consumption(client, run.tag, events=run.params["events"])
    tally = Tally(run, lambda: None)
    run.meter.start()
    tally.ids += [job_id.decode() for job_id in consumption.run(run.jobs, ahead)]
    cost = run.settled()
    tally.check()
    return Outcome(run.jobs, cost)


def bare(run: Run) -> Outcome:
    return _bare(run, 1)


def overlapped(run: Run) -> Outcome:
    """With two reads under way, so that the server never waits for the client."""
    return _bare(run, 2)


def sync(run: Run) -> Outcome:
    import threading

    from chasquimq.sync import Worker

    done = threading.Event()
    tally = Tally(run, done.set)
    handle = tally.handler()

    def handle_with_result(job: Any) -> int:
        handle(job)
        return 1

    results = run.params["results"]
    with Worker(
        run.queue,
        handle_with_result if results else handle,
        connection=run.url,
        concurrency=CONCURRENCY,
        events=run.params["events"],
        store_results=results,
    ):
        if not done.wait(FINISH_S):
            raise Void(f"only {len(tally.ids)} of {run.jobs} jobs were handled")
        cost = run.settled()
    tally.check()
    return Outcome(run.jobs, cost)


async def aio(run: Run) -> Outcome:
    import anyio

    from chasquimq.aio import Worker

    done = anyio.Event()
    tally = Tally(run, done.set)
    count = tally.handler()

    async def handle(job: Any) -> None:
        count(job)

    async def handle_with_result(job: Any) -> int:
        count(job)
        return 1

    results = run.params["results"]
    async with Worker(
        run.queue,
        handle_with_result if results else handle,
        connection=run.url,
        concurrency=CONCURRENCY,
        events=run.params["events"],
        store_results=results,
    ):
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
    count = tally.handler()

    async def handle(job: Any) -> None:
        count(job)

    async def handle_with_result(job: Any) -> int:
        count(job)
        return 1

    results = run.params["results"]
    worker = Worker(
        run.queue,
        handle_with_result if results else handle,
        redis_url=run.url,
        concurrency=CONCURRENCY,
        events_enabled=run.params["events"],
        store_results=results,
    )
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


_WORKERS = {"sync": sync, "aio": aio, "reference": reference}
_SIDES = {"bare": bare, "overlapped": overlapped, **_WORKERS}

CASES = (
    Case(
        "consume",
        "consume, no-op handler, no events",
        params={"jobs": 100_000, "events": False, "results": False},
        quick={"jobs": 40_000},
        sides=_SIDES,
        prepare=prepare,
    ),
    Case(
        "consume-events",
        "consume, no-op handler, events on (the default)",
        params={"jobs": 60_000, "events": True, "results": False},
        quick={"jobs": 30_000},
        sides=_SIDES,
        prepare=prepare,
    ),
    Case(
        "consume-results",
        "consume, events on, every result stored",
        params={"jobs": 40_000, "events": True, "results": True},
        quick={"jobs": 20_000},
        sides=_WORKERS,
        prepare=prepare,
    ),
)
