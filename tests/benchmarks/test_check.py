"""The guard against slower hot paths: what it counts runs, and its verdicts are right."""

from __future__ import annotations

import json

import pytest

from benchmarks.check import callgrind, paths
from benchmarks.check.__main__ import BASELINE
from benchmarks.check.verdict import OTHER_TOLERANCE, SAME_TOLERANCE, compare, differences
from chasquimq._fast import IMPLEMENTATION

BASE: callgrind.Counts = {"add": (1000.0, 2000.0), "work": (5000.0, 1000.0)}


@pytest.mark.parametrize("name", paths.SECTIONS)
def test_every_path_runs_and_ends_all_its_jobs(name: str) -> None:
    for make in paths.SECTIONS[name]:
        make(paths.BATCH)()
        make(2 * paths.BATCH)()


@pytest.mark.skipif(IMPLEMENTATION != "cython", reason="the guard is for compiled modules")
def test_the_counted_program_runs_through() -> None:
    assert paths.main() == 0


def verdicts(counts: callgrind.Counts, *, same: bool) -> dict[str, tuple[bool, bool]]:
    found = compare(counts, BASE, is_same_toolchain=same)
    return {finding.path: (finding.is_slower, finding.is_faster) for finding in found}


def test_fifteen_percent_more_are_caught_on_the_same_toolchain() -> None:
    assert verdicts({"add": (1150.0, 2000.0), "work": (5000.0, 1000.0)}, same=True) == {
        "add": (True, False),
        "work": (False, False),
    }


@pytest.mark.parametrize("noise", [0.98, 1.0, 1.02])
def test_noise_is_not_a_regression(noise: float) -> None:
    counts = {path: (ours * noise, bare) for path, (ours, bare) in BASE.items()}
    assert set(verdicts(counts, same=True).values()) == {(False, False)}


def test_a_faster_path_asks_for_a_new_baseline() -> None:
    assert verdicts({"add": (800.0, 2000.0), "work": (5000.0, 1000.0)}, same=True)["add"] == (False, True)


def test_on_another_toolchain_the_bare_path_takes_its_share_out() -> None:
    slower_interpreter = {path: (ours * 1.4, bare * 1.4) for path, (ours, bare) in BASE.items()}
    assert set(verdicts(slower_interpreter, same=False).values()) == {(False, False)}
    ours_only = {"add": (1000.0 * 1.4 * 1.25, 2000.0 * 1.4), "work": (5000.0, 1000.0)}
    assert verdicts(ours_only, same=False)["add"] == (True, False)


def test_a_path_that_was_not_counted_is_an_error() -> None:
    with pytest.raises(KeyError):
        verdicts({"add": BASE["add"]}, same=True)


def test_the_baseline_names_its_toolchain_and_every_path() -> None:
    stored = json.loads(BASELINE.read_text())
    assert set(stored["toolchain"]) == {"python", "cython", "hiredis", "compiler", "machine"}
    assert set(stored["instructions_per_job"]) == set(paths.SECTIONS)
    assert not differences(stored["toolchain"], stored["toolchain"])
    assert differences({"python": "b"}, {"python": "a"}) == ["python: a → b"]


def test_tolerances_are_above_the_noise_and_below_what_must_be_caught() -> None:
    assert 0.02 < SAME_TOLERANCE < 0.15 <= OTHER_TOLERANCE


def test_without_valgrind_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(callgrind.CannotCountError, match="apt-get install valgrind"):
        callgrind.count()
