"""Who is measured, and how the process of each side is started.

Floors and this library's flavours run in this interpreter. A peer runs in an environment of its own, and its
interpreter must never find the checkout: the reference implementation's package has our package's name. So it gets
the package ``benchmarks`` alone, by its place.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SideProcess", "side_process"]

_HERE = Path(__file__).parents[1]

_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("benchmarks", {init!r}, submodule_search_locations=[{folder!r}])
package = importlib.util.module_from_spec(spec)
sys.modules["benchmarks"] = package
spec.loader.exec_module(package)
from benchmarks.macro.side import main
main()
"""


@dataclass(frozen=True, slots=True)
class SideProcess:
    """What starts the process of one side; it reads what to do from standard input."""

    command: list[str]
    environment: dict[str, str]


def side_process(side: str) -> SideProcess:
    """How to start one side. Raises NotAvailable when it cannot be had here."""
    from benchmarks.peers import PEERS
    from benchmarks.peers.environments import clean_environment, node_modules, peer_program

    peer = PEERS.get(side)
    if peer is None:
        return SideProcess([sys.executable, "-m", "benchmarks.macro.side"], dict(os.environ))
    program = str(peer_program(peer))
    if peer.is_node:
        script = str(_HERE / "peers" / f"{peer.name}.cjs")
        return SideProcess([program, script], {**clean_environment(), "NODE_PATH": str(node_modules(peer))})
    boot = _BOOT.format(init=str(_HERE / "__init__.py"), folder=str(_HERE))
    return SideProcess([program, "-I", "-c", boot], clean_environment())
