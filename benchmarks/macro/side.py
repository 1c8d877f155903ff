"""The process of one side: ``python -m benchmarks.macro.side`` reads what to do from standard input, as JSON.

The last line that it prints is its result, as JSON: jobs, wall_s, client_cpu_s, redis_cpu_s, rss_kib and figures; or
``void`` with a reason; or ``missing`` when this side cannot run here.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.macro.case import AIO, Outcome, Run
from benchmarks.macro.meter import Meter, Probe, Void

__all__ = ["main"]


def main() -> None:
    order = json.load(sys.stdin)
    try:
        outcome = _run(order)
    except Void as verdict:
        result: dict[str, Any] = {"void": str(verdict)}
    except ImportError as error:
        result = {"missing": str(error)}
    else:
        result = {"jobs": outcome.jobs, **outcome.cost, "figures": dict(outcome.figures)}
    print(json.dumps(result))


def _run(order: dict[str, Any]) -> Outcome:
    from benchmarks.macro.scenarios import case_named

    probe = Probe(order["host"], order["port"])
    run = Run(order["host"], order["port"], order["queue"], order["side"], order["params"], probe, Meter(probe))
    side = case_named(order["case"]).side(run.flavour)
    if side is None:
        raise ImportError("this scenario has no such side")
    if not inspect.iscoroutinefunction(side):
        return side(run)  # type: ignore[return-value]  # not a coroutine function
    return _run_async(side, run)


def _run_async(side: Callable[[Run], Any], run: Run) -> Outcome:
    outcome: Outcome
    if run.flavour in AIO:
        import anyio

        backend = "trio" if run.flavour == "trio" else "asyncio"
        options = {"use_uvloop": True} if run.flavour == "uvloop" else {}
        outcome = anyio.run(side, run, backend=backend, backend_options=options)
    else:
        import uvloop

        outcome = uvloop.run(side(run))
    return outcome


if __name__ == "__main__":
    main()
