"""The first words on a new connection: who we are, which database, what the server can do.

Decides what is sent and in which order, what is given up when the server forbids it (rights of an ACL user,
a proxy without HELLO) and which answers end the connection. It is a generator: it yields ``(request, number
of replies)``, is sent the replies, and returns a ``Handshake``. It must never do I/O and never put a
password into a message.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from hiredis import ReplyError

from chasquimq._core.call import CHANGING_PASSWORDS, Reply
from chasquimq._core.profile import (
    FALLBACK_PROFILE,
    PROBED_COMMANDS,
    ServerProfile,
    check_supported,
    profile_of,
)
from chasquimq._dataclass import dataclass
from chasquimq.errors import AuthenticationError, RedisConnectionError, ServerReplyError

__all__ = ["Handshake", "HandshakeSteps", "handshake"]


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the handshake found out. ``client_id`` is None where the server does not tell it."""

    profile: ServerProfile
    client_id: int | None


HandshakeSteps = Generator[tuple[bytes, int], list[Reply], Handshake]


def handshake(
    display: str,
    *,
    username: str | None,
    password: str | None,
    db: int,
    client_name: str | None,
    role: Literal["any", "primary", "sentinel"] = "any",
) -> HandshakeSteps:
    """The steps for one new connection; ``display`` names the server in error messages.

    ``role``: what the server must be; a sentinel may be of any version.

    Raises ``AuthenticationError``, ``UnsupportedServerError``, ``ServerReplyError``, or
    ``RedisConnectionError`` where a later attempt may succeed.
    """
    wants_auth = bool(username or password)
    credentials = (username or "default", password or "")
    hello = [b"HELLO", b"2"]
    if wants_auth:
        hello += [b"AUTH", *_encoded(credentials)]
    if client_name:
        hello += [b"SETNAME", client_name.encode()]
    select = [(b"SELECT", str(db).encode())] if db else []
    ask_role = [(b"ROLE",)] if role == "primary" else []
    probe = (b"COMMAND", b"INFO", *_encoded(PROBED_COMMANDS))

    replies = yield _batch(hello, *select, *ask_role, probe)
    if not isinstance(replies[0], ReplyError):
        _check_select(display, db, replies[1 : 1 + len(select)])
        _check_role(display, replies[1 + len(select) : -1])
        return _conclude(_pairs(replies[0]), replies[-1], role)
    # A server that knows no HELLO may say NOAUTH to it all the same; then AUTH, below, decides.
    if not (wants_auth and str(replies[0]).startswith("NOAUTH")):
        _check_refusal(display, replies[0])

    # HELLO is unknown or forbidden here (a proxy, an old server): the same with the commands that it
    # replaced.
    auth = [(b"AUTH", *_encoded(credentials if username else credentials[1:]))] if wants_auth else []
    name = [(b"CLIENT", b"SETNAME", client_name.encode())] if client_name else []
    replies = yield _batch(*auth, *select, *ask_role, *name, (b"CLIENT", b"ID"), (b"INFO", b"server"), probe)
    if auth and isinstance(replies[0], ReplyError):
        _check_refusal(display, replies[0])
        raise _refused(display, "AUTH", replies[0])
    after_auth = replies[len(auth) :]
    _check_select(display, db, after_auth[: len(select)])
    _check_role(display, after_auth[len(select) : len(select) + len(ask_role)])
    client_id, info, commands = replies[-3:]
    told = _info_lines(info)
    if isinstance(client_id, int):
        told[b"id"] = client_id
    return _conclude(told, commands, role)


def _conclude(told: dict[bytes, Reply], commands: Reply, role: str) -> Handshake:
    server, version = _told_text(told, b"server", FALLBACK_PROFILE.server), _told_text(told, b"version", "")
    if role != "sentinel":
        check_supported(server, version)
    known: list[str] | None = None
    if isinstance(commands, list):
        known = [entry[0].decode().lower() for entry in commands if isinstance(entry, list) and entry]
    client_id = told.get(b"id")
    return Handshake(profile_of(server, version, known), client_id if isinstance(client_id, int) else None)


def _batch(*commands: tuple[bytes, ...] | list[bytes]) -> tuple[bytes, int]:
    return b"".join(map(_packed, commands)), len(commands)


def _packed(command: tuple[bytes, ...] | list[bytes]) -> bytes:
    words = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)
    return b"*%d\r\n%b" % (len(command), words)


def _encoded(words: tuple[str, ...]) -> list[bytes]:
    return [word.encode() for word in words]


def _pairs(reply: Reply) -> dict[bytes, Reply]:
    if not isinstance(reply, list):
        return {}
    return {key: value for key, value in zip(reply[::2], reply[1::2], strict=False) if isinstance(key, bytes)}


def _told_text(told: dict[bytes, Reply], key: bytes, default: str) -> str:
    value = told.get(key)
    return value.decode(errors="replace").lower() if isinstance(value, bytes) and value else default


def _info_lines(info: Reply) -> dict[bytes, Reply]:
    """INFO's lines in the words of HELLO. Valkey tells a Redis version beside its own."""
    if not isinstance(info, bytes):
        return {}
    lines = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
    for server in (b"valkey", b"redis"):
        if version := lines.get(server + b"_version"):
            return {b"server": server, b"version": version}
    return {}


def _check_refusal(display: str, reply: ReplyError) -> None:
    """Raises where going on without HELLO cannot help."""
    text = str(reply)
    code = text.split(" ", 1)[0]
    if code == "WRONGPASS" or (code == "ERR" and "AUTH" in text and "invalid" in text.lower()):
        raise AuthenticationError(
            f"{display} refused the credentials ({text}). Nothing was written. "
            f"Check the username and password of the connection. {CHANGING_PASSWORDS}"
        )
    if code == "NOAUTH":
        raise AuthenticationError(
            f"{display} asks for credentials and the connection has none. Nothing was written. "
            "Give username and password (redis://user:password@host)."
        )
    if code in ("LOADING", "BUSY", "MASTERDOWN"):
        raise RedisConnectionError(
            f"{display} is not ready yet ({text}). Nothing was written. It usually is in a moment: try again."
        )
    if "max number of clients" in text:
        raise RedisConnectionError(
            f"{display} has as many clients as it allows. Nothing was written. "
            "Raise maxclients on the server or close connections, then try again."
        )


def _check_select(display: str, db: int, replies: list[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, ReplyError):
            _check_refusal(display, reply)
            raise _refused(display, f"SELECT {db}", reply)


def _check_role(display: str, replies: list[Reply]) -> None:
    """A server that may not be asked is believed; it turns writes away itself if it is a replica."""
    for reply in replies:
        if isinstance(reply, list) and reply and reply[0] != b"master":
            raise RedisConnectionError(
                f"{display} is a replica now, though it was named as the primary. Nothing was written. "
                "A failover is under way or has just ended; the primary is asked for again."
            )


def _refused(display: str, command: str, reply: ReplyError) -> ServerReplyError:
    return ServerReplyError(
        f"{display} refused {command} while connecting: {reply}. Nothing was written. "
        "Check the database number and the rights of the connection's user.",
        code=str(reply).split(" ", 1)[0],
    )
