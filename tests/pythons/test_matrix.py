"""The matrix: which pairs it runs, and that its table tells what happened."""

from pathlib import Path

import pytest

from tests import matrix
from tests.matrix import NEWEST, QUICK, THIS, Outcome, Pair, plan, skips, table
from tests.servers import RECIPES

FAILING = """
import pytest

def test_passes(): pass
def test_fails(): assert False
@pytest.fixture
def broken(): raise RuntimeError
def test_has_no_fixture(broken): pass
@pytest.mark.parametrize("number", [1, 2])
def test_is_skipped(number): pytest.skip("there is no such thing")
"""


def run(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.setattr(matrix, "FOLDER", folder)
    module = folder / "test_example.py"
    module.write_text(text)
    interpreter = matrix.interpreter_for(THIS)
    return matrix.run(Pair("redis-8.6", THIS, (str(module), "--rootdir", str(folder), "-c", "/dev/null")), interpreter)


def test_every_server_with_every_python() -> None:
    pairs = plan(list(RECIPES), [THIS, NEWEST], [], is_quick=False)
    assert {(pair.server, pair.python) for pair in pairs} == {(s, p) for s in RECIPES for p in (THIS, NEWEST)}
    assert {pair.paths for pair in pairs} == {()}


def test_in_short_every_other_server_and_the_other_python() -> None:
    pairs = plan(list(RECIPES), [THIS, NEWEST], [], is_quick=True)
    assert {pair.server for pair in pairs if pair.python == THIS} == set(RECIPES) - {"redis-8.6"}
    assert [pair.server for pair in pairs if pair.python == NEWEST] == ["redis-8.6"]
    root = Path(matrix.__file__).parents[1]
    assert all((root / path).is_dir() for _, paths in QUICK.values() for path in paths)


def test_what_came_of_the_tests_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(tmp_path, FAILING, monkeypatch)
    assert (outcome.passed, outcome.failed, dict(outcome.skipped)) == (1, 2, {"there is no such thing": 2})
    assert outcome.is_bad
    assert "assert False" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "this is not Python"], ids=["no tests", "no module"])
def test_a_run_without_an_answer_is_bad(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, text, monkeypatch).is_bad


def test_the_table_and_the_reasons() -> None:
    good = Outcome("redis-8.6", "3.11.7", passed=10_000, seconds=90)
    good.skipped["no such command"] = 2
    failed = Outcome("valkey-9", "3.11.7", passed=9, failed=1, seconds=6)
    missing = Outcome("redis-8.6", "newest", trouble="none is newer", is_forgiven=True)
    assert table([good, failed, missing]).splitlines() == [
        "server     Python  passed  failed  skipped     time",
        "redis-8.6  3.11.7  10,000       0        2  1.5 min",
        "valkey-9   3.11.7       9       1        0  0.1 min",
        "redis-8.6  newest  - none is newer",
    ]
    assert skips([good, failed, missing]) == "no such command\n    redis-8.6, Python 3.11.7: 2"
    assert [outcome.is_bad for outcome in (good, failed, missing)] == [False, True, False]
