"""Every way to say where the server is, and what is refused; a password never shows."""

import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from chasquimq._net.opening import tls_context
from chasquimq.address import Address, ConnectionOptions, Tls, resolve_address
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError

SECRET = "s3cret/p@ss:word#1"
QUOTED = "s3cret%2Fp%40ss%3Aword%231"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHASQUIMQ_REDIS_URL", raising=False)


def test_nothing_given() -> None:
    assert resolve_address(None) == Address() == resolve_address("redis://127.0.0.1:6379/0")


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHASQUIMQ_REDIS_URL", "redis://there:7000/2")
    assert resolve_address() == Address(host="there", port=7000, db=2)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address()),
        ("valkey://h", Address(host="h")),
        ("REDIS://h:1/", Address(host="h", port=1)),
        ("redis://h/7", Address(host="h", db=7)),
        ("redis://h?db=7", Address(host="h", db=7)),
        ("redis://h/1?db=7", Address(host="h", db=7)),
        ("redis://[::1]:7000/1", Address(host="::1", port=7000, db=1)),
        (f"redis://:{QUOTED}@h", Address(host="h", password=SECRET)),
        (f"redis://us%40er:{QUOTED}@h", Address(host="h", username="us@er", password=SECRET)),
        ("unix:///run/r.sock", Address(unix_socket_path="/run/r.sock")),
        ("unix://u:p@/run/r%20.sock?db=3", Address(unix_socket_path="/run/r .sock", username="u", password="p", db=3)),
        ("rediss://h", Address(host="h", tls=Tls())),
        ("valkeys://h?ssl_ca_certs=/ca.pem", Address(host="h", tls=Tls(ca_certs="/ca.pem"))),
        ("rediss://h?ssl_cert_reqs=none", Address(host="h", tls=Tls(cert_reqs="none", check_hostname=False))),
        ("rediss://h?ssl_check_hostname=false", Address(host="h", tls=Tls(check_hostname=False))),
        (
            "redis://h?socket_timeout=2.5&socket_connect_timeout=1",
            Address(host="h", socket_timeout_ms=2_500, connect_timeout_ms=1_000),
        ),
        ("redis://h?socket_timeout_ms=70&client_name=me", Address(host="h", socket_timeout_ms=70, client_name="me")),
        ("redis://h?unknown=1&health_check_interval=5", Address(host="h")),
        ("embedded://", Address(embedded=True)),
        ("embedded:///var/my%20queue", Address(embedded=True, embedded_directory="/var/my queue")),
        ("embedded://relative/dir", Address(embedded=True, embedded_directory="relative/dir")),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert resolve_address(url) == address


@pytest.mark.parametrize(
    ("mapping", "address"),
    [
        ({}, Address()),
        ({"host": "h", "port": "7000", "retryStrategy": print, 5: 6}, Address(host="h", port=7000)),
        ({"host": None, "port": None, "db": None, "password": None}, Address()),
        ({"path": "/s"}, Address(unix_socket_path="/s")),
        ({"unix_socket_path": Path("/s")}, Address(unix_socket_path="/s")),
        ({"tls": {}}, Address(tls=Tls())),
        ({"tls": True}, Address(tls=Tls())),
        ({"tls": None, "ssl": False}, Address()),
        ({"ssl": True, "ssl_cert_reqs": 0}, Address(tls=Tls(cert_reqs="none", check_hostname=False))),
        ({"url": "redis://h/1", "db": 3, "username": None}, Address(host="h", db=3)),
        ({"password": SECRET}, Address(password=SECRET)),
    ],
)
def test_mappings(mapping: dict[Any, Any], address: Address) -> None:
    assert resolve_address(mapping) == address


def test_connection_options() -> None:
    assert resolve_address(ConnectionOptions()) == Address()
    options = ConnectionOptions(url="rediss://h:1/2", db=3, password=SECRET, ssl_certfile="/c", ssl_keyfile="/k")
    assert resolve_address(options) == Address(
        host="h", port=1, db=3, password=SECRET, tls=Tls(certfile="/c", keyfile="/k")
    )


def test_an_address_is_an_address() -> None:
    address = Address(host="h")
    assert resolve_address(address) is address


def test_redis_py_clients() -> None:
    provider = redis.UsernamePasswordCredentialProvider("u", "p")
    assert resolve_address(redis.Redis(host="h", port=1, db=2, username="u", password="p")) == Address(
        host="h", port=1, db=2, username="u", password="p", socket_timeout_ms=5_000
    )
    taken = resolve_address(redis.asyncio.Redis(unix_socket_path="/s", credential_provider=provider, client_name="n"))
    assert (taken.unix_socket_path, taken.credential_provider, taken.client_name) == ("/s", provider, "n")
    assert resolve_address(redis.Redis.from_url("rediss://h?ssl_ca_certs=/ca")).tls == Tls(ca_certs="/ca")
    assert resolve_address(redis.Redis(ssl=True, ssl_min_version=771, ssl_ciphers="X")).tls == Tls(
        min_version=771, ciphers="X"
    )
    assert resolve_address(redis.Redis(socket_timeout=None)).socket_timeout_ms == 10_000


def test_an_at_behind_the_host() -> None:
    assert resolve_address("redis://h?password=p@ss&username=me%40corp").password == "p@ss"
    assert resolve_address("unix:///run/user@1000/s").unix_socket_path == "/run/user@1000/s"
    assert resolve_address("unix://me:pw@/run/user%401000/s").unix_socket_path == "/run/user@1000/s"


@pytest.mark.parametrize(
    ("connection", "kind", "match"),
    [
        ("localhost", InvalidOptionError, "redis://"),
        ("localhost:6379", InvalidOptionError, "redis://"),
        ("http://h", InvalidOptionError, "scheme"),
        ("unix://", InvalidOptionError, "unix:///path"),
        ("redis://h:port", InvalidOptionError, "percent-encoded"),
        ("unix://us/er:pass@/socket", InvalidOptionError, "written %2F"),
        ("redis://us/er:pass@h", InvalidOptionError, "written %2F"),
        ("redis://?ssl=:pass@h", InvalidOptionError, "%2F and %3F"),
        ("redis://h?password=p@ss&client_name=:pass@h", InvalidOptionError, "written %40"),
        ("redis://h/mydb", InvalidOptionError, "db"),
        ("redis://h/-1", InvalidOptionError, "db"),
        ("redis://h:0", InvalidOptionError, "port"),
        ("redis://h?socket_timeout=soon", InvalidOptionError, "socket_timeout"),
        ("rediss://h?ssl_cert_reqs=maybe", InvalidOptionError, "ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=perhaps", InvalidOptionError, "ssl_check_hostname"),
        ({"port": 70_000}, InvalidOptionError, "port"),
        ({"port": 10**5_000}, InvalidOptionError, "port"),
        (f"redis://h/{'9' * 5_000}", InvalidOptionError, "db"),
        ({"port": 1.5}, InvalidOptionTypeError, "port"),
        ({"db": True}, InvalidOptionTypeError, "db"),
        ({"host": 5}, InvalidOptionTypeError, "host"),
        ({"url": 5}, InvalidOptionTypeError, "url"),
        ({"client_name": "two words"}, InvalidOptionError, "client_name"),
        ({"credential_provider": "x"}, InvalidOptionTypeError, "get_credentials"),
        ({"socket_timeout_ms": 0}, InvalidOptionError, "socket_timeout_ms"),
        (5, InvalidOptionTypeError, "int"),
        (object(), InvalidOptionTypeError, "object"),
        (b"redis://h", InvalidOptionTypeError, "bytes"),
    ],
)
def test_what_is_refused(connection: object, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        resolve_address(connection)


@pytest.mark.parametrize(
    "connection",
    [
        f"redis://u:{SECRET}@h:1/x",
        "redis://u:s3cret@h:port",
        "redis://:12/s3cret@h",
        "redis://u:s3cret#1@h",
        "redis://u:s3cret@[h",
        "u:s3cret@h:6379",
        "s3cret://u@h",
        {"password": b"s3cret"},
        {"password": "s3cret", "port": "s3cret"},
    ],
)
def test_errors_never_show_the_password(connection: object) -> None:
    with pytest.raises((InvalidOptionError, InvalidOptionTypeError)) as caught:
        resolve_address(connection)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


def test_reprs_and_displays_never_show_the_password() -> None:
    address = resolve_address(f"redis://u:{QUOTED}@h:1/2")
    assert "s3cret" not in repr(address) + address.display
    assert "s3cret" not in repr(ConnectionOptions(password=SECRET, url=f"redis://:{QUOTED}@h"))
    assert "s3cret" not in repr(Tls(keyfile_password=SECRET, ca_data=SECRET))


@pytest.mark.parametrize(
    ("url", "display"),
    [
        ("redis://u:p@h:1/2", "redis://h:1/2"),
        ("rediss://[::1]", "rediss://[::1]:6379/0"),
        ("unix://u:p@/s?db=1", "unix:///s?db=1"),
        ("embedded:///d", "embedded:///d"),
    ],
)
def test_displays(url: str, display: str) -> None:
    assert resolve_address(url).display == display


@pytest.mark.parametrize(
    "connection",
    [
        *("rediss://h", "valkeys://h", "rediss+sentinel://h/mine", "valkeys+cluster://h", "rediss://h?ssl_cert_reqs="),
        *({"ssl": True}, {"tls": {}}, ConnectionOptions(ssl=True), redis.Redis(ssl=True)),
    ],
    ids=str,
)
def test_certificates_and_names_are_verified_unless_it_is_said_otherwise(connection: object) -> None:
    address = resolve_address(connection)
    for tls in (address.tls, *([address.sentinels.tls] if address.sentinels else [])):
        assert tls is not None
        context = tls_context(tls)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_redis_py_is_not_imported() -> None:
    """It takes longer to import than everything of ours."""
    code = (
        "import sys; from chasquimq.address import resolve_address; resolve_address('rediss://u:p@h/1'); "
        "import chasquimq.sync._client; "
        "sys.exit(any(name in sys.modules for name in ('redis', 'ssl', 'asyncio', 'anyio')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
