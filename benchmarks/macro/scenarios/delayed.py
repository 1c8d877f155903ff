"""How late delayed jobs start: the start of the handler minus the instant at which the job was due."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run
from benchmarks.macro.meter import Void, percentile, wait_for
from benchmarks.macro.workload import NAME

__all__ = ["CASES"]

CONCURRENCY = 100


class _Lateness:
    """The instants at which the jobs are due, and how late each one was."""

    def __init__(self, run: Run) -> None:
        self.first_ms = time.time_ns() // 1_000_000 + run.params["lead_ms"]
        self.due_ms = [self.first_ms + number * run.params["spread_ms"] // run.jobs for number in range(run.jobs)]
        self.late_ms: list[float] = []
        self.numbers: list[int] = []

    def row(self, number: int) -> tuple[str, dict[str, int], datetime]:
        due = self.due_ms[number]
        return NAME, {"n": number, "due": due}, datetime.fromtimestamp(due / 1000, UTC)

    def check_lead(self) -> None:
        """Void when the first job was due before the last one was added: then adding would be measured."""
        if time.time_ns() // 1_000_000 >= self.first_ms:
            raise Void("adding took longer than the first job's delay")

    def handler(self) -> Callable[[Any], None]:
        note, number = self.late_ms.append, self.numbers.append

        def handle(job: Any) -> None:
            note(time.time_ns() / 1e6 - job.data["due"])
            number(job.data["n"])

        return handle

    def outcome(self, run: Run) -> Outcome:
        cost = run.meter.stop()
        if len(self.numbers) != run.jobs or len(set(self.numbers)) != run.jobs:
            raise Void(f"{run.jobs} jobs, {len(self.numbers)} runs of {len(set(self.numbers))} different jobs")
        if min(self.late_ms) < 0:
            raise Void(f"a job ran {-min(self.late_ms):.3f} ms before it was due")
        figures = {
            "p50_ms": percentile(self.late_ms, 0.5),
            "p99_ms": percentile(self.late_ms, 0.99),
            "max_ms": max(self.late_ms),
        }
        return Outcome(run.jobs, cost, figures)


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Queue, Worker

    lateness = _Lateness(run)
    with (
        Queue(run.queue, connection=run.url) as queue,
        Worker(run.queue, lateness.handler(), connection=run.url, concurrency=CONCURRENCY, events=False),
    ):
        run.meter.start()
        rows = (lateness.row(number) for number in range(run.jobs))
        queue.add_bulk([(name, data, {"delay": due}) for name, data, due in rows])
        lateness.check_lead()
        wait_for(lambda: len(lateness.numbers) >= run.jobs, FINISH_S, "the last job")
        run.settled()
        return lateness.outcome(run)


async def aio(run: Run) -> Outcome:
    import anyio

    from chasquimq.aio import Queue, Worker

    lateness = _Lateness(run)
    note = lateness.handler()

    async def handle(job: Any) -> None:
        note(job)

    async with (
        Queue(run.queue, connection=run.url) as queue,
        Worker(run.queue, handle, connection=run.url, concurrency=CONCURRENCY, events=False),
    ):
        run.meter.start()
        rows = (lateness.row(number) for number in range(run.jobs))
        await queue.add_bulk([(name, data, {"delay": due}) for name, data, due in rows])
        lateness.check_lead()
        with anyio.fail_after(FINISH_S):
            # The last acknowledgement is for the event loop to write: settled() would not let it.
            while len(lateness.numbers) < run.jobs or not run.probe.is_settled(run.tag):
                await anyio.sleep(0.005)
        run.settled()
        return lateness.outcome(run)


async def reference(run: Run) -> Outcome:
    import asyncio

    from chasquimq import Queue, Worker

    lateness = _Lateness(run)
    note = lateness.handler()

    async def handle(job: Any) -> None:
        note(job)

    async def add_some(first: int) -> None:
        for number in range(first, run.jobs, 100):
            name, data, due = lateness.row(number)
            await queue.add(name, data, delay_ms=due)

    queue = Queue(run.queue, redis_url=run.url)
    worker = Worker(run.queue, handle, redis_url=run.url, concurrency=CONCURRENCY, events_enabled=False)
    running = asyncio.create_task(worker.run())
    run.meter.start()
    # Its add_bulk takes one delay for all rows; a hundred adds at a time are its fastest way.
    await asyncio.gather(*(add_some(first) for first in range(100)))
    lateness.check_lead()
    async with asyncio.timeout(FINISH_S):
        while len(lateness.numbers) < run.jobs or not run.probe.is_settled(run.tag):
            await asyncio.sleep(0.005)
    run.settled()
    outcome = lateness.outcome(run)
    await worker.close()
    await running
    return outcome


_SIDES = {"sync": sync, "aio": aio, "reference": reference}

CASES = (
    Case(
        "delayed-1000",
        "lateness of 1,000 delayed jobs, due within two seconds",
        params={"jobs": 1_000, "lead_ms": 1_000, "spread_ms": 2_000},
        quick={},
        sides=_SIDES,
        figures=("p50_ms", "p99_ms", "max_ms"),
    ),
    Case(
        "delayed-20000",
        "lateness of 20,000 delayed jobs, due within two seconds",
        params={"jobs": 20_000, "lead_ms": 6_000, "spread_ms": 2_000},
        quick={"lead_ms": 5_000},
        sides=_SIDES,
        figures=("p50_ms", "p99_ms", "max_ms"),
    ),
)
