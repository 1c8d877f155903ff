"""Every seed, every input that once was a problem, and a slice of what lies near them: on all twins, in every run."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import REGRESSIONS, mutations, seeds
from tests.fuzz.targets import TARGETS
from tests.fuzz.verdict import complain, little_memory, little_time

MUTATIONS = 400
EVERY_TARGET = pytest.mark.parametrize("name", TARGETS)


def replay(name: str, data: bytes) -> None:
    try:
        with little_time(), little_memory(len(data)):
            TARGETS[name](data)
    except BaseException:
        complain(name, data)
        raise


@EVERY_TARGET
def test_seeds(name):
    for data in seeds(name):
        replay(name, data)


@EVERY_TARGET
def test_what_lies_near_the_seeds(name):
    for data in mutations(name, MUTATIONS):
        replay(name, data)


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_regressions(path):
    replay(path.parent.name, path.read_bytes())


def test_every_regression_has_a_target():
    assert {path.parent.name for path in REGRESSIONS.glob("*/*")} <= set(TARGETS)
