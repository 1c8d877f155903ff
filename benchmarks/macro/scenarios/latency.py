"""From the call of ``add`` to the start of the handler, on a worker that has nothing else to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run
from benchmarks.macro.meter import Void, percentile, wait_for
from benchmarks.macro.workload import NAME, fill, frames

__all__ = ["CASES"]

PAUSE_S = 0.005
SETTLE_S = 0.5


def prepare(host: str, port: int, queue: str, _params: Mapping[str, Any]) -> None:
    fill(host, port, queue, 0)


class _Latencies:
    """Sent and started, by the job's number."""

    def __init__(self, jobs: int) -> None:
        self.sent = [0.0] * jobs
        self.started = [0.0] * jobs
        self.runs = 0

    def handler(self) -> Callable[[Any], None]:
        def handle(job: Any) -> None:
            self.started[job.data["n"]] = time.perf_counter()
            self.runs += 1

        return handle

    def outcome(self, run: Run) -> Outcome:
        cost = run.meter.stop()
        if self.runs != run.jobs or not all(self.started):
            raise Void(f"{run.jobs} jobs, {self.runs} runs")
        waits = [(start - sent) * 1000 for sent, start in zip(self.sent, self.started, strict=True)]
        return Outcome(run.jobs, cost, {"p50_ms": percentile(waits, 0.5), "p99_ms": percentile(waits, 0.99)})


def bare(run: Run) -> Outcome:
    """A thread blocked in XREADGROUP and a thread that sends XADD."""
    import threading

    from benchmarks.macro.bare import BareClient, Consumption

    latencies = _Latencies(run.jobs)
    reading = BareClient(run.host, run.port)
    consumption = Consumption(reading, run.tag, events=False)

    def read() -> None:
        for number in range(run.jobs):
            entry = reading.exchange(consumption.read)[0][0][1][0]
            latencies.started[number] = time.perf_counter()
            reading.exchange(*consumption.acknowledge([entry[0]], []))
            latencies.runs += 1

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    client = BareClient(run.host, run.port)
    requests = list(frames(run.queue, run.jobs, retry_safe=True))
    time.sleep(SETTLE_S)
    run.meter.start()
    for number, request in enumerate(requests):
        latencies.sent[number] = time.perf_counter()
        client.exchange(request)
        time.sleep(PAUSE_S)
    thread.join(FINISH_S)
    return latencies.outcome(run)


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Queue, Worker

    latencies = _Latencies(run.jobs)
    with (
        Queue(run.queue, connection=run.url) as queue,
        Worker(run.queue, latencies.handler(), connection=run.url),
    ):
        time.sleep(SETTLE_S)
        run.meter.start()
        for number in range(run.jobs):
            latencies.sent[number] = time.perf_counter()
            queue.add(NAME, {"n": number})
            time.sleep(PAUSE_S)
        wait_for(lambda: latencies.runs >= run.jobs, FINISH_S, "the last job")
        return latencies.outcome(run)


async def aio(run: Run) -> Outcome:
    import anyio

    from chasquimq.aio import Queue, Worker

    latencies = _Latencies(run.jobs)
    note = latencies.handler()

    async def handle(job: Any) -> None:
        note(job)

    async with Queue(run.queue, connection=run.url) as queue, Worker(run.queue, handle, connection=run.url):
        await anyio.sleep(SETTLE_S)
        run.meter.start()
        for number in range(run.jobs):
            latencies.sent[number] = time.perf_counter()
            await queue.add(NAME, {"n": number})
            await anyio.sleep(PAUSE_S)
        with anyio.fail_after(FINISH_S):
            while latencies.runs < run.jobs:
                await anyio.sleep(PAUSE_S)
        return latencies.outcome(run)


async def reference(run: Run) -> Outcome:
    import asyncio

    from chasquimq import Queue, Worker

    latencies = _Latencies(run.jobs)
    note = latencies.handler()

    async def handle(job: Any) -> None:
        note(job)

    queue = Queue(run.queue, redis_url=run.url)
    worker = Worker(run.queue, handle, redis_url=run.url)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(SETTLE_S)
    run.meter.start()
    for number in range(run.jobs):
        latencies.sent[number] = time.perf_counter()
        await queue.add(NAME, {"n": number})
        await asyncio.sleep(PAUSE_S)
    async with asyncio.timeout(FINISH_S):
        while latencies.runs < run.jobs:
            await asyncio.sleep(PAUSE_S)
    outcome = latencies.outcome(run)
    await worker.close()
    await running
    return outcome


CASES = (
    Case(
        "latency",
        "from add to the start of the handler, idle worker, events on",
        params={"jobs": 1_000},
        quick={"jobs": 300},
        sides={"bare": bare, "sync": sync, "aio": aio, "reference": reference},
        figures=("p50_ms", "p99_ms"),
        prepare=prepare,
    ),
)
