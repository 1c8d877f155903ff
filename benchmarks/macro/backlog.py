"""A worker empties a backlog: the part that scenarios share, for sides with threads and for sides with a loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from benchmarks.macro.case import FINISH_S, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.tally import Tally

__all__ = ["empty", "empty_async"]

MakeTally = Callable[[Run, Callable[[], Any]], Tally]


def empty(run: Run, side: SyncSide, make_tally: MakeTally) -> Outcome:
    """From the first handler to the last acknowledgement; void unless every job ended exactly once."""
    done = threading.Event()
    tally = make_tally(run, done.set)
    if side.fills_itself:
        with side:
            side.add_rows(side.rows(range(run.jobs)))
    with side.working(tally):
        if not done.wait(FINISH_S):
            raise tally.unfinished()
        cost = run.settled()
    tally.check()
    return Outcome(run.jobs, cost)


async def empty_async(run: Run, side: AioSide, make_tally: MakeTally) -> Outcome:
    """The same in an event loop."""
    done = side.loop.event()
    tally = make_tally(run, done.set)
    if side.fills_itself:
        async with side:
            await side.add_rows(side.rows(range(run.jobs)))
    async with side.working(tally):
        if not await side.loop.wait(done, FINISH_S):
            raise tally.unfinished()
        cost = await run.settled_async()
    tally.check()
    return Outcome(run.jobs, cost)
