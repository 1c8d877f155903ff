"""add_bulk: many calls of a few rows, and one call of many."""

from __future__ import annotations

import gc
from typing import Any

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.workload import frames

__all__ = ["CASES"]

AHEAD = 3
ROWS_PER_WRITE = 1000


def _writes(run: Run) -> list[tuple[bytes, int]]:
    rows = min(run.params["rows"], ROWS_PER_WRITE)
    requests = list(frames(run.queue, run.jobs))
    parts = [requests[start : start + rows] for start in range(0, run.jobs, rows)]
    return [(b"".join(part), len(part)) for part in parts]


def pipelined(run: Run) -> Outcome:
    """The same bytes, one write per call (of at most 1,000 rows), each waited for."""
    from benchmarks.macro.bare import BareClient

    client = BareClient(run.host, run.port)
    writes = _writes(run)
    client.command(b"PING")
    run.meter.start()
    for write, replies in writes:
        client.exchange(write, replies)
    return Outcome(run.jobs, run.added())


def overlapped(run: Run) -> Outcome:
    """The same bytes with three writes under way: the server never waits for the client."""
    from benchmarks.macro.bare import BareClient

    client = BareClient(run.host, run.port)
    writes = _writes(run)
    client.command(b"PING")
    run.meter.start()
    for position, (write, _) in enumerate(writes):
        client.send(write)
        if position >= AHEAD:
            client.receive(writes[position - AHEAD][1])
    for _, replies in writes[-AHEAD:]:
        client.receive(replies)
    return Outcome(run.jobs, run.added())


def _calls(run: Run, side: SyncSide | AioSide) -> list[Any]:
    """What each call is given, made beforehand."""
    rows = run.params["rows"]
    calls = [side.rows(range(first, min(first + rows, run.jobs))) for first in range(0, run.jobs, rows)]
    # These rows are not the library's: the garbage collector shall not walk them during the run.
    gc.collect()
    gc.freeze()
    return calls


def sync(run: Run, side: SyncSide) -> Outcome:
    with side:
        calls = _calls(run, side)
        run.meter.start()
        for call in calls:
            side.add_rows(call)
        return Outcome(run.jobs, run.added())


async def aio(run: Run, side: AioSide) -> Outcome:
    async with side:
        calls = _calls(run, side)
        run.meter.start()
        for call in calls:
            await side.add_rows(call)
        return Outcome(run.jobs, run.added())


def _case(name: str, title: str, jobs: int, rows: int, quick: int, tiny: int, optional: bool = False) -> Case:
    return Case(
        name,
        title,
        params={"jobs": jobs, "rows": rows},
        quick={"jobs": quick},
        tiny={"jobs": tiny, "rows": tiny // 2},
        floors={"pipelined": pipelined, "overlapped": overlapped},
        sync=sync,
        aio=aio,
        needs="bulk",
        optional=optional,
    )


CASES = (
    _case("bulk-50", "add_bulk, 50 rows a call", 60_000, 50, 30_000, 20),
    _case("bulk-1000", "add_bulk, 1,000 rows a call", 100_000, 1000, 50_000, 40),
    _case(
        "bulk-million",
        "add_bulk, one call of a million rows from a generator",
        1_000_000,
        1_000_000,
        200_000,
        60,
        optional=True,
    ),
)
