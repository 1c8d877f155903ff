"""Counts the instructions of each section of ``paths`` with valgrind's callgrind.

Decides nothing about the counts. What could make two runs differ is taken away: hash seeds, the user's own settings,
and the addresses, which valgrind hands out the same way each time.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.check.paths import JOBS, MARKER, SECTIONS

__all__ = ["CannotCountError", "Counts", "count", "toolchain"]

Counts = dict[str, tuple[float, float]]
"""Instructions per job of each path: ours and the bare one's."""

TIMEOUT_S = 600
_TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)


class CannotCountError(RuntimeError):
    """There is no callgrind here, or the program failed under it."""


def toolchain() -> dict[str, str]:
    """What counts depend on, besides the code."""
    import Cython
    import hiredis

    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cython": Cython.__version__,
        "hiredis": hiredis.__version__,
        "compiler": _compiler(),
        "machine": platform.machine(),
    }


def _compiler() -> str:
    command = str(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    try:
        ran = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return command
    return ran.stdout.splitlines()[0]


def count() -> Counts:
    """One run. Raises CannotCountError."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCountError("valgrind is not installed, so nothing was counted. On Debian: apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="chasquimq-check-") as folder:
        out = Path(folder) / "count"
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARKER}"]
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": folder,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        ran = subprocess.run(
            [*command, sys.executable, "-m", "benchmarks.check.paths"],
            capture_output=True,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
            timeout=TIMEOUT_S,
            check=False,
        )
        if ran.returncode:
            raise CannotCountError(f"the program that is to be counted failed:\n{ran.stderr[-2000:]}")
        # Before the first marker everything is preparation, after the last one the end of the process.
        totals = [_total(out.with_name(f"{out.name}.{number}")) for number in range(2, 2 + 2 * len(SECTIONS))]
    per_job = [total / JOBS for total in totals]
    return {name: (per_job[2 * place], per_job[2 * place + 1]) for place, name in enumerate(SECTIONS)}


def _total(dump: Path) -> int:
    found = _TOTALS.search(dump.read_text())
    if found is None:
        raise CannotCountError(f"callgrind wrote no total into {dump.name}; its version may write another form")
    return int(found.group(1))
