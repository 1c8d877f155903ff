"""Producer, Consumer and Scheduler in the three forms; how a form is spoken to is what the conformance suite does."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

import chasquimq.aio
import chasquimq.sync
from tests.conformance.conftest import (
    _every_test_ends,
    _no_thread_is_left,
    flavour,
    own_server,
    own_world,
    pytest_configure,
    pytest_generate_tests,
    pytest_pyfunc_call,
    world,
)
from tests.conformance.flavours import Spoken, straight
from tests.conformance.world import World

__all__ = [
    "_every_test_ends",
    "_no_thread_is_left",
    "flavour",
    "own_server",
    "own_world",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_pyfunc_call",
    "world",
]


@dataclasses.dataclass(frozen=True, repr=False)
class Power:
    """The low-level classes of one form, for one queue."""

    world: World

    def producer(self, **options: Any) -> Any:
        return self._make("Producer", self.world.name, **options)

    def consumer(self, handler: Any, **options: Any) -> Any:
        if not self.world.flavour.is_async and inspect.iscoroutinefunction(handler):
            return self._make("Consumer", self.world.name, lambda job: straight(handler(job)), **options)
        return self._make("Consumer", self.world.name, handler, **options)

    def scheduler(self, **options: Any) -> Any:
        return self._make("Scheduler", self.world.name, **options)

    def _make(self, kind: str, *arguments: Any, **options: Any) -> Any:
        form = chasquimq.aio if self.world.flavour.is_async else chasquimq.sync
        made = getattr(form, kind)(*arguments, **{"connection": self.world.url, **options})
        return made if self.world.flavour.is_async else Spoken(made)


@pytest.fixture
def power(world: World) -> Power:
    return Power(world)


@pytest.fixture
def own_power(own_world: World) -> Power:
    return Power(own_world)
