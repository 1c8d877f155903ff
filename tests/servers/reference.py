"""The reference implementation, in an environment of its own.

Its package has our package's name, so the two can never be in one interpreter: the interop tests run the
returned interpreter as a process. Must never see the checkout on its path.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .debian import NotAvailable
from .locks import exclusive
from .provision import ROOT

REQUIREMENTS = ("chasquimq==1.3.0", "uvloop")


def reference_folder() -> Path:
    return Path(os.environ.get("CHASQUIMQ_REFERENCE") or ROOT / ".cache" / "reference-venv").absolute()


def ensure_reference() -> Path:
    """The interpreter that imports the reference wheel; installed from PyPI the first time."""
    folder = reference_folder()
    interpreter = folder / "bin" / "python"
    marker = folder / "complete"
    wanted = "\n".join((*REQUIREMENTS, sys.version))
    if _is_ready(marker, wanted):
        return interpreter
    with exclusive(folder.parent / "reference.lock"):
        if _is_ready(marker, wanted):
            return interpreter
        shutil.rmtree(folder, ignore_errors=True)
        # pip runs from this interpreter and installs into the other: nothing but the wheels goes in there.
        venv.create(folder, with_pip=False)
        install = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "-q", *REQUIREMENTS]
        ran = subprocess.run(install, capture_output=True, text=True, env=_clean_environment(), check=False)
        if ran.returncode:
            raise NotAvailable(
                f"the reference implementation ({', '.join(REQUIREMENTS)}) could not be installed, so the "
                f"interop tests cannot run: {ran.stderr.strip()[-1500:]} "
                "Check that PyPI answers, or leave them out with -m 'not interop'."
            )
        _check(interpreter)
        marker.write_text(wanted)
    return interpreter


def reference_environment() -> dict[str, str]:
    """The environment to start the reference interpreter with: nothing, not even the
    current folder, leads it to the checkout."""
    return {**_clean_environment(), "PYTHONSAFEPATH": "1"}


def _is_ready(marker: Path, wanted: str) -> bool:
    return marker.exists() and marker.read_text() == wanted


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _check(interpreter: Path) -> None:
    program = "import importlib.metadata as m, chasquimq._native as n; print(m.version('chasquimq'), n.__file__)"
    ran = subprocess.run(
        [str(interpreter), "-I", "-c", program],
        capture_output=True,
        text=True,
        cwd=interpreter.parent,
        check=False,
    )
    version, _, path = ran.stdout.strip().partition(" ")
    if version != "1.3.0" or not Path(path).is_relative_to(interpreter.parents[1]):
        raise NotAvailable(
            f"the reference environment does not import the reference wheel: {ran.stdout}{ran.stderr} "
            f"Delete {interpreter.parents[1]} and try again."
        )
