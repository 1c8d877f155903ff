"""From the call of ``add`` to the start of the handler, on a worker that has nothing else to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run
from benchmarks.macro.faces import AioSide, Handling, SyncSide
from benchmarks.macro.meter import Void, percentile, wait_for
from benchmarks.macro.workload import fill, frames

__all__ = ["CASES"]

PAUSE_S = 0.005
SETTLE_S = 0.5


def prepare(host: str, port: int, queue: str, _params: Mapping[str, Any]) -> None:
    fill(host, port, queue, 0)


class _Latencies(Handling):
    """Sent and started, by the job's number."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sent = [0.0] * run.jobs
        self.started = [0.0] * run.jobs
        self.runs = 0

    def by_number(self) -> Callable[[int], None]:
        def handle(number: int) -> None:
            self.started[number] = time.perf_counter()
            self.runs += 1

        return handle

    def outcome(self, cost: Mapping[str, float]) -> Outcome:
        run = self.run
        if self.runs != run.jobs or not all(self.started):
            raise Void(f"{run.jobs} jobs, {self.runs} runs")
        waits = [(start - sent) * 1000 for sent, start in zip(self.sent, self.started, strict=True)]
        figures = {"p50_ms": percentile(waits, 0.5), "p99_ms": percentile(waits, 0.99), "max_ms": max(waits)}
        return Outcome(run.jobs, cost, figures)


def bare(run: Run) -> Outcome:
    """A thread blocked in XREADGROUP and a thread that sends XADD."""
    import threading

    from benchmarks.macro.bare import BareClient, Consumption

    latencies = _Latencies(run)
    reading = BareClient(run.host, run.port)
    consumption = Consumption(reading, run.tag, events=False)
    note = latencies.by_number()

    def read() -> None:
        for number in range(run.jobs):
            entry = reading.exchange(consumption.read)[0][0][1][0]
            note(number)
            reading.exchange(*consumption.acknowledge([entry[0]], []))

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
    return latencies.outcome(run.settled())


def sync(run: Run, side: SyncSide) -> Outcome:
    latencies = _Latencies(run)
    with side, side.working(latencies):
        time.sleep(SETTLE_S)
        run.meter.start()
        for number in range(run.jobs):
            latencies.sent[number] = time.perf_counter()
            side.add(number)
            time.sleep(PAUSE_S)
            # A slow worker is waited for: it is to be idle when the next job comes.
            wait_for(lambda number=number: latencies.started[number], FINISH_S, f"job {number}")
        return latencies.outcome(run.settled())


async def aio(run: Run, side: AioSide) -> Outcome:
    latencies = _Latencies(run)
    async with side, side.working(latencies):
        await side.loop.sleep(SETTLE_S)
        run.meter.start()
        for number in range(run.jobs):
            latencies.sent[number] = time.perf_counter()
            await side.add(number)
            await side.loop.sleep(PAUSE_S)
            await side.loop.wait_for(lambda number=number: bool(latencies.started[number]), FINISH_S, f"job {number}")
        return latencies.outcome(await run.settled_async())


CASES = (
    Case(
        "latency",
        "from add to the start of the handler, idle worker, events on",
        params={"jobs": 1_000},
        quick={"jobs": 300},
        tiny={"jobs": 5},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        needs="latency",
        figures=("p50_ms", "p99_ms", "max_ms"),
        prepare=prepare,
    ),
)
