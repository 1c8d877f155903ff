"""The Lua scripts: one operation each, loaded from ``lua/*.lua`` and put together with their includes.

A script's text is chosen by what the server can do (the include that acknowledges and deletes has two forms) and
sent as EVALSHA; the caller repeats it as EVAL when the server answers NOSCRIPT. Each file states its contract.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from chasquimq._core.profile import ServerProfile
from chasquimq._fast import pack_command
from chasquimq._first_use import first_use

__all__ = ["Script", "load_script"]

_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)

_FOLDER = __file__.rpartition("scripts")[0] + "lua/"
"""Beside this file. importlib.resources would serve a zipped package too, and costs a tenth of our start-up time."""

Argument = bytes | str | int


class Script:
    """One script as a given kind of server gets it."""

    __slots__ = ("name", "sha1", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        from hashlib import sha1  # noqa: PLC0415  loads OpenSSL; a plain add needs no script

        self.text = text.encode()
        self.sha1 = sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def evalsha(self, keys: Sequence[bytes], arguments: Sequence[Argument]) -> bytes:
        """The command that runs the script by its digest."""
        return pack_command([b"EVALSHA", self.sha1, len(keys), *keys, *arguments])

    def eval(self, keys: Sequence[bytes], arguments: Sequence[Argument]) -> bytes:
        """The command that runs the script by its text, for a server that does not know it yet."""
        return pack_command([b"EVAL", self.text, len(keys), *keys, *arguments])


def load_script(name: str, profile: ServerProfile) -> Script:
    """The script ``lua/<name>.lua`` for a server of this profile."""
    return _load(name, profile.has_xackdel)


@cache
def _load(name: str, has_xackdel: bool) -> Script:
    with first_use:
        return _loaded(name, "xackdel" if has_xackdel else "classic")


def _loaded(name: str, kind: str) -> Script:
    variants = {part: f"{part}_{kind}" for part in ("ack_and_delete", "ack_and_delete_all")}

    def include(match: re.Match[str]) -> str:
        part = match.group(1)
        return _read(f"includes/{variants.get(part, part)}").rstrip()

    text = _INCLUDE.sub(include, _read(name))
    # Comments are for readers of the files; the server keeps and hashes every byte that it is sent.
    return Script(name, _COMMENT.sub("", text))


def _read(name: str) -> str:
    with open(f"{_FOLDER}{name}.lua", encoding="utf-8") as file:  # noqa: PTH123  pathlib would have to be loaded
        return file.read()
