"""A URL as settings by name.

Only its parts are taken from each other here; what they may be is checked in ``settings``, whatever form they came in.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from chasquimq.address.values import Node
from chasquimq.errors import InvalidOptionError

__all__ = ["EMBEDDED", "FORMS", "SENTINEL_PORT", "node_of", "url_settings"]

FORMS = (
    "Give a URL (redis://, rediss://, unix://, valkey://, valkeys://, redis+sentinel://, redis+cluster://, "
    "embedded://), a mapping, ConnectionOptions or a client of redis-py."
)
EMBEDDED = "\0embedded"
"""The key under which a URL hands on its directory; no user's mapping can contain it by accident."""
SENTINEL_PORT = 26_379
SERVER_PORT = 6_379

_SECRETS = ("password=", "sentinel_password=", "ssl_password=")
_SCHEMES = ("redis", "rediss", "valkey", "valkeys")


def url_settings(url: str) -> dict[str, Any]:
    """The settings in a URL. Raises ``InvalidOptionError``."""
    scheme, topology = _scheme(url)
    hosts = ""
    if topology:
        url, hosts = _without_hosts(url)
    try:
        parts = urlsplit(url)
        host, port = (None, None) if topology else (parts.hostname, parts.port)
    except ValueError:
        # urllib's own text may quote the password, so it is not chained.
        raise _unreadable() from None
    if _may_show_a_login(scheme, parts):
        raise InvalidOptionError(
            "connection is a URL with an @ behind its host, as if there were a plain / or ? in a username or password: "
            "they are written %2F and %3F. An @ that belongs there is written %40."
        )
    if parts.fragment:
        raise InvalidOptionError("connection is a URL with a # in it; in a password it is written %23.")
    settings: dict[str, Any] = dict(parse_qsl(parts.query))
    if parts.username:
        settings["username"] = unquote(parts.username)
    if parts.password:
        settings["password"] = unquote(parts.password)
    path = unquote(parts.path)
    if scheme == "embedded":
        return {**settings, EMBEDDED: unquote(parts.netloc) + path}
    if scheme == "unix":
        if not path:
            raise InvalidOptionError("connection is a unix:// URL without a path: write unix:///path/to/socket.")
        return {**settings, "unix_socket_path": path}
    if scheme in ("rediss", "valkeys"):
        settings["ssl"] = True
    db = path.strip("/")
    if topology == "sentinel":
        settings["sentinels"] = _nodes(hosts, SENTINEL_PORT)
        service, _, db = db.partition("/")
        if service:
            settings.setdefault("service_name", service)
    elif topology == "cluster":
        settings["startup_nodes"] = _nodes(hosts, SERVER_PORT)
    if host:
        settings["host"] = unquote(host)
    if port is not None:
        settings["port"] = port
    if db:
        settings.setdefault("db", db)
    return settings


def _scheme(url: str) -> tuple[str, str]:
    """The scheme and, behind a ``+`` in it, what kind of servers the URL names."""
    whole, separator, _ = url.partition("://")
    scheme, plus, topology = whole.lower().partition("+")
    if not separator:
        raise InvalidOptionError(f"connection is a text that is no URL (no '://' in it). {FORMS}")
    if plus:
        is_known = scheme in _SCHEMES and topology in ("sentinel", "cluster")
    else:
        is_known = scheme in (*_SCHEMES, "unix", "embedded")
    if not is_known:
        raise InvalidOptionError(f"connection is a URL with an unknown scheme. {FORMS}")
    return scheme, topology


def _may_show_a_login(scheme: str, parts: SplitResult) -> bool:
    """Whether what stands behind the host could be the rest of a login: it would be shown as a path or an option."""
    is_file = scheme == "embedded" or (scheme == "unix" and not parts.netloc)
    return ("@" in parts.path and not is_file) or any(
        "@" in each and not each.startswith(_SECRETS) for each in parts.query.split("&")
    )


def _without_hosts(url: str) -> tuple[str, str]:
    """The URL with one plain host, and the list of hosts that it had: urllib knows nothing of such lists."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    return f"{scheme}://{login}{at}hosts{rest[len(authority) :]}", hosts


def _nodes(hosts: str, default_port: int) -> list[Node]:
    return [node_of(unquote(host), default_port) for host in hosts.split(",") if host]


def node_of(text: str, default_port: int) -> Node:
    """``host``, ``host:port`` or ``[host]:port``."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _unreadable() from None
    if not host or "@" in text:
        raise _unreadable()
    return host, default_port if port is None else port


def _unreadable() -> InvalidOptionError:
    return InvalidOptionError(
        "connection is a URL that cannot be read: its host or port is malformed. "
        "Characters like / @ : # ? in a username or password must be percent-encoded."
    )
