"""What every test may ask for: a private server, a queue name of its own, and an independent client.

Nothing is started before a test asks for it, so that the unit tests need no server. Every test that asked for
a queue is checked at its end: it must leave no key behind that Redis would keep for ever, and no connection.
"""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from tests.servers import NotAvailable, RedisServer, ServerBinary, ensure, ensure_reference

T = TypeVar("T")

ADMIN = "chasquimq-tests"
PERMANENT = re.compile(rb"(stream|delayed|dlq|events|repeat|repeat:spec:.+)")
"""The kinds of keys that live as long as their queue; every other one must expire by itself."""
LEAK_S = 2.0
POLL_S = 0.01


def have(provision: Callable[[], T], *, required: bool = True) -> T:
    """What `provision` gives. A test that cannot have it is skipped; in CI, what is `required` must be there."""
    try:
        return provision()
    except NotAvailable as error:
        if required and os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis_binary() -> ServerBinary:
    """The server program of this run: the one that CHASQUIMQ_TEST_SERVER names, or Redis 8.6."""
    return have(lambda: ensure(os.environ.get("CHASQUIMQ_TEST_SERVER") or "redis-8.6"))


@pytest.fixture(scope="session")
def reference_python() -> Path:
    """An interpreter that imports the reference implementation."""
    return have(ensure_reference)


@pytest.fixture(scope="session")
def redis_server(redis_binary: ServerBinary) -> Iterator[RedisServer]:
    """The run's server. Tests that stop, fill or reconfigure a server start one of their own."""
    with RedisServer(redis_binary) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture(scope="session")
def admin(redis_server: RedisServer) -> redis.Redis:
    """A client that has nothing to do with the code under test. Its connections do not count as leaks."""
    return redis_server.new_client(client_name=ADMIN)


@pytest.fixture
def queue_name(request: pytest.FixtureRequest, admin: redis.Redis) -> Iterator[str]:
    """A queue that no other test uses; checked for leaks and removed afterwards."""
    clients_before = set(other_clients(admin))
    test = re.sub(r"\W+", "-", request.node.name)[:40].strip("-")
    name = f"{test}-{secrets.token_hex(4)}"
    yield name
    leaked = await_departure(admin, clients_before)
    kept = remove_keys(admin, name)
    assert not kept, f"keys left without a TTL: {kept}; locks and markers must expire when their owner dies"
    assert not leaked, f"connections left open {LEAK_S:.0f} s after the test: {leaked}"


def other_clients(admin: redis.Redis) -> dict[str, str]:
    """The server's clients, except the tests' own: id -> what is known of it."""
    return {
        client["id"]: f"{client['name'] or 'unnamed'} (last command {client['cmd']}, {client['addr']})"
        for client in admin.client_list()
        if client["name"] != ADMIN
    }


def await_departure(admin: redis.Redis, before: set[str]) -> list[str]:
    """The clients that came since and do not go."""
    deadline = time.monotonic() + LEAK_S
    while True:
        new = {key: text for key, text in other_clients(admin).items() if key not in before}
        if not new or time.monotonic() > deadline:
            return list(new.values())
        time.sleep(POLL_S)


def remove_keys(admin: redis.Redis, queue: str) -> list[bytes]:
    """Delete the queue; the keys that should have had a TTL and had none."""
    prefix = f"{{chasqui:{queue}}}:".encode()
    keys = list(admin.scan_iter(match=prefix + b"*", count=1000))
    if not keys:
        return []
    with admin.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.pttl(key)
        lifetimes = pipeline.execute()
    admin.unlink(*keys)
    return [
        key
        for key, lifetime in zip(keys, lifetimes, strict=True)
        if lifetime == -1 and not PERMANENT.fullmatch(key.removeprefix(prefix))
    ]
