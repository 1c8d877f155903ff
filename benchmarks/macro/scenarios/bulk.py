"""add_bulk: many calls of a few rows, and one call of many."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.workload import NAME, frames, payload

__all__ = ["CASES"]

AHEAD = 3


def _writes(run: Run) -> list[tuple[bytes, int]]:
    rows = min(run.params["rows"], 1000)
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


def _calls(run: Run) -> Iterator[list[tuple[str, Any]]]:
    rows = run.params["rows"]
    for first in range(0, run.jobs, rows):
        yield [(NAME, payload(number)) for number in range(first, min(first + rows, run.jobs))]


def _prepared(calls: list[Any]) -> list[Any]:
    """Rows made beforehand are not the library's: the garbage collector shall not walk them during the run."""
    gc.collect()
    gc.freeze()
    return calls


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Queue

    with Queue(run.queue, connection=run.url) as queue:
        queue.peek_dlq(1)
        if run.params["rows"] >= run.jobs:
            rows = ((NAME, payload(number)) for number in range(run.jobs))
            run.meter.start()
            queue.add_bulk(rows, return_jobs=False)
        else:
            calls = _prepared(list(_calls(run)))
            run.meter.start()
            for call in calls:
                queue.add_bulk(call)
        return Outcome(run.jobs, run.added())


async def aio(run: Run) -> Outcome:
    from chasquimq.aio import Queue

    async with Queue(run.queue, connection=run.url) as queue:
        await queue.peek_dlq(1)
        if run.params["rows"] >= run.jobs:
            rows = ((NAME, payload(number)) for number in range(run.jobs))
            run.meter.start()
            await queue.add_bulk(rows, return_jobs=False)
        else:
            calls = _prepared(list(_calls(run)))
            run.meter.start()
            for call in calls:
                await queue.add_bulk(call)
        return Outcome(run.jobs, run.added())


async def reference(run: Run) -> Outcome:
    from chasquimq import Queue

    queue = Queue(run.queue, redis_url=run.url, max_stream_len=2 * run.jobs)
    await queue.peek_dlq(1)
    # It takes dicts, and one call takes all of them: its rows cannot come from a generator.
    calls = _prepared([[{"name": name, "data": data} for name, data in call] for call in _calls(run)])
    run.meter.start()
    for call in calls:
        await queue.add_bulk(call)
    outcome = Outcome(run.jobs, run.added())
    await queue.close()
    return outcome


_SIDES = {"pipelined": pipelined, "overlapped": overlapped, "sync": sync, "aio": aio, "reference": reference}

CASES = (
    Case(
        "bulk-50",
        "add_bulk, 50 rows a call",
        params={"jobs": 60_000, "rows": 50},
        quick={"jobs": 30_000},
        sides=_SIDES,
    ),
    Case(
        "bulk-1000",
        "add_bulk, 1,000 rows a call",
        params={"jobs": 100_000, "rows": 1000},
        quick={"jobs": 50_000},
        sides=_SIDES,
    ),
    Case(
        "bulk-million",
        "add_bulk, one call of a million rows from a generator",
        params={"jobs": 1_000_000, "rows": 1_000_000},
        quick={},
        sides=_SIDES,
        optional=True,
    ),
)
