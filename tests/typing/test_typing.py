"""The types that users see, as mypy and pyright see them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]


def mypy(program: Path, cache: Path) -> dict[int, str]:
    """The lines that mypy refuses, and why."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"]
    # Only what the program itself does wrong counts; the package's own types are checked by make types.
    command += ["--follow-imports=silent", f"--cache-dir={cache}", "--config-file=", str(program)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    found = re.findall(rf"^.*{program.name}:(\d+): error: (.*)$", ran.stdout, re.MULTILINE)
    assert found or ran.returncode == 0, ran.stdout + ran.stderr
    return {int(line): text for line, text in found}


def pyright(program: Path, _cache: Path) -> dict[int, str]:
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(program)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.stdout.startswith("{"), ran.stdout + ran.stderr
    found = json.loads(ran.stdout)["generalDiagnostics"]
    return {row["range"]["start"]["line"] + 1: row["message"] for row in found if row["severity"] == "error"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_correct_program_is_accepted(check: object, cache: Path) -> None:
    assert callable(check)
    assert check(PROGRAMS / "accepted.py", cache) == {}


@pytest.mark.parametrize("check", [mypy, pyright])
def test_mistakes_are_found_where_they_are(check: object, cache: Path) -> None:
    assert callable(check)
    lines = (PROGRAMS / "refused.py").read_text().splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    found = check(PROGRAMS / "refused.py", cache)
    assert sorted(found) == wrong
