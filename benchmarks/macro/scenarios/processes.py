"""One queue, 1, 2 and 4 worker processes, handlers that burn CPU: how the rate grows until Redis is the limit.

Each run measures all three, one after the other: from the moment when every process takes jobs to the last
acknowledgement. On a machine with fewer cores than processes and server together, the curve ends where the cores do.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.meter import Meter, Void, wait_for
from benchmarks.macro.workload import fill

__all__ = ["CASES"]

PROCESSES = (1, 2, 4)
CONCURRENCY = 10
POLL_S = 0.002
"""A single worker shares its process with whoever looks whether it is done."""


def _burn(turns: int) -> None:
    for _ in range(turns):
        pass


def _turns(cpu_ms: float) -> int:
    """How many turns of ``_burn`` cost so much CPU here; by the CPU's clock, because cores may be shared."""
    turns, spent_ms = 1_000, 0.0
    while spent_ms < 20:
        turns *= 2
        begun = time.thread_time()
        _burn(turns)
        spent_ms = (time.thread_time() - begun) * 1000
    return round(turns * cpu_ms / spent_ms)


class _Phase:
    """One number of processes; its handler counts in each of them, and writes the count down when the worker closes."""

    def __init__(self, run: Run, processes: int, turns: int, folder: str) -> None:
        fill(run.host, run.port, run.queue, run.jobs, with_group=processes == PROCESSES[0])
        self.processes = processes
        self.options = {
            "connection": run.url,
            "processes": processes,
            "start_method": "fork",
            "concurrency": CONCURRENCY,
            "events": False,
        }
        self._run = run
        self._turns = turns
        self._counter = itertools.count()
        self._file = Path(folder) / f"runs-{processes}"
        self._meter = Meter(run.probe)
        self._jobs_left = 0

    def handle(self, _job: Any) -> None:
        next(self._counter)
        if self._turns:
            _burn(self._turns)

    async def handle_as_task(self, job: Any) -> None:
        self.handle(job)

    def write(self) -> None:
        with self._file.open("a") as file:
            file.write(f"{next(self._counter)}\n")

    def begin(self) -> None:
        """All processes take jobs: what they have done by now does not count."""
        self._jobs_left = self._run.probe.call("XLEN", self._run.tag + b"stream")
        self._meter.start()

    def is_done(self) -> bool:
        return not self._run.waiting()

    def finish(self) -> dict[str, float]:
        """What it cost, and how much was done for it. Void unless enough jobs were left to measure."""
        cost = self._meter.stop()
        if self._jobs_left < self._run.jobs / 2:
            raise Void(f"only {self._jobs_left} of {self._run.jobs} jobs were left when all processes were there")
        return {**cost, "rate": self._jobs_left / cost["wall_s"]}

    def check(self) -> None:
        """Void unless the runs of all processes together are the jobs."""
        runs = sum(map(int, self._file.read_text().split()))
        if runs != self._run.jobs:
            raise Void(f"{self._run.jobs} jobs, {runs} runs")


def _phases(run: Run) -> Iterator[_Phase]:
    turns = _turns(run.params["cpu_ms"])
    with tempfile.TemporaryDirectory() as folder:
        for processes in PROCESSES:
            phase = _Phase(run, processes, turns, folder)
            yield phase
            phase.check()


def _outcome(run: Run, costs: dict[int, dict[str, float]]) -> Outcome:
    figures = {f"rate_{processes}": cost["rate"] for processes, cost in costs.items()}
    first, last = costs[PROCESSES[0]], costs[PROCESSES[-1]]
    figures["gain"] = last["rate"] / first["rate"]
    figures["busy_last"] = last["redis_cpu_s"] / last["wall_s"]
    return Outcome(run.jobs, last, figures)


def sync(run: Run, _side: SyncSide) -> Outcome:
    from chasquimq.sync import Worker

    costs = {}
    for phase in _phases(run):
        worker: Worker[Any, Any] = Worker(run.queue, phase.handle, **phase.options)
        worker.on("closed", phase.write)
        with worker:
            phase.begin()
            wait_for(phase.is_done, FINISH_S, "the last acknowledgement", POLL_S)
            costs[phase.processes] = phase.finish()
    return _outcome(run, costs)


async def aio(run: Run, side: AioSide) -> Outcome:
    from chasquimq.aio import Worker

    costs = {}
    for phase in _phases(run):
        worker: Worker[Any, Any] = Worker(run.queue, phase.handle_as_task, **phase.options)
        worker.on("closed", phase.write)
        async with worker:
            phase.begin()
            await side.loop.wait_for(phase.is_done, FINISH_S, "the last acknowledgement", POLL_S)
            costs[phase.processes] = phase.finish()
    return _outcome(run, costs)


def _case(cpu_ms: float, jobs: int, quick: int, tiny: int) -> Case:
    burnt = f"burn {cpu_ms:g} ms of CPU" if cpu_ms else "do nothing"
    return Case(
        f"processes-{cpu_ms:g}",
        f"1, 2 and 4 worker processes, handlers that {burnt}",
        params={"jobs": jobs, "cpu_ms": cpu_ms},
        quick={"jobs": quick},
        tiny={"jobs": tiny},
        floors={},
        sync=sync,
        aio=aio,
        figures=("rate_1", "rate_2", "rate_4", "gain", "busy_last"),
    )


CASES = (_case(0, 200_000, 60_000, 40_000), _case(0.1, 20_000, 8_000, 6_000), _case(1, 4_000, 2_000, 800))
