"""Installs peers, each into ``.cache/peers/<name>``, from the registries that pip and npm are set up with.

Decides what counts as installed. Must never put a package into the project's own environment, or let a peer's
interpreter find the checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peers import REFERENCE, Peer
from tests.servers import NotAvailable, ensure_reference
from tests.servers.locks import exclusive

__all__ = ["clean_environment", "ensure_peer", "node_modules", "peer_program", "peer_versions"]

_ROOT = Path(__file__).parents[2] / ".cache" / "peers"
_INSTALL_S = 600


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that leads a Python to the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONSAFEPATH": "1"}


def _folder(peer: Peer) -> Path:
    return _ROOT / peer.name


def node_modules(peer: Peer) -> Path:
    """Where a Node.js peer's packages are."""
    return _folder(peer) / "node_modules"


def _runtime(peer: Peer) -> str:
    if not peer.is_node:
        return sys.version
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotAvailable(f"{peer.name} needs Node.js, and there is no {program} on PATH.")
    return subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout


def peer_program(peer: Peer) -> Path:
    """The interpreter that runs an installed peer. Raises NotAvailable when it was not installed."""
    if peer.name == REFERENCE:
        return ensure_reference()  # the tests have it too
    if not (_folder(peer) / "complete").exists():
        raise NotAvailable(f"{peer.name} is not installed. `make bench-peers` installs the peers.")
    return Path(str(shutil.which("node"))) if peer.is_node else _folder(peer) / "bin" / "python"


def ensure_peer(peer: Peer) -> None:
    """Installs a peer unless it is there. Raises NotAvailable, with the reason, when it cannot be installed."""
    if peer.name == REFERENCE:
        ensure_reference()
        return
    folder = _folder(peer)
    marker = folder / "complete"
    wanted = "\n".join((*peer.requirements, _runtime(peer)))
    with exclusive(_ROOT / f"{peer.name}.lock"):
        if marker.exists() and marker.read_text() == wanted:
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if peer.is_node:
            command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
        else:
            # pip runs from this interpreter and installs into the other: nothing but the library goes in there.
            venv.create(folder, with_pip=False, clear=True)
            command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q"]
        try:
            ran = subprocess.run(
                [*command, *peer.requirements],
                capture_output=True,
                text=True,
                env=clean_environment(),
                timeout=_INSTALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotAvailable(f"{peer.name}: the installation did not end within {_INSTALL_S} s.") from None
        if ran.returncode:
            raise NotAvailable(f"{peer.name} could not be installed: {(ran.stderr or ran.stdout).strip()[-300:]}")
        marker.write_text(wanted)


def peer_versions(peer: Peer) -> str:
    """What is installed of a peer, for the report: the library and what it stands on."""
    names = [requirement.partition("=")[0].partition("[")[0] for requirement in peer.requirements]
    if peer.is_node:
        found = [f"{name} {_npm_version(peer, name)}" for name in names]
        return ", ".join([*found, f"Node.js {_runtime(peer).strip().removeprefix('v')}"])
    program = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    ran = subprocess.run(
        [str(peer_program(peer)), "-I", "-c", program, *names], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def _npm_version(peer: Peer, name: str) -> str:
    version: str = json.loads((node_modules(peer) / name / "package.json").read_text())["version"]
    return version
