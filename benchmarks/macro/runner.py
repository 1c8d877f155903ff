"""Runs the sides of a case in turn, A B C C B A …, each in a new process on an empty server.

Decides the order and what counts. A void run is reported and left out of every figure; a side that cannot run here
is named once and not tried again.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.macro.case import FLAVOURS, Case
from benchmarks.macro.meter import Probe
from benchmarks.macro.results import Measured
from benchmarks.macro.sides import SideProcess, side_process
from benchmarks.peers import PEERS

__all__ = ["HOST", "measure"]

HOST = "127.0.0.1"
QUEUE = "bench"
TIMEOUT_S = 300.0


def measure(
    case: Case,
    port: int,
    *,
    flavours: Sequence[str] = FLAVOURS,
    peers: Sequence[str] = (),
    pairs: int = 5,
    size: str = "full",
    tell: Callable[[str], None] = lambda _line: None,
) -> Measured:
    """All rounds of one case. ``size``: "full", "quick" or "tiny"."""
    from tests.servers import NotAvailable

    params = {**case.params, **({} if size == "full" else case.quick if size == "quick" else case.tiny)}
    measured = Measured(case, params)
    processes: dict[str, SideProcess] = {}
    for side in _sides(case, flavours, peers):
        try:
            processes[side] = side_process(side)
        except NotAvailable as error:
            measured.missing[side] = str(error)
    probe = Probe(HOST, port)
    for number in range(pairs):
        results: dict[str, dict[str, Any]] = {}
        # Every other round goes the other way round: what drifts during a round favours nobody.
        for side in processes if number % 2 == 0 else reversed(processes):
            if side in measured.missing:
                continue
            tell(f"{case.name}: round {number + 1} of {pairs}, {side}")
            probe.call("FLUSHALL", "SYNC")
            result = _run_side(case, side, processes[side], port, params)
            if "missing" in result:
                measured.missing[side] = result["missing"]
            elif "void" in result:
                measured.voids.append(f"{side}, round {number + 1}: {result['void']}")
            else:
                results[side] = result
        measured.rounds.append({side: results[side] for side in processes if side in results})
    probe.call("FLUSHALL", "SYNC")
    probe.close()
    return measured


def _sides(case: Case, flavours: Sequence[str], peers: Sequence[str]) -> list[str]:
    ours = [flavour for flavour in flavours if case.has(flavour)]
    return [*case.floors, *ours, *(peer for peer in peers if case.needs in PEERS[peer].does)]


def _run_side(case: Case, side: str, process: SideProcess, port: int, params: Mapping[str, Any]) -> dict[str, Any]:
    peer = PEERS.get(side)
    if peer is None or not peer.fills_itself:
        case.prepare(HOST, port, QUEUE, params)
    if peer is not None:
        params = {**params, "jobs": min(params["jobs"], peer.jobs)}
    order = {"case": case.name, "side": side, "host": HOST, "port": port, "queue": QUEUE, "params": params}
    try:
        ran = subprocess.run(
            process.command,
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=process.environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"void": f"it did not end within {TIMEOUT_S:.0f} s"}
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        return {"void": f"its process ended with {ran.returncode}: {ran.stderr.strip()[-600:]}"}
    result: dict[str, Any] = json.loads(lines[-1])
    return result
