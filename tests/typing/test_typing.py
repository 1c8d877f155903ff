"""The types that users see, as mypy and pyright see them: programs that must be accepted, mistakes that must not."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
ACCEPTED = sorted(path.name for path in FOLDER.glob("accepted*.py"))
REFUSED = sorted(path.name for path in FOLDER.glob("refused*.py"))

Found = dict[str, dict[int, str]]
"""The lines that a type checker refuses, and why, by program."""


@functools.cache
def mypy() -> Found:
    pytest.importorskip("mypy")
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"]
        # Only what the programs themselves do wrong counts; the package's own types are checked by make types.
        command += ["--follow-imports=silent", f"--cache-dir={cache}", "--config-file=", *map(str, programs())]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    rows = re.findall(r"^(.*\.py):(\d+): error: (.*)$", ran.stdout, re.MULTILINE)
    assert ran.returncode == (1 if rows else 0), ran.stdout + ran.stderr
    return by_program((Path(path).name, int(line), text) for path, line, text in rows)


@functools.cache
def pyright() -> Found:
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, programs())]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.stdout.startswith("{"), ran.stdout + ran.stderr
    report = json.loads(ran.stdout)
    assert report["summary"]["filesAnalyzed"] == len(programs()), ran.stdout
    rows = [row for row in report["generalDiagnostics"] if row["severity"] == "error"]
    return by_program((Path(row["file"]).name, row["range"]["start"]["line"] + 1, row["message"]) for row in rows)


def programs() -> list[Path]:
    return [FOLDER / name for name in (*ACCEPTED, *REFUSED)]


def by_program(rows: Iterable[tuple[str, int, str]]) -> Found:
    found: Found = {name: {} for name in (*ACCEPTED, *REFUSED)}
    for name, line, text in rows:
        found[name][line] = text
    return found


EVERY_CHECKER = pytest.mark.parametrize("check", [mypy, pyright], ids=lambda check: check.__name__)


@EVERY_CHECKER
@pytest.mark.parametrize("program", ACCEPTED)
def test_a_correct_program_is_accepted(check: Callable[[], Found], program: str) -> None:
    assert check()[program] == {}


@EVERY_CHECKER
@pytest.mark.parametrize("program", REFUSED)
def test_mistakes_are_found_where_they_are(check: Callable[[], Found], program: str) -> None:
    lines = (FOLDER / program).read_text("utf-8").splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    found = check()[program]
    assert sorted(found) == wrong, found
    assert wrong
