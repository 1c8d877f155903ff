"""Real Clusters and sentinels for the tests of this folder; each is started once and made whole before every test."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator

import pytest
import redis
import redis.sentinel

from tests.conformance.conftest import (
    _every_test_ends,  # noqa: F401
    _no_thread_is_left,  # noqa: F401
    flavour,  # noqa: F401
    pytest_configure,  # noqa: F401
    pytest_generate_tests,  # noqa: F401
    pytest_pyfunc_call,  # noqa: F401
    world,  # noqa: F401
)
from tests.conformance.flavours import EVERY_FORM
from tests.conftest import ADMIN, LEAK_S, POLL_S, remove_keys
from tests.net.conftest import Form, peer  # noqa: F401
from tests.servers import RedisServer, ServerBinary
from tests.topologies.cluster import Cluster, wait_for
from tests.topologies.sentinels import SERVICE, Watched


@pytest.fixture(params=EVERY_FORM)
def form(request: pytest.FixtureRequest) -> Form:
    """Every way to wait."""
    return Form(request.param)


@pytest.fixture(scope="session")
def _cluster(redis_binary: ServerBinary) -> Iterator[Cluster]:
    with Cluster(redis_binary) as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Three primaries and a replica of one of them, all well."""
    wait_for(_cluster.is_whole, "the cluster is whole")
    return _cluster


@pytest.fixture(scope="session")
def _watched(redis_binary: ServerBinary) -> Iterator[Watched]:
    with Watched(redis_binary) as watched:
        yield watched


@pytest.fixture
def watched(_watched: Watched) -> Watched:
    """A primary, a replica and three sentinels, all well."""
    wait_for(_watched.is_whole, "the sentinels are content")
    return _watched


@pytest.fixture(params=["cluster", "sentinel"])
def topology(request: pytest.FixtureRequest) -> Cluster | Watched:
    """Either of them, for what must hold on both."""
    found: Cluster | Watched = request.getfixturevalue("cluster" if request.param == "cluster" else "watched")
    return found


@pytest.fixture
def redis_url(topology: Cluster | Watched) -> str:
    return topology.url


@pytest.fixture
def admin(topology: Cluster | Watched) -> Iterator[redis.Redis]:
    """A client that has nothing to do with the code under test and finds the primaries by itself."""
    if isinstance(topology, Cluster):
        found = redis.RedisCluster(host="127.0.0.1", port=topology.nodes[0].port, client_name=ADMIN)
    else:
        nodes = [("127.0.0.1", sentinel.port) for sentinel in topology.sentinels]
        watching = redis.sentinel.Sentinel(nodes, sentinel_kwargs={"client_name": ADMIN})
        found = watching.master_for(SERVICE, client_name=ADMIN)
    yield found
    found.close()
    if not isinstance(topology, Cluster):
        for sentinel in watching.sentinels:
            sentinel.close()


@pytest.fixture
def queue_name(request: pytest.FixtureRequest, topology: Cluster | Watched, admin: redis.Redis) -> Iterator[str]:
    """A queue that no other test uses; checked for leaks on every server, and removed afterwards."""
    if isinstance(topology, Cluster):
        servers = [node.server for node in topology.nodes]
    else:
        servers = [*topology.servers, *topology.sentinels]
    before = clients_of(servers)
    test = re.sub(r"\W+", "-", request.node.name)[:40].strip("-")
    name = f"{test}-{secrets.token_hex(4)}"
    yield name
    kept = remove_keys(admin, name)
    assert not kept, f"keys left without a TTL: {kept}; locks and markers must expire when their owner dies"
    await_departure(servers, before)


def clients_of(servers: list[RedisServer]) -> set[tuple[int | None, str, str]]:
    """Who is connected by TCP, as port, id and last command; none of the tests' own, and no other servers."""
    return {
        (server.port, client["id"], client["cmd"])
        for server in servers
        for client in server.client.client_list()
        if not (client["addr"].endswith(":0") or set(client["flags"]) & {"S", "M"})
        and not client["name"].startswith((ADMIN, "sentinel-"))
        and not client["cmd"].startswith("restore")  # kept open by MIGRATE
    }


def await_departure(servers: list[RedisServer], before: set[tuple[int | None, str, str]]) -> None:
    """Fails if clients that came since do not go."""
    known = {client[:2] for client in before}
    deadline = time.monotonic() + LEAK_S
    while left := [client for client in clients_of(servers) if client[:2] not in known]:
        assert time.monotonic() < deadline, f"connections left open {LEAK_S:.0f} s after the test: {left}"
        time.sleep(POLL_S)
