"""What a worker costs that has nothing to do."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.macro.case import Case, Outcome, Run

__all__ = ["CASES"]


def _counts(run: Run) -> tuple[int, int]:
    return run.probe.commands(), run.probe.foreign_requests()


def _outcome(run: Run, before: tuple[int, int]) -> Outcome:
    cost = run.meter.stop()
    commands, requests = (now - then for now, then in zip(_counts(run), before, strict=True))
    figures = {
        "commands_per_s": commands / cost["wall_s"],
        "requests_per_s": requests / cost["wall_s"],
        "cpu_ms_per_s": cost["client_cpu_s"] * 1000 / cost["wall_s"],
        "redis_ms_per_s": cost["redis_cpu_s"] * 1000 / cost["wall_s"],
    }
    return Outcome(0, cost, figures)


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Worker

    with Worker(run.queue, lambda _job: None, connection=run.url):
        time.sleep(run.params["settle_s"])
        before = _counts(run)
        run.meter.start()
        time.sleep(run.params["window_s"])
        return _outcome(run, before)


async def _nothing(_job: Any) -> None:
    return None


async def aio(run: Run) -> Outcome:
    import anyio

    from chasquimq.aio import Worker

    async with Worker(run.queue, _nothing, connection=run.url):
        await anyio.sleep(run.params["settle_s"])
        before = _counts(run)
        run.meter.start()
        await anyio.sleep(run.params["window_s"])
        return _outcome(run, before)


async def reference(run: Run) -> Outcome:
    import asyncio

    from chasquimq import Worker

    worker = Worker(run.queue, _nothing, redis_url=run.url)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(run.params["settle_s"])
    before = _counts(run)
    run.meter.start()
    await asyncio.sleep(run.params["window_s"])
    outcome = _outcome(run, before)
    await worker.close()
    await running
    return outcome


CASES = (
    Case(
        "idle",
        "an idle worker",
        params={"settle_s": 2, "window_s": 15},
        quick={"window_s": 6},
        sides={"sync": sync, "aio": aio, "reference": reference},
        figures=("cpu_ms_per_s", "commands_per_s", "requests_per_s", "redis_ms_per_s"),
    ),
)
