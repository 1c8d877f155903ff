"""What a program pays before its first job: the import, and a worker's way to readiness."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.meter import Void

__all__ = ["CASES"]

_IMPORT = "import time; began = time.perf_counter(); import {0}; print(time.perf_counter() - began)"
_BEST_OF = 5


def _import_ms(module: str) -> float:
    """In new interpreters, the best of a few: the first one fills the caches of the file system."""
    command = [sys.executable, "-c", _IMPORT.format(module)]
    if sys.flags.isolated:
        command.insert(1, "-I")
    times = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(_BEST_OF)]
    return min(times) * 1000


def _outcome(run: Run, module: str, ready_ms: float) -> Outcome:
    cost = run.meter.stop()
    return Outcome(0, cost, {"import_ms": _import_ms(module), "ready_ms": ready_ms})


def sync(run: Run) -> Outcome:
    from chasquimq.sync import Worker

    run.meter.start()
    began = time.perf_counter()
    with Worker(run.queue, lambda _job: None, connection=run.url) as worker:
        ready_ms = (time.perf_counter() - began) * 1000
        if not worker.is_running():
            raise Void("the worker did not start")
    return _outcome(run, "chasquimq.sync", ready_ms)


async def aio(run: Run) -> Outcome:
    from chasquimq.aio import Worker

    async def handle(_job: object) -> None:
        return None

    run.meter.start()
    began = time.perf_counter()
    async with Worker(run.queue, handle, connection=run.url) as worker:
        ready_ms = (time.perf_counter() - began) * 1000
        if not worker.is_running():
            raise Void("the worker did not start")
    return _outcome(run, "chasquimq.aio", ready_ms)


async def reference(run: Run) -> Outcome:
    run.meter.start()
    # Its worker does not tell when it is ready.
    return _outcome(run, "chasquimq", float("nan"))


CASES = (
    Case(
        "startup",
        "import, and a worker's start until it is ready",
        params={},
        quick={},
        sides={"sync": sync, "aio": aio, "reference": reference},
        figures=("import_ms", "ready_ms"),
    ),
)
