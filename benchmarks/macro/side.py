"""The process of one side: ``python -m benchmarks.macro.side`` reads what to do from standard input, as JSON.

The last line that it prints is its result, as JSON: jobs, wall_s, client_cpu_s, redis_cpu_s, rss_kib and figures; or
``void`` with a reason; or ``missing`` when this side cannot run here. Peers on other platforms keep to the same form.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from benchmarks.macro.case import AIO, Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.loop import Loop
from benchmarks.macro.meter import Meter, Probe, Void

__all__ = ["main"]


def main() -> None:
    order = json.load(sys.stdin)
    try:
        outcome = _run(order)
    except Exception as error:  # noqa: BLE001 - the runner is told
        _deliver(error)
    _deliver(outcome)


def _deliver(found: Outcome | Exception) -> NoReturn:
    """Prints the result and ends the process: a library whose threads or tasks do not end must not hold it up."""
    if isinstance(found, Void):
        result: dict[str, Any] = {"void": str(found)}
    elif isinstance(found, ImportError):
        result = {"missing": str(found)}
    elif isinstance(found, Exception):
        result = {"void": "".join(traceback.format_exception(found))[-600:]}
    else:
        result = {"jobs": found.jobs, **found.cost, "figures": dict(found.figures)}
    print(json.dumps(result), flush=True)
    os._exit(0)


def _run(order: dict[str, Any]) -> Outcome:
    from benchmarks.macro.scenarios import case_named

    probe = Probe(order["host"], order["port"])
    run = Run(order["host"], order["port"], order["queue"], order["side"], order["params"], probe, Meter(probe))
    case = case_named(order["case"])
    floor = case.floors.get(run.side)
    if floor is not None:
        return floor(run)
    adapter = _adapter(run.side)
    if issubclass(adapter, SyncSide):
        assert case.sync is not None
        run.peer = adapter(run)
        return _run_sync(case.sync, run, run.peer)
    return _run_async(case, run, adapter)


def _adapter(side: str) -> type[Any]:
    if side == "sync" or side in AIO:
        from benchmarks.macro import ours

        return ours.Sync if side == "sync" else ours.Aio
    adapter: type[Any] = import_module(f"benchmarks.peers.{side}").Side
    return adapter


def _run_sync(scenario: Callable[[Run, SyncSide], Outcome], run: Run, side: SyncSide) -> Outcome:
    if not side.wants_main_thread:
        return scenario(run, side)

    def play() -> None:
        try:
            outcome = scenario(run, side)
        except Exception as error:  # noqa: BLE001 - the runner is told
            _deliver(error)
        _deliver(outcome)

    threading.Thread(target=play, name="scenario", daemon=True).start()
    side.serve()
    threading.Event().wait()  # the result ends the process
    raise AssertionError


def _run_async(case: Case, run: Run, adapter: type[AioSide]) -> NoReturn:
    scenario = case.aio
    assert scenario is not None
    backend = "trio" if run.side == "trio" else "asyncio"

    async def play() -> None:
        side = adapter(run, Loop(backend))
        run.peer = side
        try:
            outcome = await scenario(run, side)
        except Exception as error:  # noqa: BLE001 - the runner is told
            _deliver(error)
        _deliver(outcome)

    if run.side == "trio":
        import trio

        trio.run(play)
    elif run.side == "asyncio":
        asyncio.run(play())
    else:
        # Every peer that has an event loop gets the fast one.
        import uvloop

        uvloop.run(play())
    raise AssertionError("the scenario ended without a result")


if __name__ == "__main__":
    main()
