"""Whole programs that fork, thread and end in every way, each run as a process of its own and judged from outside.

``run_program("forks", "threads", url, queue)`` runs the function ``threads`` of ``forks.py`` in a new interpreter.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
CHILD_S = 20
"""A forked child that takes longer hangs; it shows where, and ends."""


def run_program(
    module: str,
    function: str,
    *arguments: object,
    options: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    within: float = PATIENCE_S,
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end; a program that does not end fails the test, with the stacks of all its threads."""
    process = start_program(module, function, *arguments, options=options, environment=environment)
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate()
        raise AssertionError(f"{module} {function} did not end: {out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start_program(
    module: str,
    function: str,
    *arguments: object,
    options: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[str]:
    """The same, while it runs."""
    return subprocess.Popen(
        [sys.executable, *options, "-X", "faulthandler", "-m", f"{__name__}.{module}", function, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_scenario(scenarios: dict[str, Any]) -> None:
    """The main program of each module here: calls the function that was asked for."""
    scenarios[sys.argv[1]](*sys.argv[2:])


def fork(body: Callable[[], object], *, ordinary_end: bool = False) -> int:
    """Forks; the child runs ``body`` and ends, with 0 if all went well. Returns the child's pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    signal.set_wakeup_fd(-1)  # a loop's, which is the parent's
    faulthandler.dump_traceback_later(CHILD_S, exit=True)
    code = 1
    try:
        body()
        code = 0
    except BaseException as error:  # noqa: BLE001 - told, and seen in the exit code
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stderr.flush()
    if ordinary_end:
        sys.exit(code)
    os._exit(code)


def join(*pids: int) -> None:
    """Waits for children, which must have ended well."""
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [0] * len(codes), f"children ended with {codes}"
