"""Whether a worker grows: its memory while it runs a million jobs that arrive in portions."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from benchmarks.macro.case import FINISH_S, Case, Outcome, Run
from benchmarks.macro.meter import wait_for
from benchmarks.macro.workload import fill

__all__ = ["CASES"]


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _outcome(run: Run, samples: list[int]) -> Outcome:
    # The first tenth is warm-up: buffers and caches reach their size.
    warm = samples[len(samples) // 10 :]
    figures = {"growth_kib": warm[-1] - warm[0], "last_mib": warm[-1] / 1024}
    return Outcome(run.jobs, run.settled(), figures)


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Worker

    handled = itertools.count()
    portion, samples = run.params["portion"], []
    with Worker(run.queue, lambda _job: next(handled), connection=run.url):
        run.meter.start()
        for _ in range(run.jobs // portion):
            _fill(run, portion)
            wait_for(lambda: run.probe.is_settled(run.tag), FINISH_S, "the end of a portion")
            samples.append(_resident_kib())
        return _outcome(run, samples)


async def aio(run: Run) -> Outcome:
    import anyio

    from chasquimq.aio import Worker

    portion, samples = run.params["portion"], []

    async def handle(_job: object) -> None:
        return None

    async with Worker(run.queue, handle, connection=run.url):
        run.meter.start()
        for _ in range(run.jobs // portion):
            await anyio.to_thread.run_sync(_fill, run, portion)
            while not run.probe.is_settled(run.tag):
                await anyio.sleep(0.01)
            samples.append(_resident_kib())
        return _outcome(run, samples)


def _fill(run: Run, portion: int) -> None:
    # The worker has made the group.
    fill(run.host, run.port, run.queue, portion, with_group=False)


CASES = (
    Case(
        "rss",
        "growth of a worker over a million jobs",
        params={"jobs": 1_000_000, "portion": 20_000},
        quick={"jobs": 200_000, "portion": 10_000},
        sides={"sync": sync, "aio": aio},
        figures=("growth_kib", "last_mib", "rate"),
        optional=True,
    ),
)
