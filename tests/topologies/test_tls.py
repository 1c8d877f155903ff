"""TLS with client certificates all the way: to sentinels, to nodes that are asked, to those that others name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chasquimq.address import resolve_address
from chasquimq.errors import RedisConnectionError
from tests.conftest import have
from tests.net.commands import call, pack
from tests.net.conftest import Form
from tests.servers import ServerBinary, TLSFiles, ensure
from tests.servers.certificates import ClientFiles, make_certificate, make_client_certificate
from tests.topologies.cluster import Cluster
from tests.topologies.sentinels import SERVICE, Watched


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    return make_certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mailer(tmp_path_factory: pytest.TempPathFactory, authority: TLSFiles) -> ClientFiles:
    return make_client_certificate(tmp_path_factory.mktemp("client"), authority, "mailer")


@pytest.fixture(scope="module")
def with_tls() -> ServerBinary:
    """Always Redis 8.6: not every server program is built with TLS, and on our side it is the same."""
    return have(lambda: ensure("redis-8.6"))


@pytest.fixture(scope="module")
def tls_cluster(with_tls: ServerBinary, authority: TLSFiles) -> Iterator[Cluster]:
    config = ["tls-cluster yes", "tls-auth-clients yes"]
    with Cluster(with_tls, primaries=2, replicas=0, tls=authority, config=config) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def tls_watched(with_tls: ServerBinary, authority: TLSFiles) -> Iterator[Watched]:
    with Watched(with_tls, sentinels=1, tls=authority) as watched:
        yield watched


def settings(authority: TLSFiles, mailer: ClientFiles) -> dict[str, Any]:
    return {
        "ssl": True,
        "ssl_ca_certs": str(authority.authority),
        "ssl_certfile": str(mailer.certificate),
        "ssl_keyfile": str(mailer.key),
    }


def test_a_cluster_is_followed_by_tls(
    form: Form, tls_cluster: Cluster, authority: TLSFiles, mailer: ClientFiles
) -> None:
    first, second = tls_cluster.nodes
    key = f"{{chasqui:{tls_cluster.name_on(second, 'tls')[0]}}}:n".encode()

    async def main() -> None:
        for url in (f"redis+cluster://127.0.0.1:{first.port}", f"redis://127.0.0.1:{first.port}"):
            client = form.client(resolve_address({"url": url, **settings(authority, mailer)}), key)
            assert await client.run(call("SET", key, "x")) == b"OK"
            connection = await client.dedicated()
            assert await connection.exchange(pack("GET", key)) == [b"x"]
            await connection.aclose()
            await client.close()

    form.run(main)


def test_a_cluster_that_asks_for_certificates(form: Form, tls_cluster: Cluster, authority: TLSFiles) -> None:
    url = f"rediss+cluster://127.0.0.1:{tls_cluster.nodes[0].port}?ssl_ca_certs={authority.authority}"

    async def main() -> None:
        client = form.client(resolve_address(url + "&failover_timeout_ms=100"))
        with pytest.raises(RedisConnectionError, match="ssl_certfile"):
            await client.run(call("PING"))
        await client.close()

    form.run(main)


def test_sentinels_are_asked_by_tls(form: Form, tls_watched: Watched, authority: TLSFiles, mailer: ClientFiles) -> None:
    url = f"rediss+sentinel://127.0.0.1:{tls_watched.sentinels[0].port}/{SERVICE}"

    async def main() -> None:
        client = form.client(resolve_address({"url": url, **settings(authority, mailer)}))
        assert (await client.run(call("ROLE")))[0] == b"master"
        await client.close()
        plain = {"url": url, **settings(authority, mailer), "sentinel_ssl": False}
        client = form.client(resolve_address({**plain, "failover_timeout_ms": 100, "discovery_timeout_ms": 200}))
        with pytest.raises(RedisConnectionError, match="Cannot find the primary"):
            await client.run(call("ROLE"))
        await client.close()

    form.run(main)
