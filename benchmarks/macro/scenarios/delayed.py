"""How late delayed jobs start: the start of the handler minus the instant at which the job was due."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run
from benchmarks.macro.faces import AioSide, Handling, SyncSide
from benchmarks.macro.meter import Void, percentile, wait_for
from benchmarks.macro.workload import fill

__all__ = ["CASES"]


def prepare(host: str, port: int, queue: str, _params: Mapping[str, Any]) -> None:
    fill(host, port, queue, 0)


class _Lateness(Handling):
    """The instants at which the jobs are due, by the job's number, and how late each one was."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.first_ms = time.time_ns() // 1_000_000 + run.params["lead_ms"]
        self.due_ms = [self.first_ms + number * run.params["spread_ms"] // run.jobs for number in range(run.jobs)]
        self.late_ms: list[float] = []
        self.numbers: list[int] = []

    def check_lead(self) -> None:
        """Void when the first job was due before the last one was added: then adding would be measured."""
        if time.time_ns() // 1_000_000 >= self.first_ms:
            raise Void("adding took longer than the first job's delay")

    def by_number(self) -> Callable[[int], None]:
        due_ms, note, note_number = self.due_ms, self.late_ms.append, self.numbers.append

        def handle(number: int) -> None:
            note(time.time_ns() / 1e6 - due_ms[number])
            note_number(number)

        return handle

    def is_done(self) -> bool:
        return len(self.numbers) >= self.run.jobs

    def outcome(self, cost: Mapping[str, float]) -> Outcome:
        jobs = self.run.jobs
        if len(self.numbers) != jobs or len(set(self.numbers)) != jobs:
            raise Void(f"{jobs} jobs, {len(self.numbers)} runs of {len(set(self.numbers))} different jobs")
        if self.run.params.get("strict", True) and min(self.late_ms) < 0:
            raise Void(f"a job ran {-min(self.late_ms):.3f} ms before it was due")
        figures = {
            "p50_ms": percentile(self.late_ms, 0.5),
            "p99_ms": percentile(self.late_ms, 0.99),
            "max_ms": max(self.late_ms),
        }
        return Outcome(jobs, cost, figures)


def bare(run: Run) -> Outcome:
    """A thread that sleeps until the next job is due and promotes, and a thread blocked in XREADGROUP."""
    import threading

    from benchmarks.macro.bare import BareClient, Consumption
    from benchmarks.macro.bare_moves import Promotion

    lateness = _Lateness(run)
    promotion = Promotion(BareClient(run.host, run.port), run.tag)
    promotion.delay(lateness.due_ms)
    lateness.check_lead()
    reading = BareClient(run.host, run.port)
    consumption = Consumption(reading, run.tag, events=False)
    note = lateness.by_number()

    def read() -> None:
        while not lateness.is_done():
            reply = reading.exchange(consumption.read)[0]
            entries = reply[0][1] if reply else []
            if not entries:
                continue
            for entry in entries:
                note(int(entry[1][1][2:28]))
            reading.exchange(*consumption.acknowledge([entry[0] for entry in entries], []))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    run.meter.start()
    promotion.run_until_empty()
    thread.join(FINISH_S)
    return lateness.outcome(run.settled())


def sync(run: Run, side: SyncSide) -> Outcome:
    lateness = _Lateness(run)
    with side, side.working(lateness):
        run.meter.start()
        side.add_late(lateness.due_ms)
        lateness.check_lead()
        wait_for(lateness.is_done, FINISH_S, "the last job")
        return lateness.outcome(run.settled())


async def aio(run: Run, side: AioSide) -> Outcome:
    lateness = _Lateness(run)
    async with side, side.working(lateness):
        run.meter.start()
        await side.add_late(lateness.due_ms)
        lateness.check_lead()
        await side.loop.wait_for(lateness.is_done, FINISH_S, "the last job")
        return lateness.outcome(await run.settled_async())


def _case(jobs: int, lead_ms: int) -> Case:
    return Case(
        f"delayed-{jobs}",
        f"lateness of {jobs:,} delayed jobs, due within two seconds",
        params={"jobs": jobs, "lead_ms": lead_ms, "spread_ms": 2_000},
        quick={},
        tiny={"jobs": 20, "lead_ms": 600, "spread_ms": 200},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        needs="delay" if jobs <= 1_000 else "delay-many",
        figures=("p50_ms", "p99_ms", "max_ms"),
        prepare=prepare,
    )


CASES = (_case(1_000, 2_000), _case(20_000, 6_000))
