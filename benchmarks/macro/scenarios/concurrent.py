"""Many tasks or threads that add at the same time, each waiting for its own answers."""

from __future__ import annotations

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.workload import frames

__all__ = ["CASES"]


def pipelined(run: Run) -> Outcome:
    """What the server makes of it when somebody sends a hundred adds at a time."""
    from benchmarks.macro.bare import BareClient

    client = BareClient(run.host, run.port)
    tasks = run.params["tasks"]
    requests = list(frames(run.queue, run.jobs, retry_safe=True))
    parts = [requests[start : start + tasks] for start in range(0, run.jobs, tasks)]
    writes = [(b"".join(part), len(part)) for part in parts]
    client.command(b"PING")
    run.meter.start()
    for write, replies in writes:
        client.exchange(write, replies)
    return Outcome(run.jobs, run.added())


def sync(run: Run, side: SyncSide) -> Outcome:
    """With a thread for each; more threads than cores mostly wait for one another."""
    from concurrent.futures import ThreadPoolExecutor

    tasks = run.params["tasks"]

    def add_some(first: int) -> None:
        for number in range(first, run.jobs, tasks):
            side.add(number)

    with side, ThreadPoolExecutor(tasks) as threads:
        run.meter.start()
        for done in [threads.submit(add_some, first) for first in range(tasks)]:
            done.result()
        return Outcome(run.jobs, run.added())


async def aio(run: Run, side: AioSide) -> Outcome:
    tasks = run.params["tasks"]

    async def add_some(first: int) -> None:
        for number in range(first, run.jobs, tasks):
            await side.add(number)

    async with side:
        run.meter.start()
        await side.loop.together([add_some(first) for first in range(tasks)])
        return Outcome(run.jobs, run.added())


CASES = (
    Case(
        "add-100",
        "add, 100 in flight",
        params={"jobs": 30_000, "tasks": 100},
        quick={"jobs": 12_000},
        tiny={"jobs": 40, "tasks": 10},
        floors={"pipelined-100": pipelined},
        sync=sync,
        aio=aio,
        needs="concurrent",
        notes=("sync and other libraries with threads: 100 threads",),
    ),
)
