"""Whether a worker grows: its memory while it runs a million jobs that arrive in portions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run
from benchmarks.macro.faces import AioSide, Handling, SyncSide
from benchmarks.macro.meter import Void, wait_for
from benchmarks.macro.workload import fill

__all__ = ["CASES"]


def prepare(host: str, port: int, queue: str, _params: Mapping[str, Any]) -> None:
    fill(host, port, queue, 0)


class _Count(Handling):
    """How many jobs have run; keeps nothing else, because what it kept would be the growth."""

    def __init__(self) -> None:
        self.runs = 0

    def by_number(self) -> Callable[[int], None]:
        return self.by_job()

    def by_job(self) -> Callable[[Any], None]:
        def handle(_job: Any) -> None:
            self.runs += 1

        return handle


class _Growth:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._samples: list[int] = []
        self.portions = [run.params["portion"]] * (run.jobs // run.params["portion"])
        run.meter.start()

    def filling(self, count: int) -> threading.Thread:
        """Adds a portion in a thread, so that an event loop can go on."""
        run = self._run
        thread = threading.Thread(
            target=fill, args=(run.host, run.port, run.queue, count), kwargs={"with_group": False}
        )
        thread.start()
        return thread

    def sample(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self._samples.append(pages * os.sysconf("SC_PAGE_SIZE") // 1024)

    def outcome(self, runs: int, cost: Mapping[str, float]) -> Outcome:
        if runs != self._run.jobs:
            raise Void(f"{self._run.jobs} jobs, {runs} runs")
        # The first tenth is warm-up: buffers and caches reach their size.
        warm = self._samples[len(self._samples) // 10 :]
        return Outcome(runs, cost, {"growth_kib": warm[-1] - warm[0], "last_mib": warm[-1] / 1024})


def bare(run: Run) -> Outcome:
    from benchmarks.macro.bare import BareClient, Consumption

    growth, runs = _Growth(run), 0
    consumption = Consumption(BareClient(run.host, run.port), run.tag, events=True)
    for portion in growth.portions:
        growth.filling(portion).join()
        runs += len(consumption.run(portion))
        growth.sample()
    return growth.outcome(runs, run.settled())


def sync(run: Run, side: SyncSide) -> Outcome:
    count, growth = _Count(), _Growth(run)
    with side.working(count):
        for portion in growth.portions:
            growth.filling(portion).join()
            wait_for(lambda: not run.waiting(), FINISH_S, "the end of a portion")
            growth.sample()
        return growth.outcome(count.runs, run.settled())


async def aio(run: Run, side: AioSide) -> Outcome:
    count, growth = _Count(), _Growth(run)
    async with side.working(count):
        for portion in growth.portions:
            filling = growth.filling(portion)
            await side.loop.wait_for(
                lambda filling=filling: not filling.is_alive() and not run.waiting(), FINISH_S, "the end of a portion"
            )
            growth.sample()
        return growth.outcome(count.runs, await run.settled_async())


CASES = (
    Case(
        "rss",
        "growth of a worker over a million jobs",
        params={"jobs": 1_000_000, "portion": 20_000},
        quick={"jobs": 200_000, "portion": 10_000},
        tiny={"jobs": 60, "portion": 20},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        figures=("growth_kib", "last_mib", "rate"),
        prepare=prepare,
        optional=True,
    ),
)
