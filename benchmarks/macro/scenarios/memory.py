"""What a waiting job takes in the server's memory, beyond its payload."""

from __future__ import annotations

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.workload import NAME, payload

__all__ = ["CASES"]

ROWS = 1000


def _outcome(run: Run) -> Outcome:
    cost = run.added()
    # Added up key by key: the server's total moves with its clients' buffers too.
    keys = run.probe.call("KEYS", run.tag + b"*")
    total = sum(run.probe.call("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys)
    # As MessagePack: a map of two short texts with a text of 15 bytes and a number of at most 3 bytes.
    carried = sum(23 + (1 if number < 128 else 2 if number < 256 else 3) for number in range(run.jobs))
    return Outcome(run.jobs, cost, {"bytes_over_payload": (total - carried) / run.jobs})


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Queue

    with Queue(run.queue, connection=run.url) as queue:
        run.meter.start()
        for first in range(0, run.jobs, ROWS):
            queue.add_bulk([(NAME, payload(number)) for number in range(first, first + ROWS)])
        return _outcome(run)


async def reference(run: Run) -> Outcome:
    from chasquimq import Queue

    queue = Queue(run.queue, redis_url=run.url)
    run.meter.start()
    for first in range(0, run.jobs, ROWS):
        await queue.add_bulk([{"name": NAME, "data": payload(number)} for number in range(first, first + ROWS)])
    outcome = _outcome(run)
    await queue.close()
    return outcome


CASES = (
    Case(
        "memory",
        "memory in Redis of a waiting job, beyond its payload",
        params={"jobs": 20_000},
        quick={},
        sides={"sync": sync, "reference": reference},
        figures=("bytes_over_payload",),
    ),
)
