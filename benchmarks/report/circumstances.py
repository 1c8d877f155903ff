"""When, where and with what a run was made."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.macro.scenarios import ALL
from benchmarks.peers import PEERS
from benchmarks.peers.environments import peer_versions
from chasquimq import __version__
from chasquimq._fast import IMPLEMENTATION
from tests.servers import NotAvailable

__all__ = ["circumstances", "merged"]

_MAY_DIFFER = ("date", "load", "peers")
_PACKAGES = ("hiredis", "msgpack", "anyio", "trio", "uvloop", "cython")


def circumstances(server: str, pairs: int, *, is_quick: bool, peers: Sequence[str]) -> dict[str, Any]:
    """Everything that a reader must know of a run, in plain values. ``load`` is the machine's at the end."""
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "rounds": pairs,
        "quick": is_quick,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "server": f"Redis {server}",
        "library": f"chasquimq {__version__} ({IMPLEMENTATION})",
        "packages": list(_packages()),
        "peers": {name: _peer(name) for name in peers},
    }


def merged(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several ``--json`` documents as one, for scenarios that were run in turns. Of a scenario that was run again the
    last run counts. Ends the program when they were not made in the same way."""
    first, *others = [document["circumstances"] for document in documents]
    for other in others:
        if differing := [what for what in first if what not in _MAY_DIFFER and first[what] != other[what]]:
            sys.exit(f"these runs do not belong into one report, they differ in: {', '.join(differing)}")
    found = {case["case"]: case for document in documents for case in document["cases"]}
    latest: dict[str, Any] = {**(others[-1] if others else first)}
    latest["peers"] = {name: version for each in (first, *others) for name, version in each["peers"].items()}
    return {"circumstances": latest, "cases": [found[case.name] for case in ALL if case.name in found]}


def _packages() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def _peer(name: str) -> str:
    try:
        return peer_versions(PEERS[name])
    except NotAvailable as error:
        return f"not measured: {error}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
