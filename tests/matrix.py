"""``python -m tests.matrix`` (``make test-matrix``): the suite on every server, with this Python and the newest one.

Decides which pairs are run and with which tests; prints what came of each, and every reason for which a test was
skipped. Ends with 1 if a test failed, or if a server or Python that was asked for by name could not be had.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

from tests.pythons import SERIES, ensure, ensure_environment, ensure_newest
from tests.servers import RECIPES, NotAvailable
from tests.servers import ensure as ensure_server
from tests.servers.provision import ROOT

T = TypeVar("T")

FOLDER = ROOT / ".cache" / "matrix"
NEWEST_SERVER = "redis-8.6"
THIS, NEWEST = "this", "newest"
LONGEST_S = 3 * 3600.0
TAIL = 60
"""How much of the log of a pair that failed is shown; the whole of it is kept."""
QUICK = {
    # What talks to a server, on those that `make test` does not run on; what is compiled, on the other Python.
    THIS: (tuple(name for name in RECIPES if name != NEWEST_SERVER), ("tests/conformance",)),
    NEWEST: ((NEWEST_SERVER,), ("tests/fast", "tests/unit", "tests/conformance")),
}


@dataclass(frozen=True)
class Pair:
    """One run of tests. ``python``: a series, this, or newest."""

    server: str
    python: str
    paths: tuple[str, ...]


@dataclass
class Outcome:
    server: str
    python: str
    passed: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """How often each reason was given."""
    seconds: float = 0.0
    trouble: str = ""
    """Why there is no result, or not a good one, where no test has failed."""
    is_forgiven: bool = False
    """Whether the trouble is only that the machine cannot have it, and nobody insists."""

    @property
    def is_bad(self) -> bool:
        return bool(self.failed or (self.trouble and not self.is_forgiven))


@dataclass(frozen=True)
class Interpreter:
    version: str
    executable: Path


def plan(servers: Sequence[str], pythons: Sequence[str], paths: Sequence[str], *, is_quick: bool) -> list[Pair]:
    if not is_quick:
        return [Pair(server, python, tuple(paths)) for python in pythons for server in servers]
    chosen = [(python, *QUICK[python]) for python in pythons if python in QUICK]
    return [Pair(name, python, paths) for python, names, paths in chosen for name in names if name in servers]


def interpreter_for(python: str) -> Interpreter:
    """An environment with the project, its extension modules compiled, and all that the tests need."""
    if python == THIS or python == ".".join(platform.python_version_tuple()[:2]):
        return Interpreter(platform.python_version(), Path(sys.executable))
    series, found = ensure_newest() if python == NEWEST else (python, ensure(python))
    folder = FOLDER / f"python-{series}"
    executable = ensure_environment(found, folder)
    make = ["make", "-s", "env", f"VENV={folder.relative_to(ROOT)}", f"PYTHON={found}"]
    made = subprocess.run(make, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode:
        raise NotAvailable(f"the project cannot be installed with Python {series}: {made.stdout[-2000:]}")
    version = [executable, "-m", "chasquimq", "--version"]
    told = subprocess.run(version, cwd=ROOT, capture_output=True, text=True, check=False)
    if "(cython)" not in told.stdout:
        raise NotAvailable(f"with Python {series} the extension modules do not load: {told.stdout} {told.stderr}")
    return Interpreter(told.stdout.split()[-1], executable)


def run(pair: Pair, interpreter: Interpreter) -> Outcome:
    outcome = Outcome(pair.server, interpreter.version)
    report = FOLDER / f"{pair.server}-python-{interpreter.version}.xml"
    report.unlink(missing_ok=True)
    command = [str(interpreter.executable), "-m", "pytest", "-q", f"--junit-xml={report}"]
    command += ["-o", "faulthandler_timeout=300", *pair.paths]
    if pair.server != NEWEST_SERVER:
        command += ["-m", "not interop"]  # the reference works on this one only: tests/interop/test_other_servers.py
    environment = {**os.environ, "CHASQUIMQ_TEST_SERVER": pair.server}
    if interpreter.executable != Path(sys.executable):
        # It would be installed anew by each Python in turn.
        environment["CHASQUIMQ_REFERENCE"] = str(FOLDER / f"reference-{interpreter.version}")
        # The package with the embedded server has no wheels for new Pythons; it is looked for here, too. This one
        # is a program that stands alone.
        embedded = Path(ensure_server("redis-8.2").command[0]).parent
        environment["PATH"] = f"{embedded}{os.pathsep}{environment['PATH']}"
    began = time.monotonic()
    log = report.with_suffix(".log")
    with log.open("wb") as file:
        try:
            ran = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, check=False, timeout=LONGEST_S
            )
        except subprocess.TimeoutExpired:
            outcome.trouble = f"it did not end within {LONGEST_S:.0f} s"
        else:
            # 5: every test was left out, which is no answer to what was asked.
            outcome.trouble = "" if ran.returncode in (0, 1) else f"pytest ended with {ran.returncode}"
    outcome.seconds = time.monotonic() - began
    count(outcome, report)
    if outcome.is_bad:
        print("\n".join(log.read_text(errors="replace").splitlines()[-TAIL:]), flush=True)
    return outcome


def count(outcome: Outcome, report: Path) -> None:
    """Takes the numbers from what pytest wrote for machines."""
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - our own run has written it
    except (OSError, ElementTree.ParseError) as error:
        outcome.trouble = outcome.trouble or f"there is no report: {error}"
        return
    for case in cases:
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None:
            outcome.skipped[skipped.get("message", "")] += 1
        else:
            outcome.passed += 1


def table(outcomes: Iterable[Outcome]) -> str:
    rows = [("server", "Python", "passed", "failed", "skipped", "time")]
    for each in outcomes:
        if each.trouble and not each.passed:
            rows.append((each.server, each.python, f"- {each.trouble}", "", "", ""))
        else:
            numbers = (f"{each.passed:,}", f"{each.failed:,}", f"{each.skipped.total():,}")
            rows.append((each.server, each.python, *numbers, f"{each.seconds / 60:.1f} min"))
    widths = [max(len(row[number]) for row in rows if row[3] or number < 2) for number in range(6)]
    lines = []
    for row in rows:
        names = f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}"
        numbers = "  ".join(f"{cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True))
        lines.append(f"{names}  {numbers if row[3] else row[2]}")
    return "\n".join(lines)


def skips(outcomes: Iterable[Outcome]) -> str:
    """Every reason, and how often it was given where."""
    where: dict[str, list[str]] = {}
    for each in outcomes:
        for reason, times in each.skipped.items():
            where.setdefault(reason, []).append(f"{each.server}, Python {each.python}: {times}")
    return "\n".join(f"{reason}\n    {'; '.join(places)}" for reason, places in sorted(where.items()))


def _or_why_not(get: Callable[[], T]) -> T | NotAvailable:
    try:
        return get()
    except NotAvailable as error:
        return error


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("paths", nargs="*", default=[], help="which tests; all by default")
    parser.add_argument("--servers", default=",".join(RECIPES), help=f"some of {', '.join(RECIPES)}")
    parser.add_argument(
        "--pythons", default=f"{THIS},{NEWEST}", help=f"{THIS}, {NEWEST}, or some of {', '.join(SERIES)}"
    )
    parser.add_argument("--quick", action="store_true", help="what `make test` leaves open, for CI")
    parser.add_argument("--jobs", type=int, default=1, help="so many runs at the same time (1)")
    arguments = parser.parse_args()
    servers, pythons = arguments.servers.split(","), arguments.pythons.split(",")
    if unknown := [*(set(servers) - set(RECIPES)), *(set(pythons) - {THIS, NEWEST, *SERIES})]:
        parser.error(f"not known here: {', '.join(unknown)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    pairs = plan(servers, pythons, arguments.paths, is_quick=arguments.quick)
    # What is compiled and fetched is done before, once for all: it would only get in its own way.
    interpreters = {python: _or_why_not(lambda python=python: interpreter_for(python)) for python in pythons}
    binaries = {server: _or_why_not(lambda server=server: ensure_server(server)) for server in servers}

    def outcome_of(pair: Pair) -> Outcome:
        interpreter, binary = interpreters[pair.python], binaries[pair.server]
        if isinstance(interpreter, NotAvailable):
            return Outcome(pair.server, pair.python, trouble=f"{interpreter}", is_forgiven=pair.python == NEWEST)
        if isinstance(binary, NotAvailable):
            return Outcome(pair.server, interpreter.version, trouble=f"{binary}")
        print(f"-- {pair.server}, Python {interpreter.version}: {' '.join(pair.paths) or 'all tests'}", flush=True)
        outcome = run(pair, interpreter)
        print(table([outcome]).splitlines()[-1], flush=True)
        return outcome

    with ThreadPoolExecutor(arguments.jobs) as runs:
        outcomes = list(runs.map(outcome_of, pairs))
    print(f"\n{table(outcomes)}")
    if reasons := skips(outcomes):
        print(f"\nskipped, because\n{reasons}")
    return 1 if any(outcome.is_bad for outcome in outcomes) or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
