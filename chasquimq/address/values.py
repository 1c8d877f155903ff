"""What an address is made of: frozen values. No repr, and nothing that is made for messages, shows a password."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from chasquimq._dataclass import dataclass, field

__all__ = [
    "DEFAULT_CONNECT_TIMEOUT_MS",
    "DEFAULT_DISCOVERY_TIMEOUT_MS",
    "DEFAULT_FAILOVER_TIMEOUT_MS",
    "DEFAULT_SOCKET_TIMEOUT_MS",
    "Address",
    "ConnectionOptions",
    "Node",
    "Sentinels",
    "Tls",
    "node_text",
]

DEFAULT_CONNECT_TIMEOUT_MS = 5_000
DEFAULT_SOCKET_TIMEOUT_MS = 10_000
DEFAULT_FAILOVER_TIMEOUT_MS = 10_000
DEFAULT_DISCOVERY_TIMEOUT_MS = 2_000

Node = tuple[str, int]
"""Host and port of one server."""


def node_text(node: Node) -> str:
    """``host:port``, an IPv6 address in brackets."""
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the server's certificate is checked and which one we show."""

    ca_certs: str | None = None
    ca_path: str | None = None
    ca_data: str | bytes | None = field(default=None, repr=False)
    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = field(default=None, repr=False)
    check_hostname: bool = True
    cert_reqs: str = "required"
    min_version: int | None = None
    ciphers: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """Who knows where the primary is, its name there, and how to talk to them."""

    nodes: tuple[Node, ...]
    service_name: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is and how to talk to it. Made by ``resolve_address``.

    With ``sentinels`` or ``startup_nodes`` the server has to be found first (``_core.location``); ``host`` and
    ``port`` have no meaning then. ``role``: what the server at the other end must be to be used at all.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    unix_socket_path: str | None = None
    embedded: bool = False
    embedded_directory: str | None = None
    sentinels: Sentinels | None = None
    startup_nodes: tuple[Node, ...] = ()
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credential_provider: Any = field(default=None, repr=False)
    client_name: str | None = None
    tls: Tls | None = None
    connect_timeout_ms: int = DEFAULT_CONNECT_TIMEOUT_MS
    socket_timeout_ms: int = DEFAULT_SOCKET_TIMEOUT_MS
    failover_timeout_ms: int = DEFAULT_FAILOVER_TIMEOUT_MS
    discovery_timeout_ms: int = DEFAULT_DISCOVERY_TIMEOUT_MS
    role: Literal["any", "primary", "sentinel"] = "any"

    @property
    def display(self) -> str:
        """The address for messages and logs: a URL without credentials."""
        scheme = "rediss" if self.tls else "redis"
        if self.unix_socket_path is not None:
            return f"unix://{self.unix_socket_path}?db={self.db}"
        if self.embedded:
            return f"embedded://{self.embedded_directory or ''}"
        if self.sentinels is not None:
            hosts = ",".join(map(node_text, self.sentinels.nodes))
            return f"{scheme}+sentinel://{hosts}/{self.sentinels.service_name}/{self.db}"
        if self.startup_nodes:
            return f"{scheme}+cluster://{','.join(map(node_text, self.startup_nodes))}"
        return f"{scheme}://{node_text((self.host, self.port))}/{self.db}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Connection settings as one reusable value (product page, ConnectionOptions).

    ``url``: a complete URL; the other options, where they are not at their default, win over its parts.
    ``host``, ``port``: a TCP address, default 127.0.0.1 and 6379. ``unix_socket_path``: a local socket instead.
    ``sentinels``: where to ask for the primary called ``service_name``, as ``(host, port)`` or ``"host:port"``;
    ``sentinel_username`` and ``sentinel_password`` are their own, ``sentinel_ssl`` is as ``ssl`` unless given.
    ``startup_nodes``: some nodes of a Cluster, in the same forms; the others are found through them.
    ``username``, ``password``: credentials, default none. ``credential_provider``: an object with
    ``get_credentials()``, asked at every connect (as in redis-py). ``db``: the database's number, default 0.
    ``client_name``: how the connections call themselves in CLIENT LIST.
    ``ssl``: TLS; certificates are verified unless ``ssl_cert_reqs="none"``. ``ssl_ca_certs``, ``ssl_ca_path``,
    ``ssl_ca_data``: the authorities to trust, default the system's. ``ssl_certfile``, ``ssl_keyfile``,
    ``ssl_password``: the certificate to show, and its key. ``ssl_check_hostname``: whether the certificate must
    bear the host's name, default True. ``ssl_min_version``, ``ssl_ciphers``: limits as in the module ssl.
    ``connect_timeout_ms``: how long connecting, the handshake included, may take, default 5,000.
    ``socket_timeout_ms``: how long the server may stay silent while an answer is due, default 10,000; the time that
    a blocking command blocks on purpose is added to it.
    ``failover_timeout_ms``: with Sentinel and Cluster, how long a call goes on looking for a server that serves
    the queue before it fails, default 10,000; workers look on for ever.
    ``discovery_timeout_ms``: how long one sentinel or node may take to say where the primary is, default 2,000.

    The values are checked where they are used: InvalidOptionError, InvalidOptionTypeError.
    """

    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    unix_socket_path: str | None = None
    sentinels: Sequence[Node | str] = ()
    service_name: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    sentinel_ssl: bool | None = None
    startup_nodes: Sequence[Node | str] = ()
    client_name: str | None = None
    credential_provider: Any = field(default=None, repr=False)
    ssl: bool = False
    ssl_ca_certs: str | None = None
    ssl_ca_path: str | None = None
    ssl_ca_data: str | bytes | None = field(default=None, repr=False)
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_check_hostname: bool = True
    ssl_cert_reqs: str = "required"
    ssl_min_version: int | None = None
    ssl_ciphers: str | None = None
    connect_timeout_ms: int = DEFAULT_CONNECT_TIMEOUT_MS
    socket_timeout_ms: int = DEFAULT_SOCKET_TIMEOUT_MS
    failover_timeout_ms: int = DEFAULT_FAILOVER_TIMEOUT_MS
    discovery_timeout_ms: int = DEFAULT_DISCOVERY_TIMEOUT_MS
