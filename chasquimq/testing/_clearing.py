"""Deleting all keys of one queue, as steps: for tests that share a server. It must never touch another queue."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from chasquimq._core.call import Call, single
from chasquimq._core.keys import QueueKeys
from chasquimq._fast import pack_command

__all__ = ["clear_steps"]

_SPECIAL = re.compile(rb"([\\*?\[\]^-])")


def clear_steps(keys: QueueKeys) -> Generator[Call[Any], Any, int]:
    """Finds the keys by the queue's hash tag; returns how many there were."""
    pattern = _SPECIAL.sub(rb"\\\1", keys.tag) + b"*"
    cursor = b"0"
    deleted = 0
    while True:
        request = pack_command([b"SCAN", cursor, b"MATCH", pattern, b"COUNT", 1_000])
        cursor, found = yield Call("testing.clear", request, single("testing.clear", tuple), idempotent=True)
        if found:
            deleted += yield Call("testing.clear", pack_command([b"UNLINK", *found]), single("testing.clear", int))
        if cursor == b"0":
            return deleted
