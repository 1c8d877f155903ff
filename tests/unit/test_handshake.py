"""The handshake without a server: the bytes it says and what it makes of the answers."""

from typing import Any

import pytest
from hiredis import ReplyError

from chasquimq._core.handshake import Handshake, HandshakeSteps, handshake
from chasquimq.errors import (
    AuthenticationError,
    ChasquiError,
    RedisConnectionError,
    ServerReplyError,
    UnsupportedServerError,
)

HELLO = [b"server", b"redis", b"version", b"8.6.1", b"proto", 2, b"id", 42]
KNOWN = [[b"xackdel", -6], [b"digest", 2], None, None]
INFO = b"# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.0\r\n"


def begin(**options: Any) -> HandshakeSteps:
    given: dict[str, Any] = {"username": None, "password": None, "db": 0, "client_name": None}
    return handshake("redis://h:1/0", **(given | options))


def words(request: bytes) -> list[list[str]]:
    """The commands of a request."""
    tokens = request.decode().split("\r\n")[:-1]
    commands: list[list[str]] = []
    while tokens:
        count = int(tokens.pop(0)[1:])
        commands.append(tokens[1 : 2 * count : 2])
        del tokens[: 2 * count]
    return commands


def conclude(steps: HandshakeSteps, replies: list[Any]) -> Handshake:
    with pytest.raises(StopIteration) as finished:
        steps.send(replies)
    result = finished.value.value
    assert isinstance(result, Handshake)
    return result


PROBE = ["COMMAND", "INFO", "xackdel", "digest", "xcfgset"]


def test_the_shortest() -> None:
    steps = begin()
    request, replies = next(steps)
    assert words(request) == [["HELLO", "2"], PROBE]
    assert replies == 2
    result = conclude(steps, [HELLO, KNOWN])
    assert result.client_id == 42
    assert (result.profile.server, result.profile.version) == ("redis", "8.6.1")
    assert (result.profile.has_xackdel, result.profile.has_claim, result.profile.has_idmp) == (True, True, False)


def test_the_longest() -> None:
    request, replies = next(begin(username="u", password="p", db=3, client_name="me"))
    assert words(request) == [["HELLO", "2", "AUTH", "u", "p", "SETNAME", "me"], ["SELECT", "3"], PROBE]
    assert replies == 3


@pytest.mark.parametrize(("given", "sent"), [({"password": "p"}, ["default", "p"]), ({"username": "u"}, ["u", ""])])
def test_half_of_the_credentials(given: dict[str, str], sent: list[str]) -> None:
    assert words(next(begin(**given))[0])[0] == ["HELLO", "2", "AUTH", *sent]


def test_without_the_right_to_probe() -> None:
    steps = begin()
    next(steps)
    result = conclude(steps, [HELLO, ReplyError("NOPERM no permissions to run the 'command|info' command")])
    assert result.profile.has_idmp


def test_without_hello() -> None:
    steps = begin(username="u", password="p", db=3, client_name="me")
    next(steps)
    request, replies = steps.send([ReplyError("ERR unknown command 'HELLO'"), ReplyError("NOAUTH"), KNOWN])
    assert words(request) == [
        ["AUTH", "u", "p"],
        ["SELECT", "3"],
        ["CLIENT", "SETNAME", "me"],
        ["CLIENT", "ID"],
        ["INFO", "server"],
        PROBE,
    ]
    assert replies == 6
    result = conclude(steps, [b"OK", b"OK", b"OK", 9, INFO, [None] * 4])
    assert (result.client_id, result.profile.server, result.profile.version) == (9, "valkey", "8.1.0")


def test_without_hello_and_any_right() -> None:
    steps = begin(password="p")
    next(steps)
    request, _ = steps.send([ReplyError("NOPERM no permissions to run the 'hello' command"), ReplyError("NOPERM")])
    assert words(request)[0] == ["AUTH", "p"]
    denied = ReplyError("NOPERM")
    result = conclude(steps, [b"OK", denied, denied, denied])
    assert result.client_id is None
    assert result.profile.describe().startswith("unknown (version unknown)")
    assert not result.profile.has_xackdel


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", AuthenticationError),
        ("LOADING Redis is loading the dataset in memory", RedisConnectionError),
        ("MASTERDOWN Link with MASTER is down", RedisConnectionError),
        ("ERR max number of clients reached", RedisConnectionError),
    ],
)
def test_refusals(reply: str, kind: type[ChasquiError]) -> None:
    steps = begin(username="u", password="s3cret")
    next(steps)
    with pytest.raises(kind, match="redis://h:1/0") as caught:
        steps.send([ReplyError(reply), ReplyError("NOAUTH")])
    assert type(caught.value) is kind
    assert "s3cret" not in str(caught.value)


def test_credentials_are_missing() -> None:
    steps = begin()
    next(steps)
    with pytest.raises(AuthenticationError, match="has none"):
        steps.send(
            [ReplyError("NOAUTH HELLO must be called with the client already authenticated"), ReplyError("NOAUTH")]
        )


def test_a_server_without_hello_that_first_wants_to_know_who_asks() -> None:
    steps = begin(password="p")
    next(steps)
    request, _ = steps.send([ReplyError("NOAUTH Authentication required."), ReplyError("NOAUTH")])
    assert words(request)[0] == ["AUTH", "p"]


def test_select_is_refused() -> None:
    steps = begin(db=99)
    next(steps)
    with pytest.raises(ServerReplyError, match="SELECT 99") as caught:
        steps.send([HELLO, ReplyError("ERR DB index is out of range"), KNOWN])
    assert caught.value.code == "ERR"


def test_auth_is_refused_without_hello() -> None:
    steps = begin(password="p")
    next(steps)
    steps.send([ReplyError("ERR unknown command"), KNOWN])
    with pytest.raises(ServerReplyError, match="AUTH"):
        steps.send([ReplyError("ERR AUTH called without any password configured"), 1, INFO, KNOWN])


def test_an_old_server() -> None:
    steps = begin()
    next(steps)
    with pytest.raises(UnsupportedServerError):
        steps.send([[b"server", b"redis", b"version", b"6.0.16"], [None] * 4])


# --- the server's part ------------------------------------------------------------------------------------

PRIMARY = [b"master", 3, []]
REPLICA = [b"slave", b"10.0.0.1", 6379, b"connected", 3]


def test_a_primary_is_asked_whether_it_is_one() -> None:
    steps = begin(role="primary", db=3)
    request, _ = next(steps)
    assert words(request) == [["HELLO", "2"], ["SELECT", "3"], ["ROLE"], PROBE]
    assert conclude(steps, [HELLO, b"OK", PRIMARY, KNOWN]).client_id == 42


def test_a_replica_is_not_used_as_a_primary() -> None:
    steps = begin(role="primary")
    next(steps)
    with pytest.raises(RedisConnectionError, match="is a replica now") as caught:
        steps.send([HELLO, REPLICA, KNOWN])
    assert not caught.value.may_have_executed


def test_without_hello_a_replica_is_not_used_either() -> None:
    steps = begin(role="primary", password="p", db=3, client_name="me")
    next(steps)
    request, _ = steps.send([ReplyError("ERR unknown command 'HELLO'"), *[ReplyError("NOAUTH")] * 3])
    assert [command[0] for command in words(request)] == [
        "AUTH", "SELECT", "ROLE", "CLIENT", "CLIENT", "INFO", "COMMAND",
    ]  # fmt: skip
    with pytest.raises(RedisConnectionError, match="is a replica now"):
        steps.send([b"OK", b"OK", REPLICA, b"OK", 9, INFO, [None] * 4])


def test_a_server_that_may_not_be_asked_for_its_part_is_believed() -> None:
    steps = begin(role="primary")
    next(steps)
    assert conclude(steps, [HELLO, ReplyError("NOPERM no permissions to run the 'role' command"), KNOWN]).client_id


def test_a_sentinel_may_be_of_any_version() -> None:
    steps = begin(role="sentinel")
    assert words(next(steps)[0]) == [["HELLO", "2"], PROBE]
    assert conclude(steps, [[b"server", b"redis", b"version", b"6.2.0", b"mode", b"sentinel", b"id", 7], []]).client_id


def test_odd_answers_make_the_fallback() -> None:
    steps = begin()
    next(steps)
    result = conclude(steps, [b"OK", b"OK"])
    assert result.client_id is None
    assert result.profile.server == "unknown"
