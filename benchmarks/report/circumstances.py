"""When, where and with what a run was made."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.peers.environments import peer_versions
from chasquimq import __version__
from chasquimq._fast import IMPLEMENTATION
from tests.servers import NotAvailable

__all__ = ["circumstances"]

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
