"""One implementation or the other, whole, and both with the same face."""

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import chasquimq._fast
from chasquimq._fast import IMPLEMENTATION

ROOT = Path(__file__).parents[2]
PURE = os.environ.get("CHASQUIMQ_PURE") == "1"

REPORT = """
import chasquimq._fast as fast
homes = {getattr(fast, name).__module__ for name in fast.__all__ if hasattr(getattr(fast, name), "__module__")}
print(fast.IMPLEMENTATION, *sorted(home for home in homes if home.startswith("chasquimq")))
"""
BLOCK = """
import sys
sys.modules["chasquimq._fast.frames"] = None
"""


def report(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "CHASQUIMQ_PURE"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    implementation, *homes = result.stdout.split()
    return implementation, {home.startswith("chasquimq._fast._pure") for home in homes}


def test_this_run_tests_what_is_installed():
    assert ("python" if PURE else "cython") == IMPLEMENTATION


def test_the_environment_asks_for_the_twins():
    assert report(REPORT, CHASQUIMQ_PURE="1") == ("python", {True})


@pytest.mark.skipif(PURE, reason="CHASQUIMQ_PURE=1 leaves the compiled modules out")
def test_the_compiled_modules_are_the_default():
    implementation, from_twins = report(REPORT, CHASQUIMQ_PURE="0")
    # event_head is not hot: the compiled module takes the twin's.
    assert implementation == "cython"
    assert from_twins == {True, False}


def test_one_missing_module_means_all_twins():
    assert report(BLOCK + REPORT) == ("python", {True})


def test_everything_is_exported():
    assert all(hasattr(chasquimq._fast, name) for name in chasquimq._fast.__all__)
    assert sorted(chasquimq._fast.__all__) == sorted(set(chasquimq._fast.__all__))


@pytest.mark.parametrize(
    "name", sorted(set(chasquimq._fast.__all__) - {"IMPLEMENTATION", "BackoffTuple", "END", "FULL"})
)
def test_both_take_the_same_arguments(twins, name):
    faces = []
    for fast in twins:
        member = next(getattr(module, name) for module in vars(fast).values() if hasattr(module, name))
        methods = [(name, member)] if not inspect.isclass(member) else inspect.getmembers(member, callable)
        faces.append(
            {
                label: list(inspect.signature(method).parameters)
                for label, method in methods
                if not label.startswith("_")
            }
        )
    assert all(face == faces[0] for face in faces)


def test_nothing_but_errors_is_imported():
    code = """
import sys, types
package = types.ModuleType("chasquimq")
package.__path__ = ["chasquimq"]
sys.modules["chasquimq"] = package
import chasquimq._fast
print("cython", *sorted(name for name in sys.modules if name.startswith("chasquimq.")))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {name for name in result.stdout.split()[1:] if not name.startswith("chasquimq._fast")}
    assert ours == {"chasquimq.errors"}
    assert import_module("chasquimq.errors").EnvelopeError is not None
