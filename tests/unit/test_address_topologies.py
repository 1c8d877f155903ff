"""Every way to name sentinels and nodes of a Cluster, and what is refused; a password never shows."""

from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from chasquimq.address import Address, ConnectionOptions, Sentinels, Tls, resolve_address
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError

SECRET = "s3cret"


def watched(*nodes: tuple[str, int], **options: Any) -> Sentinels:
    return Sentinels(nodes=nodes or (("h", 26_379),), service_name="mine", **options)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis+sentinel://h/mine", Address(sentinels=watched())),
        ("valkey+sentinel://h/mine/", Address(sentinels=watched())),
        (
            "redis+sentinel://h1:1,h2,[::1]:3/mine/4",
            Address(sentinels=watched(("h1", 1), ("h2", 26_379), ("::1", 3)), db=4),
        ),
        ("redis+sentinel://h?service_name=mine&db=4", Address(sentinels=watched(), db=4)),
        ("redis+sentinel://h/my%20name", Address(sentinels=Sentinels(nodes=(("h", 26_379),), service_name="my name"))),
        (
            "redis+sentinel://u%40:p%2C%2F@h1:1,h2:2/mine?sentinel_username=su&sentinel_password=sp%40",
            Address(
                sentinels=watched(("h1", 1), ("h2", 2), username="su", password="sp@"), username="u@", password="p,/"
            ),
        ),
        (
            "rediss+sentinel://h/mine?ssl_ca_certs=/ca",
            Address(sentinels=watched(tls=Tls(ca_certs="/ca")), tls=Tls(ca_certs="/ca")),
        ),
        ("rediss+sentinel://h/mine?sentinel_ssl=no", Address(sentinels=watched(), tls=Tls())),
        ("redis+sentinel://h/mine?sentinel_ssl=yes", Address(sentinels=watched(tls=Tls()))),
        (
            "redis+sentinel://h/mine?failover_timeout_ms=1&discovery_timeout_ms=2",
            Address(sentinels=watched(), failover_timeout_ms=1, discovery_timeout_ms=2),
        ),
        ("redis+cluster://h", Address(startup_nodes=(("h", 6_379),))),
        ("redis+cluster://h1:1,h2:2/", Address(startup_nodes=(("h1", 1), ("h2", 2)))),
        ("REDIS+CLUSTER://[::1],h/0", Address(startup_nodes=(("::1", 6_379), ("h", 6_379)))),
        ("valkeys+cluster://u:p@h", Address(startup_nodes=(("h", 6_379),), username="u", password="p", tls=Tls())),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert resolve_address(url) == address


@pytest.mark.parametrize(
    ("mapping", "address"),
    [
        ({"sentinels": [("h", 1)], "service_name": "mine"}, Address(sentinels=watched(("h", 1)))),
        ({"sentinels": "h1:1,h2", "service_name": "mine"}, Address(sentinels=watched(("h1", 1), ("h2", 26_379)))),
        (
            {"sentinels": ["h1:1", {"host": "h2"}, ["h3", "3"]], "service_name": "mine", "host": "ignored"},
            Address(host="ignored", sentinels=watched(("h1", 1), ("h2", 26_379), ("h3", 3))),
        ),
        (
            {"sentinels": ["h"], "service_name": "mine", "password": "p", "sentinel_password": "sp", "db": 2},
            Address(sentinels=watched(password="sp"), password="p", db=2),
        ),
        ({"startup_nodes": [("h", 1), {"host": "h2", "port": 2}]}, Address(startup_nodes=(("h", 1), ("h2", 2)))),
        ({"url": "redis+cluster://h:1", "password": "p"}, Address(startup_nodes=(("h", 1),), password="p")),
    ],
)
def test_mappings(mapping: dict[str, Any], address: Address) -> None:
    assert resolve_address(mapping) == address


def test_connection_options() -> None:
    options = ConnectionOptions(sentinels=["h"], service_name="mine", sentinel_password="sp", ssl=True)
    assert resolve_address(options) == Address(sentinels=watched(password="sp", tls=Tls()), tls=Tls())
    assert resolve_address(ConnectionOptions(startup_nodes=[("h", 1)])) == Address(startup_nodes=(("h", 1),))


@pytest.mark.parametrize("module", [redis.sentinel, redis.asyncio.sentinel])
def test_clients_that_ask_sentinels(module: Any) -> None:
    watching = module.Sentinel(
        [("h1", 1), ("h2", 2)], sentinel_kwargs={"username": "su", "password": "sp"}, password="p", socket_timeout=2
    )
    assert resolve_address(watching.master_for("mine", db=3)) == Address(
        sentinels=watched(("h1", 1), ("h2", 2), username="su", password="sp"),
        password="p",
        db=3,
        socket_timeout_ms=2_000,
    )
    with pytest.raises(InvalidOptionError, match="replicas"):
        resolve_address(watching.slave_for("mine"))
    with pytest.raises(InvalidOptionError, match="master_for"):
        resolve_address(watching)


def test_clients_that_ask_sentinels_by_tls() -> None:
    watching = redis.sentinel.Sentinel([("h", 1)], sentinel_kwargs={"ssl": True}, ssl=True, ssl_ca_certs="/ca")
    address = resolve_address(watching.master_for("mine"))
    assert address.tls == Tls(ca_certs="/ca")
    assert address.sentinels == watched(("h", 1), tls=Tls(ca_certs="/ca"))
    mixed = redis.sentinel.Sentinel([("h", 1)], ssl=True)
    assert resolve_address(mixed.master_for("mine")).sentinels == watched(("h", 1))


def test_a_cluster_client() -> None:
    """The synchronous one connects when it is made: tests/topologies."""
    client = redis.asyncio.RedisCluster(host="h", port=1, password="p", ssl=True, ssl_ca_certs="/ca", client_name="me")
    address = resolve_address(client)
    assert address.startup_nodes == (("h", 1),)
    assert (address.password, address.tls, address.client_name) == ("p", Tls(ca_certs="/ca"), "me")


@pytest.mark.parametrize(
    ("connection", "kind", "match"),
    [
        ("redis+sentinel://h", InvalidOptionError, "service_name"),
        ("redis+sentinel:///mine", InvalidOptionError, "empty"),
        ("redis+sentinel://h:port/mine", InvalidOptionError, "malformed"),
        ("redis+sentinel://us/er:pass@h/mine", InvalidOptionError, "written %2F"),
        ("redis+sentinel://h/mine/x", InvalidOptionError, "db"),
        ("redis+sentinel://h/mine/1/2", InvalidOptionError, "db"),
        ("redis+cluster://", InvalidOptionError, "empty"),
        ("redis+cluster://h/1", InvalidOptionError, "database 0 only"),
        ("redis+cluster://h?db=1", InvalidOptionError, "database 0 only"),
        ("redis+other://h", InvalidOptionError, "scheme"),
        ("unix+cluster://h", InvalidOptionError, "scheme"),
        ("redis+://h", InvalidOptionError, "scheme"),
        ({"sentinels": ["h"]}, InvalidOptionError, "service_name"),
        ({"sentinels": [], "service_name": "mine"}, InvalidOptionError, "empty"),
        ({"sentinels": 5, "service_name": "mine"}, InvalidOptionTypeError, "sentinels"),
        ({"sentinels": {"host": "h"}, "service_name": "mine"}, InvalidOptionTypeError, "sentinels"),
        ({"sentinels": [5], "service_name": "mine"}, InvalidOptionTypeError, "sentinels"),
        ({"sentinels": [(5, 5)], "service_name": "mine"}, InvalidOptionTypeError, "sentinels"),
        ({"sentinels": [{"port": 5}], "service_name": "mine"}, InvalidOptionError, "without a host"),
        ({"sentinels": [("h", 70_000)], "service_name": "mine"}, InvalidOptionError, "port"),
        ({"sentinels": ["h"], "service_name": 5}, InvalidOptionTypeError, "service_name"),
        ({"startup_nodes": ["h"], "db": 1}, InvalidOptionError, "database 0 only"),
        ({"startup_nodes": ["h"], "unix_socket_path": "/s"}, InvalidOptionError, "more than one place"),
        (
            {"startup_nodes": ["h"], "sentinels": ["h"], "service_name": "mine"},
            InvalidOptionError,
            "more than one place",
        ),
        ({"failover_timeout_ms": -1}, InvalidOptionError, "failover_timeout_ms"),
        ({"discovery_timeout_ms": 0}, InvalidOptionError, "discovery_timeout_ms"),
    ],
)
def test_what_is_refused(connection: object, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        resolve_address(connection)


@pytest.mark.parametrize(
    "connection",
    [
        f"redis+sentinel://u:{SECRET}@h:port/mine",
        f"redis+sentinel://u:{SECRET}@h",
        f"redis+sentinel://u:{SECRET}/x@h/mine",
        f"redis+sentinel://u:{SECRET}#@h/mine",
        f"redis+sentinel://h/mine/x?sentinel_password={SECRET}",
        f"redis+cluster://u:{SECRET}@h,:1",
        f"redis+cluster://u:{SECRET}/x@h",
        f"redis+cluster://u:{SECRET}@h/5",
        {"sentinels": ["h"], "sentinel_password": SECRET},
        {"sentinels": ["h"], "service_name": "mine", "sentinel_password": SECRET.encode()},
        {"sentinels": [f"u:{SECRET}@h"], "service_name": "mine"},
    ],
)
def test_errors_never_show_a_password(connection: object) -> None:
    with pytest.raises((InvalidOptionError, InvalidOptionTypeError)) as caught:
        resolve_address(connection)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_reprs_and_displays_never_show_a_password() -> None:
    url = f"redis+sentinel://u:{SECRET}@h1:1,[::1]:2/mine/3?sentinel_password={SECRET}&sentinel_username=su"
    address = resolve_address(url)
    assert SECRET not in repr(address) + address.display
    assert address.display == "redis+sentinel://h1:1,[::1]:2/mine/3"
    assert SECRET not in repr(ConnectionOptions(sentinels=["h"], sentinel_password=SECRET))
    assert resolve_address(f"rediss+cluster://:{SECRET}@h:1,h2").display == "rediss+cluster://h:1,h2:6379"
