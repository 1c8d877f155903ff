"""Who may come in and how: credentials, rights, databases, names, TLS, and clients of redis-py that are taken over."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from chasquimq.address import Address, ConnectionOptions, resolve_address
from chasquimq.errors import (
    AuthenticationError,
    RedisConnectionError,
    ServerReplyError,
    UnsupportedServerError,
)
from tests.conftest import have
from tests.servers import RedisServer, ServerBinary, TLSFiles, ensure
from tests.servers.certificates import make_certificate

from .commands import call, echo
from .conftest import Form


@pytest.fixture(scope="module")
def guarded(redis_binary: ServerBinary) -> Iterator[RedisServer]:
    """A server with a password, a user who may do everything and one who may do nearly nothing."""
    with RedisServer(redis_binary, requirepass="sesame") as server:
        server.client.acl_setuser("full", enabled=True, passwords=["+p@ss:w/rd"], keys=["*"], commands=["+@all"])
        server.client.acl_setuser(
            "least",
            enabled=True,
            passwords=["+least"],
            keys=["*"],
            commands=["-@all", "+@stream", "+echo", "+ping", "+hello"],
        )
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def tls_server(certificate: TLSFiles) -> Iterator[RedisServer]:
    """Always Redis 8.6: not every server program is built with TLS, and on our side it is the same."""
    with RedisServer(have(lambda: ensure("redis-8.6")), tls=certificate) as server:
        yield server


def told(form: Form, address: Address, *words: Any) -> Any:
    """The answer of a fresh client to one command."""

    async def main() -> Any:
        client = form.client(address)
        try:
            return await client.run(call(*words) if words else echo("in"))
        finally:
            await client.close()

    return form.run(main)


def at(server: RedisServer, **options: Any) -> Address:
    return replace(resolve_address(f"redis://127.0.0.1:{server.port}"), **options)


# --- credentials ------------------------------------------------------------------------------------------


def test_password_and_user(form: Form, guarded: RedisServer) -> None:
    assert told(form, at(guarded, password="sesame"), "ACL", "WHOAMI") == b"default"
    url = f"redis://full:p%40ss%3Aw%2Frd@127.0.0.1:{guarded.port}/2"
    assert told(form, resolve_address(url), "ACL", "WHOAMI") == b"full"


@pytest.mark.parametrize(
    "credentials",
    [{}, {"password": "wrong"}, {"username": "nobody", "password": "x"}, {"username": "full"}],
    ids=["none", "password", "user", "no-password"],
)
def test_refused_credentials(form: Form, guarded: RedisServer, credentials: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match="credentials") as caught:
        told(form, at(guarded, **credentials))
    assert not caught.value.may_have_executed
    assert "wrong" not in str(caught.value)


class Rotating:
    """A provider as redis-py knows it: asked at every connect."""

    def __init__(self, *credentials: tuple[str, ...]) -> None:
        self.credentials = list(credentials)

    def get_credentials(self) -> tuple[str, ...]:
        return self.credentials.pop(0)


class RotatingAsync(Rotating):
    async def get_credentials_async(self) -> tuple[str, ...]:
        return ("full", "p@ss:w/rd")


def test_credential_provider(form: Form, guarded: RedisServer) -> None:
    provider = Rotating(("full", "p@ss:w/rd"), ("sesame",))
    address = resolve_address({"port": guarded.port, "credential_provider": provider})
    assert told(form, address, "ACL", "WHOAMI") == b"full"
    assert told(form, address, "ACL", "WHOAMI") == b"default"


def test_asynchronous_credential_provider(client_form: Form, guarded: RedisServer) -> None:
    address = resolve_address({"port": guarded.port, "credential_provider": RotatingAsync()})
    assert told(client_form, address, "ACL", "WHOAMI") == b"full"


def test_a_user_who_may_ask_nothing_about_the_server(form: Form, guarded: RedisServer) -> None:
    """Without the right to COMMAND the version decides."""

    async def main() -> None:
        client = form.client(at(guarded, username="least", password="least"))
        profile = await client.profile()
        full = form.client(at(guarded, username="full", password="p@ss:w/rd"))
        assert profile == await full.profile()
        assert await client.run(echo("in")) == b"in"
        await client.close()
        await full.close()

    form.run(main)


def test_a_user_who_may_not_select(form: Form, guarded: RedisServer) -> None:
    with pytest.raises(ServerReplyError, match="SELECT 3") as caught:
        told(form, at(guarded, username="least", password="least", db=3))
    assert caught.value.code == "NOPERM"


def test_a_server_without_hello(form: Form, redis_binary: ServerBinary) -> None:
    """Proxies know neither HELLO nor CLIENT; then the older commands must do."""
    with RedisServer(redis_binary, config=['rename-command HELLO ""'], requirepass="secret") as server:

        async def main() -> None:
            client = form.client(at(server, password="secret", db=2, client_name="me"))
            assert (await client.profile()).version
            assert b"name=me" in await client.run(call("CLIENT", "INFO"))
            assert b"db=2" in await client.run(call("CLIENT", "INFO"))
            connection = await client.dedicated()
            assert isinstance(connection.client_id, int)
            await connection.aclose()
            await client.close()

        form.run(main)
        with pytest.raises(AuthenticationError):
            told(form, at(server, password="wrong"))


# --- database and name ------------------------------------------------------------------------------------


def test_database_and_client_name(form: Form, redis_server: RedisServer) -> None:
    info = told(form, at(redis_server, db=5, client_name="mail-worker"), "CLIENT", "INFO")
    assert b"db=5" in info
    assert b"name=mail-worker" in info


def test_a_database_that_does_not_exist(form: Form, redis_server: RedisServer) -> None:
    with pytest.raises(ServerReplyError, match="SELECT 99"):
        told(form, at(redis_server, db=99))


# --- TLS --------------------------------------------------------------------------------------------------


def test_tls(form: Form, tls_server: RedisServer, certificate: TLSFiles) -> None:
    url = f"rediss://localhost:{tls_server.port}/1?ssl_ca_certs={certificate.authority}"
    assert b"db=1" in told(form, resolve_address(url), "CLIENT", "INFO")
    data = ConnectionOptions(port=tls_server.port or 0, ssl=True, ssl_ca_data=certificate.authority.read_text())
    assert told(form, resolve_address(data)) == b"in"
    mutual = {
        "host": "127.0.0.1",
        "port": tls_server.port,
        "ssl": True,
        "ssl_ca_certs": str(certificate.authority),
        "ssl_certfile": str(certificate.certificate),
        "ssl_keyfile": str(certificate.key),
    }
    assert told(form, resolve_address(mutual)) == b"in"


def test_tls_moves_much(form: Form, tls_server: RedisServer, certificate: TLSFiles) -> None:
    """More than one TLS record, and more than a socket buffer, in both directions."""
    address = resolve_address(f"rediss://localhost:{tls_server.port}?ssl_ca_certs={certificate.authority}")
    big = bytes(range(256)) * 20_000

    async def main() -> None:
        client = form.client(address)
        for size in (16_383, 16_384, 16_385, 65_536, 65_537, len(big)):
            assert await client.run(call("ECHO", big[:size])) == big[:size]
        connection = await client.dedicated()
        assert await connection.exchange(b"*1\r\n$4\r\nPING\r\n" * 5_000, 5_000) == [b"PONG"] * 5_000
        await connection.aclose()
        await client.close()

    form.run(main)


def test_tls_verification_failures_are_refused(form: Form, tls_server: RedisServer, certificate: TLSFiles) -> None:
    with pytest.raises(AuthenticationError, match="certificate"):
        told(form, resolve_address(f"rediss://localhost:{tls_server.port}"))
    assert told(form, resolve_address(f"rediss://localhost:{tls_server.port}?ssl_cert_reqs=none")) == b"in"


def test_tls_the_wrong_name_is_refused(form: Form, tls_server: RedisServer, certificate: TLSFiles) -> None:
    """127.0.0.2 reaches the same server, but the certificate is not for it."""
    address = replace(
        resolve_address(f"rediss://127.0.0.1:{tls_server.port}?ssl_ca_certs={certificate.authority}"),
        host="127.0.0.2",
    )
    with (
        RedisServer(tls_server.binary, tls=certificate, config=["bind 127.0.0.2"]) as elsewhere,
        pytest.raises(AuthenticationError, match="certificate"),
    ):
        told(form, replace(address, port=elsewhere.port or 0))


def test_tls_with_a_plain_port(form: Form, redis_server: RedisServer) -> None:
    with pytest.raises(RedisConnectionError, match="TLS"):
        told(form, replace(resolve_address(f"rediss://127.0.0.1:{redis_server.port}"), connect_timeout_ms=300))


def test_no_tls_with_a_tls_port(form: Form, tls_server: RedisServer) -> None:
    with pytest.raises(RedisConnectionError):
        told(form, at(tls_server))


# --- clients of redis-py ----------------------------------------------------------------------------------


def test_redis_py_clients_are_taken_over(
    form: Form, guarded: RedisServer, tls_server: RedisServer, certificate: TLSFiles
) -> None:
    given: list[Any] = [
        redis.Redis(port=guarded.port or 0, username="full", password="p@ss:w/rd", db=4),
        redis.asyncio.Redis(port=guarded.port or 0, password="sesame", db=4),
        redis.Redis(unix_socket_path=guarded.socket_path, password="sesame", db=4),
        redis.Redis(
            host="localhost", port=tls_server.port or 0, ssl=True, ssl_ca_certs=str(certificate.authority), db=4
        ),
        redis.Redis(
            port=guarded.port or 0,
            credential_provider=redis.UsernamePasswordCredentialProvider("full", "p@ss:w/rd"),
            db=4,
        ),
    ]
    for client in given:
        assert b"db=4" in told(form, resolve_address(client), "CLIENT", "INFO")


# --- versions ---------------------------------------------------------------------------------------------

EXPECTED = {
    "redis-7.0": ("redis", False, False, False),
    "redis-8.2": ("redis", True, False, False),
    "redis-8.6": ("redis", True, True, True),
    "valkey-9": ("valkey", False, False, False),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_profiles_of_real_servers(name: str) -> None:
    form = Form("sync")
    with RedisServer(have(lambda: ensure(name))) as server:
        client = form.client(resolve_address(server.url)).it
        profile = client.profile()
        client.close()
    abilities = (profile.server, profile.has_xackdel, profile.has_claim, profile.has_idmp)
    assert abilities == EXPECTED[name]


def test_an_old_server_is_refused(form: Form, peer: Any) -> None:
    def old(accepted: Any) -> None:
        accepted.recv(65_536)
        accepted.sendall(
            b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n6.2.1\r\n*4\r\n*-1\r\n*-1\r\n*-1\r\n*-1\r\n"
        )

    with pytest.raises(UnsupportedServerError, match=r"Redis 6\.2\.1") as caught:
        told(form, Address(port=peer(old, greets=False).port))
    assert caught.value.version == "6.2.1"


def test_settings_that_tls_cannot_use(form: Form, tls_server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TLS settings"):
        told(form, resolve_address(f"rediss://localhost:{tls_server.port}?ssl_ca_certs={tmp_path / 'none.pem'}"))
