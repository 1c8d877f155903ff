"""A program with several worker processes for a test, and certainly nothing left of it at the test's end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conformance.flavours import FLAVOURS
from tests.conformance.world import World

from .programs import Running

FORMS = ("sync", "asyncio", "trio")
CONFIGURED = ("queue", "way", "handle_signals", "closure", "adds", "timings", "login", "closes_when_ready")
"""What configures the program; everything else is an option of its worker."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "flavour" in metafunc.fixturenames and not any("flavour" in names for names in marked):
        metafunc.parametrize("flavour", FORMS)


Start = Callable[..., Running]


@pytest.fixture
def start(queue_name: str, redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a program: ``start(flavour, **what configures it, **options of its worker)``."""
    started: list[Running] = []

    def start(flavour: str, **given: Any) -> Running:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        configuration = {name: given.pop(name) for name in CONFIGURED if name in given}
        defaults = {"connection": redis_url, "processes": 2, "concurrency": 1, "name": "w", "run_scheduler": False}
        options = {**defaults, **given}
        started.append(Running(folder, {"flavour": flavour, "queue": queue_name, **configuration, "options": options}))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture
def world(redis_url: str, queue_name: str, admin: redis.Redis) -> World:
    """The queue as it is in Redis."""
    return World(FLAVOURS["sync"], redis_url, queue_name, admin)
