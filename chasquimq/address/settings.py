"""Settings by name as an address: a URL's, a mapping's, ``ConnectionOptions``' or a client's.

Every setting is checked here, once for all forms. Unknown ones are ignored, as the product says; a value that could
be a password, or a piece of one, is never quoted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from chasquimq.address.urls import EMBEDDED, SENTINEL_PORT, SERVER_PORT, node_of, url_settings
from chasquimq.address.values import (
    DEFAULT_CONNECT_TIMEOUT_MS,
    DEFAULT_DISCOVERY_TIMEOUT_MS,
    DEFAULT_FAILOVER_TIMEOUT_MS,
    DEFAULT_SOCKET_TIMEOUT_MS,
    Address,
    Node,
    Sentinels,
    Tls,
)
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError

__all__ = ["address_of"]

# Python refuses to read and to write numbers of thousands of digits.
_MOST_DIGITS = 20


def address_of(given: Mapping[str, Any]) -> Address:
    """The address. Raises ``InvalidOptionError`` and ``InvalidOptionTypeError``."""
    settings = dict(given)
    url = settings.pop("url", None)
    if url is not None:
        if not isinstance(url, str):
            raise InvalidOptionTypeError(f"connection: url must be a text, not {type(url).__name__}.")
        settings = {
            **url_settings(url),
            **{key: value for key, value in settings.items() if value is not None},
        }
    embedded = settings.get(EMBEDDED)
    path = settings.get("unix_socket_path") or settings.get("path")
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    tls = _tls(settings) if _wants_tls(settings) else None
    address = Address(
        host=_text(settings, "host") or "127.0.0.1",
        port=_number(settings, "port", SERVER_PORT, 1, 65_535),
        unix_socket_path=None if path is None else _text({"unix_socket_path": path}, "unix_socket_path"),
        embedded=embedded is not None,
        embedded_directory=embedded or None,
        sentinels=_sentinels(settings, tls),
        startup_nodes=_nodes(settings, "startup_nodes", SERVER_PORT),
        db=_number(settings, "db", 0, 0, 2**31 - 1),
        username=_text(settings, "username") or None,
        password=_text(settings, "password") or None,
        credential_provider=_provider(settings.get("credential_provider")),
        client_name=_client_name(settings),
        tls=tls,
        connect_timeout_ms=_timeout_ms(
            settings, "connect_timeout_ms", "socket_connect_timeout", DEFAULT_CONNECT_TIMEOUT_MS
        ),
        socket_timeout_ms=_timeout_ms(settings, "socket_timeout_ms", "socket_timeout", DEFAULT_SOCKET_TIMEOUT_MS),
        failover_timeout_ms=_number(settings, "failover_timeout_ms", DEFAULT_FAILOVER_TIMEOUT_MS, 0, 2**31 - 1),
        discovery_timeout_ms=_number(settings, "discovery_timeout_ms", DEFAULT_DISCOVERY_TIMEOUT_MS, 1, 2**31 - 1),
    )
    _check_topology(address)
    return address


def _check_topology(address: Address) -> None:
    ways = [address.embedded, address.unix_socket_path is not None, address.sentinels is not None]
    if sum([*ways, bool(address.startup_nodes)]) > 1:
        raise InvalidOptionError(
            "connection names more than one place: give one of a unix socket, sentinels with a service_name, "
            "startup_nodes of a Cluster, and embedded://."
        )
    if address.startup_nodes and address.db:
        raise InvalidOptionError(
            f"connection: db is {address.db}, and a Cluster has the database 0 only. "
            "Leave it out; queues are kept apart by their names."
        )


def _sentinels(settings: Mapping[str, Any], tls: Tls | None) -> Sentinels | None:
    nodes = _nodes(settings, "sentinels", SENTINEL_PORT)
    if not nodes:
        return None
    service = _text(settings, "service_name")
    if not service:
        raise InvalidOptionError(
            "connection names sentinels and no service_name: the name under which they know the primary. "
            "In a URL it is the path: redis+sentinel://host:26379/mymaster."
        )
    return Sentinels(
        nodes=nodes,
        service_name=service,
        username=_text(settings, "sentinel_username") or None,
        password=_text(settings, "sentinel_password") or None,
        tls=(tls or _tls(settings)) if _flag(settings, "sentinel_ssl", tls is not None) else None,
    )


def _nodes(settings: Mapping[str, Any], key: str, default_port: int) -> tuple[Node, ...]:
    given = settings.get(key)
    if given is None:
        return ()
    if isinstance(given, str):
        given = given.split(",")
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise InvalidOptionTypeError(f"connection: {key} must be a list of (host, port) or 'host:port'.")
    nodes = tuple(_node(entry, key, default_port) for entry in given)
    if not nodes:
        raise InvalidOptionError(f"connection: {key} is empty: name at least one host.")
    return nodes


def _node(entry: object, key: str, default_port: int) -> Node:
    host: object
    port: object
    if isinstance(entry, str):
        host, port = node_of(entry, default_port)
    elif isinstance(entry, Mapping):
        host, port = entry.get("host"), entry.get("port", default_port)
    elif isinstance(entry, tuple | list) and len(entry) == 2:
        host, port = entry
    else:
        raise InvalidOptionTypeError(f"connection: {key} must be a list of (host, port) or 'host:port'.")
    name = _text({key: host}, key)
    if not name:
        raise InvalidOptionError(f"connection: {key} holds an entry without a host.")
    return name, _number({"port": port}, "port", default_port, 1, 65_535)


def _wants_tls(settings: Mapping[str, Any]) -> bool:
    # ioredis turns TLS on with ``tls: {}``, so an empty mapping means yes here.
    tls = settings.get("tls")
    return isinstance(tls, Mapping) or _flag(settings, "tls", False) or _flag(settings, "ssl", False)


def _tls(settings: Mapping[str, Any]) -> Tls:
    reqs = _cert_reqs(settings.get("ssl_cert_reqs", "required"))
    return Tls(
        ca_certs=_text(settings, "ssl_ca_certs"),
        ca_path=_text(settings, "ssl_ca_path"),
        ca_data=settings.get("ssl_ca_data"),
        certfile=_text(settings, "ssl_certfile"),
        keyfile=_text(settings, "ssl_keyfile"),
        keyfile_password=_text(settings, "ssl_password"),
        # Without a certificate to look at, there is no name to compare.
        check_hostname=reqs != "none" and _flag(settings, "ssl_check_hostname", True),
        cert_reqs=reqs,
        min_version=None
        if settings.get("ssl_min_version") is None
        else _number(settings, "ssl_min_version", 0, 0, 2**16),
        ciphers=_text(settings, "ssl_ciphers"),
    )


def _cert_reqs(value: object) -> str:
    """A name, or a number of the ``ssl`` module (CERT_NONE 0, CERT_OPTIONAL 1, CERT_REQUIRED 2)."""
    names = ("none", "optional", "required")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2:
        return names[value]
    if value is None:
        return "required"
    name = str(value).lower().removeprefix("cert_")
    if name not in names:
        raise InvalidOptionError(f"connection: ssl_cert_reqs must be one of {', '.join(names)}.")
    return name


def _provider(value: Any) -> Any:
    if value is not None and not callable(getattr(value, "get_credentials", None)):
        raise InvalidOptionTypeError(
            "connection: credential_provider needs a method get_credentials() that returns "
            "(username, password) or (password,)."
        )
    return value


def _client_name(settings: Mapping[str, Any]) -> str | None:
    name = _text(settings, "client_name") or None
    if name is not None and not all("!" <= character <= "~" for character in name):
        raise InvalidOptionError(
            "connection: client_name may hold no spaces, line ends or characters outside ASCII; "
            "the server refuses them."
        )
    return name


def _text(settings: Mapping[str, Any], key: str) -> str | None:
    value = settings.get(key)
    if value is None or isinstance(value, str):
        return value
    # The value is left out on purpose: it may be the password.
    raise InvalidOptionTypeError(f"connection: {key} must be a text, not {type(value).__name__}.")


def _number(settings: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = settings.get(key)
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        # The value is left out on purpose: in a URL written wrongly it can be a piece of the password.
        kind = InvalidOptionError if isinstance(value, str) else InvalidOptionTypeError
        raise kind(f"connection: {key} must be a whole number from {least} to {most}.")
    if not least <= value <= most:
        shown = f", not {value}" if abs(value) < 10**_MOST_DIGITS else ""
        raise InvalidOptionError(f"connection: {key} must be from {least} to {most}{shown}.")
    return value


def _flag(settings: Mapping[str, Any], key: str, default: bool) -> bool:
    value = settings.get(key)
    if value is None:
        return default
    if isinstance(value, str):
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off", ""):
            return False
        raise InvalidOptionError(f"connection: {key} must be true or false, not {value!r}.")
    return bool(value)


def _timeout_ms(settings: Mapping[str, Any], key: str, seconds_key: str, default: int) -> int:
    """``key`` in milliseconds, else redis-py's spelling in seconds, where None means without a limit.

    There is always a limit here: an endless wait for a dead server is the fault that this prevents.
    """
    if settings.get(key) is not None:
        return _number(settings, key, default, 1, 2**31 - 1)
    seconds = settings.get(seconds_key)
    if seconds is None:
        return default
    try:
        milliseconds = round(float(seconds) * 1_000)
    except (TypeError, ValueError, OverflowError):
        raise InvalidOptionError(f"connection: {seconds_key} must be a number of seconds.") from None
    return _number({key: milliseconds}, key, default, 1, 2**31 - 1)
