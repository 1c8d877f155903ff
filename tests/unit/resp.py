"""Requests read the way a server reads them, by a parser that is not ours, and replies made by hand."""

from typing import Any

import hiredis

from chasquimq._core.call import Call
from chasquimq._core.profile import ServerProfile, profile_of
from chasquimq._core.scripts import load_script

CLASSIC = profile_of("redis", "7.0.15", None)
XACKDEL = profile_of("redis", "8.2.3", None)
NEWEST = profile_of("redis", "8.8.0", None)

Command = list[bytes]


def commands(request: bytes) -> list[Command]:
    """The commands of a request; fails when bytes are left over."""
    reader = hiredis.Reader()
    reader.feed(request)
    found: list[Command] = []
    while (command := reader.gets()) is not False:
        found.append(command)
    assert not reader.has_data(), "the request ends in the middle of a command"
    return found


def command(call: Call[Any]) -> Command:
    """The only command of a Call."""
    (only,) = commands(call.request)
    assert call.replies == 1
    return only


def scripted(call_command: Command, name: str, profile: ServerProfile) -> tuple[list[bytes], list[bytes]]:
    """The keys and arguments of a command that must run the script ``name``, by its digest or its text."""
    verb, digest, count, *rest = call_command
    script = load_script(name, profile)
    assert (verb, digest) in ((b"EVALSHA", script.sha1), (b"EVAL", script.text))
    return rest[: int(count)], rest[int(count) :]


def script_of(call_command: Command, profile: ServerProfile, names: list[str]) -> str:
    """Which of the scripts a command runs; its verb where it runs none."""
    if call_command[0] not in (b"EVALSHA", b"EVAL"):
        return call_command[0].decode()
    scripts = {name: load_script(name, profile) for name in names}
    return next(name for name, script in scripts.items() if call_command[1] in (script.sha1, script.text))


def error(text: str) -> hiredis.ReplyError:
    """An error reply as it arrives."""
    return hiredis.ReplyError(text)


def answer(call: Call[Any], *replies: Any) -> Any:
    """What the Call makes of these replies."""
    assert len(replies) == call.replies
    return call.parse(list(replies))


def pairs(fields: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=True))
