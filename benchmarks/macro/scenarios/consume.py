"""A worker empties a backlog with a handler that does nothing: from the first handler to the last acknowledgement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.macro.backlog import empty, empty_async
from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.tally import Tally
from benchmarks.macro.workload import fill

__all__ = ["CASES"]


def prepare(host: str, port: int, queue: str, params: Mapping[str, Any]) -> None:
    fill(host, port, queue, params["jobs"])


def _bare(run: Run, ahead: int) -> Outcome:
    from benchmarks.macro.bare import BareClient, Consumption

    client = BareClient(run.host, run.port)
    consumption = Consumption(client, run.tag, events=run.params["events"], results=run.params["results"])
    tally = Tally(run, lambda: None)
    run.meter.start()
    tally.seen += consumption.run(run.jobs, ahead)
    cost = run.settled()
    tally.check()
    return Outcome(run.jobs, cost)


def bare(run: Run) -> Outcome:
    return _bare(run, 1)


def overlapped(run: Run) -> Outcome:
    """With two reads under way, so that the server never waits for the client."""
    return _bare(run, 2)


def sync(run: Run, side: SyncSide) -> Outcome:
    return empty(run, side, Tally)


async def aio(run: Run, side: AioSide) -> Outcome:
    return await empty_async(run, side, Tally)


def _case(name: str, title: str, jobs: int, quick: int, needs: str, *, events: bool, results: bool = False) -> Case:
    return Case(
        name,
        title,
        params={"jobs": jobs, "events": events, "results": results},
        quick={"jobs": quick},
        tiny={"jobs": 40},
        floors={"bare": bare, "overlapped": overlapped},
        sync=sync,
        aio=aio,
        prepare=prepare,
        needs=needs,
    )


CASES = (
    _case("consume", "consume, no-op handler, no events", 100_000, 40_000, "consume", events=False),
    _case(
        "consume-events",
        "consume, no-op handler, events on (the default)",
        60_000,
        30_000,
        "consume-events",
        events=True,
    ),
    _case(
        "consume-results",
        "consume, events on, every result stored",
        40_000,
        20_000,
        "results",
        events=True,
        results=True,
    ),
)
