"""A real server, real worker processes, and a ledger that they cannot talk round."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from chasquimq import sync
from tests.servers import RedisServer, ServerBinary, ensure

from .ledger import Ledger
from .processes import Workers, workers_of
from .state import QueueState

Queue = sync.Queue[object, object]


@pytest.fixture(scope="session")
def server_binary() -> ServerBinary:
    """The server that CHASQUIMQ_TEST_SERVER names, or Redis 8.6. Without one these tests fail, not skip."""
    return ensure(os.environ.get("CHASQUIMQ_TEST_SERVER") or "redis-8.6")


@pytest.fixture(scope="session")
def common_server(server_binary: ServerBinary) -> Iterator[RedisServer]:
    with RedisServer(server_binary) as server:
        yield server


@pytest.fixture
def own_server(server_binary: ServerBinary) -> Iterator[RedisServer]:
    """A server that the test may kill, fill or reconfigure."""
    with RedisServer(server_binary) as server:
        yield server


@pytest.fixture
def durable_server(server_binary: ServerBinary) -> Iterator[RedisServer]:
    """One that keeps what it acknowledged, also when it is killed."""
    with RedisServer(server_binary, appendonly=True) as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> RedisServer:
    """The test's server: one of its own if it asked for one, else the common one."""
    for name in ("own_server", "durable_server"):
        if name in request.fixturenames:
            return request.getfixturevalue(name)  # type: ignore[no-any-return]
    return request.getfixturevalue("common_server")  # type: ignore[no-any-return]


@pytest.fixture
def queue_name(server: RedisServer) -> Iterator[str]:
    name = f"fault-{secrets.token_hex(6)}"
    yield name
    if server.pid:
        client = server.new_client()
        if keys := list(client.scan_iter(match=f"{{chasqui:{name}}}:*", count=1000)):
            client.unlink(*keys)


@pytest.fixture
def queue(server: RedisServer, queue_name: str) -> Iterator[Queue]:
    """Adds jobs; synchronous, whatever the flavour of the workers."""
    with sync.Queue[object, object](queue_name, connection=server.url) as queue:
        yield queue


@pytest.fixture
def state(server: RedisServer, queue_name: str) -> QueueState:
    return QueueState(server.client, queue_name)


@pytest.fixture
def workers(server: RedisServer, queue_name: str, tmp_path: Path) -> Iterator[Workers]:
    with workers_of(server.url, queue_name, tmp_path) as started:
        yield started


@pytest.fixture
def ledger(workers: Workers) -> Ledger:
    return workers.ledger


@pytest.fixture(params=["sync", "asyncio", "trio"])
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sync", "asyncio", "trio", "asyncio+thread", "trio+thread"])
def handler_form(request: pytest.FixtureRequest) -> str:
    """Every flavour, and plain functions as handlers of the asynchronous ones."""
    return str(request.param)
