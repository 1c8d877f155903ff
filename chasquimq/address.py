"""Where the server is: every way to say it, turned into one frozen ``Address``.

Decides which server, socket, credentials, TLS settings and time limits a connection uses. It does no I/O (an
embedded server is started at connect time, not here), never imports redis-py (its objects are recognised by
the module they come from) and never shows a password: not in a repr, not in a message.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from chasquimq._dataclass import dataclass, field, field_names
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, NotSupportedError

__all__ = ["Address", "ConnectionOptions", "Tls", "resolve_address"]

ENVIRONMENT_VARIABLE = "CHASQUIMQ_REDIS_URL"
DEFAULT_URL = "redis://127.0.0.1:6379/0"
DEFAULT_CONNECT_TIMEOUT_MS = 5_000
DEFAULT_SOCKET_TIMEOUT_MS = 10_000

_FORMS = (
    "Give a URL (redis://, rediss://, unix://, valkey://, valkeys://, embedded://), a mapping, "
    "ConnectionOptions or a redis.Redis client."
)


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
class Address:
    """One server and how to talk to it. Made by ``resolve_address``."""

    host: str = "127.0.0.1"
    port: int = 6379
    unix_socket_path: str | None = None
    embedded: bool = False
    embedded_directory: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credential_provider: Any = field(default=None, repr=False)
    client_name: str | None = None
    tls: Tls | None = None
    connect_timeout_ms: int = DEFAULT_CONNECT_TIMEOUT_MS
    socket_timeout_ms: int = DEFAULT_SOCKET_TIMEOUT_MS

    @property
    def display(self) -> str:
        """The address for messages and logs: a URL without credentials."""
        if self.unix_socket_path is not None:
            return f"unix://{self.unix_socket_path}?db={self.db}"
        if self.embedded:
            return f"embedded://{self.embedded_directory or ''}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Connection settings as one reusable value (product page, ConnectionOptions).

    ``url``: a complete URL; the other options, where they are not at their default, win over its parts.
    ``host``, ``port``: a TCP address, default 127.0.0.1 and 6379. ``unix_socket_path``: a local socket instead.
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

    The values are checked where they are used: InvalidOptionError, InvalidOptionTypeError.
    """

    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    unix_socket_path: str | None = None
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


def resolve_address(connection: object = None) -> Address:
    """The ``Address`` for anything that the ``connection`` option accepts.

    Raises ``InvalidOptionError``, ``InvalidOptionTypeError`` or, for sentinel and cluster URLs,
    ``NotSupportedError``.
    """
    if connection is None:
        return _from_settings(_url_settings(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_URL))
    if isinstance(connection, Address):
        return connection
    if isinstance(connection, str):
        return _from_settings(_url_settings(connection))
    if isinstance(connection, ConnectionOptions):
        unset = ConnectionOptions()
        given = {name: getattr(connection, name) for name in field_names(ConnectionOptions)}
        return _from_settings({name: value for name, value in given.items() if value != getattr(unset, name)})
    if isinstance(connection, Mapping):
        return _from_settings({key: value for key, value in connection.items() if isinstance(key, str)})
    pool = getattr(connection, "connection_pool", None)
    if pool is not None and _comes_from_redis(connection):
        return _from_pool(pool)
    raise InvalidOptionTypeError(
        f"connection is a {type(connection).__name__}, which is no address of a Redis server. {_FORMS}"
    )


def _comes_from_redis(client: object) -> bool:
    """Subclasses and instrumented clients count too, hence the whole family tree."""
    return any(base.__module__.split(".")[0] in ("redis", "valkey") for base in type(client).__mro__)


# --- URLs ---------------------------------------------------------------------------------------------------


def _url_settings(url: str) -> dict[str, Any]:
    scheme = _scheme(url)
    try:
        parts = urlsplit(url)
        hostname, port = parts.hostname, parts.port
    except ValueError:
        # urllib's own text may quote the password, so it is not chained.
        raise InvalidOptionError(
            "connection is a URL that cannot be read: its host or port is malformed. "
            "Characters like / @ : # ? in a username or password must be percent-encoded."
        ) from None
    if parts.fragment:
        raise InvalidOptionError("connection is a URL with a # in it; in a password it is written %23.")
    settings: dict[str, Any] = dict(parse_qsl(parts.query))
    if parts.username:
        settings["username"] = unquote(parts.username)
    if parts.password:
        settings["password"] = unquote(parts.password)
    path = unquote(parts.path)
    if scheme == "embedded":
        return {**settings, _EMBEDDED: unquote(parts.netloc) + path}
    if scheme == "unix":
        if not path:
            raise InvalidOptionError("connection is a unix:// URL without a path: write unix:///path/to/socket.")
        return {**settings, "unix_socket_path": path}
    if hostname:
        settings["host"] = unquote(hostname)
    if port is not None:
        settings["port"] = port
    if path.strip("/"):
        settings.setdefault("db", path.strip("/"))
    if scheme in ("rediss", "valkeys"):
        settings["ssl"] = True
    return settings


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise InvalidOptionError(f"connection is a text that is no URL (no '://' in it). {_FORMS}")
    if scheme.startswith("redis+sentinel"):
        raise NotSupportedError(
            "connection is a Sentinel URL; Sentinel is not supported yet. "
            "Give the address of the primary for now (redis://host:port/0)."
        )
    if scheme.startswith("redis+cluster"):
        raise NotSupportedError(
            "connection is a Cluster URL; finding a cluster's nodes is not supported yet. "
            "Give the node that holds the queue's slot for now (redis://host:port/0)."
        )
    if scheme not in ("redis", "rediss", "unix", "valkey", "valkeys", "embedded"):
        raise InvalidOptionError(f"connection is a URL with an unknown scheme. {_FORMS}")
    return scheme


# --- settings by name ---------------------------------------------------------------------------------------

_EMBEDDED = "\0embedded"
"""The key under which a URL hands on its directory; no user's mapping can contain it by accident."""


def _from_settings(given: Mapping[str, Any]) -> Address:
    settings = dict(given)
    url = settings.pop("url", None)
    if url is not None:
        if not isinstance(url, str):
            raise InvalidOptionTypeError(f"connection: url must be a text, not {type(url).__name__}.")
        settings = {
            **_url_settings(url),
            **{key: value for key, value in settings.items() if value is not None},
        }
    embedded = settings.get(_EMBEDDED)
    path = settings.get("unix_socket_path") or settings.get("path")
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    return Address(
        host=_text(settings, "host") or "127.0.0.1",
        port=_number(settings, "port", 6379, 1, 65_535),
        unix_socket_path=None if path is None else _text({"unix_socket_path": path}, "unix_socket_path"),
        embedded=embedded is not None,
        embedded_directory=embedded or None,
        db=_number(settings, "db", 0, 0, 2**31 - 1),
        username=_text(settings, "username") or None,
        password=_text(settings, "password") or None,
        credential_provider=_provider(settings.get("credential_provider")),
        client_name=_client_name(settings),
        tls=_tls(settings) if _wants_tls(settings) else None,
        connect_timeout_ms=_timeout_ms(
            settings, "connect_timeout_ms", "socket_connect_timeout", DEFAULT_CONNECT_TIMEOUT_MS
        ),
        socket_timeout_ms=_timeout_ms(settings, "socket_timeout_ms", "socket_timeout", DEFAULT_SOCKET_TIMEOUT_MS),
    )


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
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        # The value is left out on purpose: in a URL written wrongly it can be a piece of the password.
        kind = InvalidOptionError if isinstance(value, str) else InvalidOptionTypeError
        raise kind(f"connection: {key} must be a whole number from {least} to {most}.")
    if not least <= value <= most:
        raise InvalidOptionError(f"connection: {key} must be from {least} to {most}, not {value}.")
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


# --- clients of redis-py ------------------------------------------------------------------------------------


def _from_pool(pool: Any) -> Address:
    settings = dict(getattr(pool, "connection_kwargs", {}))
    connection_class = getattr(pool, "connection_class", object)
    family = {base.__name__ for base in getattr(connection_class, "__mro__", ())}
    if "sentinel" in type(pool).__name__.lower():
        raise NotSupportedError(
            "connection is a client that asks Sentinel for its server; Sentinel is not supported yet. "
            "Give the address of the primary for now (redis://host:port/0)."
        )
    if settings.get("ssl_validate_ocsp") or settings.get("ssl_validate_ocsp_stapled"):
        raise NotSupportedError(
            "connection is a client that checks certificates with OCSP, which is not supported here. "
            "Give an address without OCSP (ConnectionOptions)."
        )
    settings["ssl"] = "SSLConnection" in family
    if "UnixDomainSocketConnection" not in family:
        settings.pop("path", None)
    return _from_settings(settings)
