"""Which abilities a server has, by the commands it knows or else by its version."""

import pytest

from chasquimq._core.profile import (
    FALLBACK_PROFILE,
    PROBED_COMMANDS,
    ServerProfile,
    check_supported,
    profile_of,
)
from chasquimq.errors import UnsupportedServerError


def test_the_commands_decide() -> None:
    assert profile_of("redis", "9.9.9", []) == ServerProfile("redis", "9.9.9")
    assert profile_of("x", "", PROBED_COMMANDS) == ServerProfile("x", "", True, True, True)
    assert profile_of("redis", "8.2", ["xackdel"]) == ServerProfile("redis", "8.2", has_xackdel=True)


@pytest.mark.parametrize(
    ("server", "version", "abilities"),
    [
        ("redis", "7.4.1", 0),
        ("redis", "8.1.9", 0),
        ("redis", "8.2.0", 1),
        ("redis", "8.4.0", 2),
        ("redis", "8.6.0", 3),
        ("redis", "8.10.0", 3),
        ("redis", "unstable", 0),
        ("valkey", "9.1.0", 0),
        ("dragonfly", "8.6.0", 0),
    ],
)
def test_the_version_decides_where_probing_is_forbidden(server: str, version: str, abilities: int) -> None:
    profile = profile_of(server, version, None)
    found = (profile.has_xackdel, profile.has_claim, profile.has_idmp)
    assert found == tuple(number < abilities for number in range(3))


@pytest.mark.parametrize(("server", "version"), [("redis", "6.2.14"), ("redis", "5.0"), ("valkey", "7.2.5")])
def test_too_old(server: str, version: str) -> None:
    with pytest.raises(UnsupportedServerError, match=r"Redis 7\.0 or Valkey 8\.0") as caught:
        check_supported(server, version)
    assert caught.value.version == version
    assert caught.value.missing in ("Redis 7.0", "Valkey 8.0")


@pytest.mark.parametrize(
    ("server", "version"), [("redis", "7.0.0"), ("redis", "10.0"), ("valkey", "8.0.0"), ("unknown", ""), ("x", "1.0")]
)
def test_given_a_try(server: str, version: str) -> None:
    check_supported(server, version)


def test_describe() -> None:
    assert FALLBACK_PROFILE.describe() == (
        "unknown (version unknown): acknowledge by script, take over by XAUTOCLAIM, resend a lone add never"
    )
    assert "XACKDEL" in ServerProfile("redis", "8.2", has_xackdel=True).describe()
