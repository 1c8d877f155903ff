"""What a waiting job takes in the server's memory, beyond its payload."""

from __future__ import annotations

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.workload import payload

__all__ = ["CASES"]

ROWS = 1000


def _outcome(run: Run) -> Outcome:
    cost = run.added()
    # Added up key by key: the server's total moves with its clients' buffers too. The server is empty but for us.
    keys = run.probe.call("KEYS", "*")
    total = sum(run.probe.call("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys)
    # As MessagePack, for all sides: a map of two short texts with a text of 15 bytes and a number of 1 to 3 bytes.
    carried = sum(23 + (1 if number < 128 else 2 if number < 256 else 3) for number in range(run.jobs))
    figures = {"bytes_over_payload": (total - carried) / run.jobs, "bytes_per_job": total / run.jobs}
    return Outcome(run.jobs, cost, figures)


def bare(run: Run) -> Outcome:
    """A stream whose entries hold the payload and nothing else."""
    from benchmarks.macro.bare import BareClient, pack
    from chasquimq._fast import encode_payload

    client = BareClient(run.host, run.port)
    run.meter.start()
    for number in range(run.jobs):
        client.exchange(pack(b"XADD", run.tag + b"stream", b"*", b"d", encode_payload(payload(number))))
    return _outcome(run)


def sync(run: Run, side: SyncSide) -> Outcome:
    with side:
        run.meter.start()
        for first in range(0, run.jobs, ROWS):
            side.add_rows(side.rows(range(first, min(first + ROWS, run.jobs))))
        return _outcome(run)


async def aio(run: Run, side: AioSide) -> Outcome:
    async with side:
        run.meter.start()
        for first in range(0, run.jobs, ROWS):
            await side.add_rows(side.rows(range(first, min(first + ROWS, run.jobs))))
        return _outcome(run)


CASES = (
    Case(
        "memory",
        "memory in Redis of a waiting job, beyond its payload",
        params={"jobs": 20_000},
        quick={},
        tiny={"jobs": 30},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        needs="add",
        flavours=("sync",),
        figures=("bytes_over_payload", "bytes_per_job"),
        notes=("one flavour stands for all of this library's: they send the same bytes",),
    ),
)
