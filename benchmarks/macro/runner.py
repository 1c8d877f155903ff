"""Runs the sides of a case in turn, A B C A B C …, each in a new process on an empty server.

Decides the order and what counts. A void run is reported and left out of every figure; a side that cannot run here
is named once and not tried again.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.macro.case import FLAVOURS, Case
from benchmarks.macro.meter import Probe
from benchmarks.macro.peers import side_process
from benchmarks.macro.results import Measured

__all__ = ["measure"]

HOST = "127.0.0.1"
QUEUE = "bench"
TIMEOUT_S = 300.0


def measure(
    case: Case,
    port: int,
    *,
    flavours: Sequence[str] = FLAVOURS,
    pairs: int = 5,
    quick: bool = False,
    reference: bool = True,
    tell: Callable[[str], None] = lambda _line: None,
) -> Measured:
    """All rounds of one case."""
    if quick:
        case = replace(case, params={**case.params, **case.quick})
    measured = Measured(case)
    sides = [*case.floors, *(flavour for flavour in flavours if case.side(flavour) is not None)]
    if reference and case.side("reference") is not None:
        sides.append("reference")
    probe = Probe(HOST, port)
    for number in range(pairs):
        results: dict[str, dict[str, Any]] = {}
        # Every other round goes the other way round: what drifts during a round favours nobody.
        for side in sides if number % 2 == 0 else reversed(sides):
            if side in measured.missing:
                continue
            tell(f"{case.name}: round {number + 1} of {pairs}, {side}")
            probe.call("FLUSHALL", "SYNC")
            result = _run_side(case, side, port)
            if "missing" in result:
                measured.missing[side] = result["missing"]
            elif "void" in result:
                measured.voids.append(f"{side}, round {number + 1}: {result['void']}")
            else:
                results[side] = result
        measured.rounds.append({side: results[side] for side in sides if side in results})
    probe.call("FLUSHALL", "SYNC")
    probe.close()
    return measured


def _run_side(case: Case, side: str, port: int) -> dict[str, Any]:
    command, environment = side_process(side)
    case.prepare(HOST, port, QUEUE, case.params)
    order = {
        "case": case.name,
        "side": side,
        "host": HOST,
        "port": port,
        "queue": QUEUE,
        "params": dict(case.params),
    }
    try:
        ran = subprocess.run(
            command,
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"void": f"it did not end within {TIMEOUT_S:.0f} s"}
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        return {"void": f"its process ended with {ran.returncode}: {ran.stderr.strip()[-600:]}"}
    result: dict[str, Any] = json.loads(lines[-1])
    return result
