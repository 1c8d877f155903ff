"""What a program pays before its first job: the import, and a worker's way to readiness."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, Nothing, SyncSide
from benchmarks.macro.workload import fill

__all__ = ["CASES"]

IMPORT_NOTE = (
    "import: CPU time of a fresh interpreter that imports what a program needs, less that of one that imports nothing, "
    "which is shown beside it"
)
READY_NOTE = (
    "ready: wall clock from the call, modules being imported counted, until the library says that its worker runs; "
    "where it does not say so, nothing is shown"
)


def prepare(host: str, port: int, queue: str, _params: Mapping[str, Any]) -> None:
    fill(host, port, queue, 0)


def _cpu_ms(program: str, best_of: int) -> float:
    """CPU time of new interpreters, the best of a few: the first one fills the caches of the file system."""
    command = [sys.executable, "-I", "-c", program]
    times = []
    for _ in range(best_of):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times) * 1000


def _outcome(run: Run, program: str, ready_ms: float) -> Outcome:
    best_of = run.params["best_of"]
    python_ms = _cpu_ms("pass", best_of)
    figures = {
        "import_ms": _cpu_ms(program, best_of) - python_ms,
        "python_ms": python_ms,
        "ready_ms": ready_ms,
    }
    return Outcome(0, run.meter.stop(), figures)


def bare(run: Run) -> Outcome:
    """The two modules that no client can do without, a connection, and the first read's reply."""
    run.meter.start()
    began = time.perf_counter()
    from benchmarks.macro.bare import BareClient

    client = BareClient(run.host, run.port)
    client.command(b"XREADGROUP", b"GROUP", b"default", b"bare", b"STREAMS", run.tag + b"stream", b">")
    ready_ms = (time.perf_counter() - began) * 1000
    return _outcome(run, "import socket, hiredis", ready_ms)


def sync(run: Run, side: SyncSide) -> Outcome:
    run.meter.start()
    ready_ms = math.nan
    if side.tells_when_ready:
        began = time.perf_counter()
        with side.working(Nothing()):
            ready_ms = (time.perf_counter() - began) * 1000
    return _outcome(run, side.imports, ready_ms)


async def aio(run: Run, side: AioSide) -> Outcome:
    run.meter.start()
    ready_ms = math.nan
    if side.tells_when_ready:
        began = time.perf_counter()
        async with side.working(Nothing()):
            ready_ms = (time.perf_counter() - began) * 1000
    return _outcome(run, side.imports, ready_ms)


CASES = (
    Case(
        "startup",
        "import, and a worker's start until it is ready",
        params={"jobs": 0, "best_of": 9},
        quick={"best_of": 5},
        tiny={"best_of": 1},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        needs="startup",
        figures=("import_ms", "python_ms", "ready_ms"),
        prepare=prepare,
        notes=(IMPORT_NOTE, READY_NOTE),
    ),
)
