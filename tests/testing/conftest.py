"""``chasquimq.testing`` in the three forms: the same words, awaited where there is something to await."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import chasquimq.testing.aio
import chasquimq.testing.sync
from tests.conformance.conftest import (
    _every_test_ends,
    _no_thread_is_left,
    flavour,
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
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_pyfunc_call",
    "world",
]


class SpokenTesting:
    """``chasquimq.testing.sync`` with its functions called with ``await``."""

    def __getattr__(self, name: str) -> Any:
        value, twin = (getattr(form, name) for form in (chasquimq.testing.sync, chasquimq.testing.aio))
        if name == "QueueClock":
            return lambda queue: SpokenClock(value(_plain(queue)))

        if name == "inline":
            return lambda *arguments, **options: SpokenBlock(value(*map(_plain, arguments), **options))
        assert inspect.iscoroutinefunction(twin)

        async def blocking(*arguments: Any, **options: Any) -> Any:
            return value(*map(_plain, arguments), **options)

        return blocking


class SpokenClock:
    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._clock, name)
        if name not in ("advance", "move_to"):
            return value

        async def blocking(*arguments: Any) -> Any:
            return value(*arguments)

        return blocking


class SpokenBlock:
    def __init__(self, block: Any) -> None:
        self._block = block

    async def __aenter__(self) -> Any:
        return self._block.__enter__()

    async def __aexit__(self, *exc_info: object) -> Any:
        return self._block.__exit__(*exc_info)


def _plain(value: Any) -> Any:
    if isinstance(value, Spoken):
        return value._target
    if inspect.iscoroutinefunction(value):
        return lambda job: straight(value(job))
    return value


@pytest.fixture
def testing(world: World) -> Any:
    """The module of the form that the test runs in."""
    return chasquimq.testing.aio if world.flavour.is_async else SpokenTesting()
