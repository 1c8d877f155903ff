"""A server that lets nobody in without a certificate, and one that takes the certificate for the name of a user."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chasquimq.address import ConnectionOptions, resolve_address
from chasquimq.errors import AuthenticationError, InvalidOptionError, RedisConnectionError
from tests.conftest import have
from tests.servers import RedisServer, TLSFiles, ensure
from tests.servers.certificates import ClientFiles, make_certificate, make_client_certificate

from .commands import call, echo
from .conftest import Form


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    return make_certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mailer(tmp_path_factory: pytest.TempPathFactory, authority: TLSFiles) -> ClientFiles:
    return make_client_certificate(tmp_path_factory.mktemp("client"), authority, "mailer")


@pytest.fixture(scope="module", params=["TLSv1.3", "TLSv1.2"])
def strict(request: pytest.FixtureRequest, authority: TLSFiles) -> Iterator[RedisServer]:
    """Always Redis 8.6: not every server program is built with TLS, and on our side it is the same."""
    config = ["tls-auth-clients yes", f"tls-protocols {request.param}"]
    with RedisServer(have(lambda: ensure("redis-8.6")), tls=authority, config=config) as server:
        yield server


def options(server: RedisServer, authority: TLSFiles, **more: Any) -> ConnectionOptions:
    return ConnectionOptions(
        host="localhost", port=server.port or 0, ssl=True, ssl_ca_certs=str(authority.authority), **more
    )


def told(form: Form, given: ConnectionOptions, *words: Any) -> Any:
    async def main() -> Any:
        client = form.client(resolve_address(given))
        try:
            return await client.run(call(*words) if words else echo("in"))
        finally:
            await client.close()

    return form.run(main)


def test_with_a_certificate(form: Form, strict: RedisServer, authority: TLSFiles, mailer: ClientFiles) -> None:
    plain = {"ssl_certfile": str(mailer.certificate), "ssl_keyfile": str(mailer.key)}
    assert told(form, options(strict, authority, **plain)) == b"in"
    locked = {**plain, "ssl_keyfile": str(mailer.encrypted_key), "ssl_password": mailer.password}
    assert told(form, options(strict, authority, **locked)) == b"in"


def test_without_one(form: Form, strict: RedisServer, authority: TLSFiles) -> None:
    with pytest.raises(RedisConnectionError, match="ssl_certfile") as caught:
        told(form, options(strict, authority))
    assert not caught.value.may_have_executed


def test_with_somebody_elses(form: Form, strict: RedisServer, authority: TLSFiles, tmp_path: Path) -> None:
    others = make_client_certificate(tmp_path, make_certificate(tmp_path), "stranger")
    given = options(strict, authority, ssl_certfile=str(others.certificate), ssl_keyfile=str(others.key))
    with pytest.raises(RedisConnectionError, match="ssl_certfile") as caught:
        told(form, given)
    assert not caught.value.may_have_executed


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_key_that_cannot_be_opened(
    form: Form, strict: RedisServer, authority: TLSFiles, mailer: ClientFiles, password: str | None
) -> None:
    given = options(
        strict,
        authority,
        ssl_certfile=str(mailer.certificate),
        ssl_keyfile=str(mailer.encrypted_key),
        ssl_password=password,
    )
    with pytest.raises(InvalidOptionError, match="TLS settings") as caught:
        told(form, given)
    assert "wrong" not in str(caught.value)


def test_the_certificate_says_who_the_user_is(form: Form, authority: TLSFiles, mailer: ClientFiles) -> None:
    """No password anywhere: the name in the certificate is that of an ACL user (Redis 8.6)."""
    config = ["tls-auth-clients yes", "tls-auth-clients-user CN"]
    with RedisServer(have(lambda: ensure("redis-8.6")), tls=authority, config=config) as server:
        server.client.acl_setuser("mailer", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
        server.client.acl_setuser("default", enabled=False)
        given = {"ssl_certfile": str(mailer.certificate), "ssl_keyfile": str(mailer.key)}
        assert told(form, options(server, authority, **given), "ACL", "WHOAMI") == b"mailer"
        server.client.acl_setuser("mailer", enabled=False)
        with pytest.raises(AuthenticationError):
            told(form, options(server, authority, **given))
