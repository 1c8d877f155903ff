"""The reference implementation and ours at one Redis 8.6, which the reference needs.

Where the server or the wheel cannot be had, these tests fail: a compatibility that nobody checked is not one.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.ledger import Ledger
from tests.faults.processes import Workers, workers_of
from tests.faults.state import QueueState
from tests.servers import RedisServer, ensure, ensure_reference

from .ours import OurQueue
from .reference import Reference


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def newest_redis() -> Iterator[RedisServer]:
    with RedisServer(ensure("redis-8.6")) as server:
        yield server


@pytest.fixture(scope="session")
def reference_interpreter() -> Path:
    return ensure_reference()


@pytest.fixture
def queue(newest_redis: RedisServer) -> Iterator[str]:
    """The name of a queue of the test's own."""
    name = f"interop-{secrets.token_hex(6)}"
    yield name
    client = newest_redis.client
    if keys := list(client.scan_iter(match=f"{{chasqui:{name}}}:*", count=1000)):
        client.unlink(*keys)


@pytest.fixture
def state(newest_redis: RedisServer, queue: str) -> QueueState:
    """The queue's keys, seen by an independent client."""
    return QueueState(newest_redis.client, queue)


@pytest.fixture
def workers(newest_redis: RedisServer, queue: str, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers of ours; their ledger is everybody's."""
    with workers_of(newest_redis.url, queue, tmp_path) as started:
        yield started


@pytest.fixture
def ledger(workers: Workers) -> Ledger:
    return workers.ledger


@pytest.fixture
def references(
    newest_redis: RedisServer, reference_interpreter: Path, queue: str, ledger: Ledger
) -> Iterator[Callable[..., Reference]]:
    """Starts further processes of the reference."""
    started: list[Reference] = []

    def start() -> Reference:
        started.append(Reference(reference_interpreter, newest_redis.url, queue, ledger.path))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def reference(references: Callable[..., Reference]) -> Reference:
    """One process of the reference at this queue."""
    return references()


@pytest.fixture(params=["sync", "asyncio", "trio"])
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ours(newest_redis: RedisServer, queue: str, flavour: str) -> OurQueue:
    """Our queue in the flavour of the test."""
    return OurQueue(newest_redis.url, queue, flavour)


@pytest.fixture
def our_queue(newest_redis: RedisServer, queue: str) -> OurQueue:
    """Our queue, where the flavour does not matter."""
    return OurQueue(newest_redis.url, queue, "sync")
