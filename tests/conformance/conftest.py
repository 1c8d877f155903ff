"""Every test of this folder is one coroutine function; it runs once for each form of the library."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import redis

from tests.conformance.flavours import EVERY_FORM, FLAVOURS, Flavour
from tests.conformance.world import World
from tests.servers import RedisServer, ServerBinary

LONGEST_TEST_S = 60
THREADS_GO_S = 3.0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "forms(*names): the forms that a test is about; by default sync, asyncio, trio")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "flavour" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("forms")
        metafunc.parametrize("flavour", marker.args if marker else EVERY_FORM, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    flavour = pyfuncitem.funcargs.get("flavour")
    if not isinstance(flavour, tuple(type(known) for known in FLAVOURS.values())):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    flavour.run(lambda: pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def flavour(request: pytest.FixtureRequest) -> Flavour:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return FLAVOURS[request.param]


@pytest.fixture
def world(flavour: Flavour, redis_url: str, queue_name: str, admin: redis.Redis) -> World:
    return World(flavour, redis_url, queue_name, admin)


@pytest.fixture
def own_server(redis_binary: ServerBinary) -> Iterator[RedisServer]:
    """A server that this test may stop; what it has acknowledged survives."""
    with RedisServer(redis_binary, appendonly=True) as server:
        yield server


@pytest.fixture
def own_world(flavour: Flavour, own_server: RedisServer) -> World:
    return World(flavour, own_server.url, "own", own_server.client)


@pytest.fixture(autouse=True)
def _every_test_ends() -> Iterator[None]:
    """A test that hangs is a failure with a picture of all threads, not a lost evening."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__)
        raise AssertionError(f"the test did not end within {LONGEST_TEST_S} s")

    before: Any = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_TEST_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREADS_GO_S
    while left := [
        thread.name for thread in threading.enumerate() if thread.name.startswith("chasquimq-") and thread not in before
    ]:
        assert time.monotonic() < deadline, f"threads left {THREADS_GO_S:.0f} s after the test: {left}"
        time.sleep(0.005)
