"""Adding one job after the other, each waited for."""

from __future__ import annotations

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.workload import frames

__all__ = ["CASES"]


def bare(run: Run) -> Outcome:
    from benchmarks.macro.bare import BareClient

    client = BareClient(run.host, run.port)
    requests = list(frames(run.queue, run.jobs, retry_safe=True))
    client.command(b"PING")
    run.meter.start()
    for request in requests:
        client.exchange(request)
    return Outcome(run.jobs, run.added())


def sync(run: Run, side: SyncSide) -> Outcome:
    with side:
        add = side.add
        run.meter.start()
        for number in range(run.jobs):
            add(number)
        return Outcome(run.jobs, run.added())


async def aio(run: Run, side: AioSide) -> Outcome:
    async with side:
        add = side.add
        run.meter.start()
        for number in range(run.jobs):
            await add(number)
        return Outcome(run.jobs, run.added())


CASES = (
    Case(
        "add",
        "add, one by one",
        params={"jobs": 10_000},
        quick={"jobs": 4_000},
        tiny={"jobs": 20},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        needs="add",
    ),
)
