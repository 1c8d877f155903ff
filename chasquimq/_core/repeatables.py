"""Repeatable jobs as a producer sees them: upsert, list, remove.

The first fire is computed from the server's clock, which an upsert asks for first: a host whose clock is wrong would
otherwise skip fires or repeat them (docs/wire-format.md, repeatable specs).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import hiredis

from chasquimq._core.call import Call, Reply, reply_error, single
from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.repeat import RepeatSpec, decode_spec, score_ms
from chasquimq._core.repeatable_meta import RepeatableMeta
from chasquimq._core.scripts import Argument, load_script
from chasquimq._fast import FrameBuffer, pack_command
from chasquimq.errors import ChasquiError, InvalidOptionError, InvalidOptionTypeError
from chasquimq.options import to_utf8, whole_number

__all__ = ["list_specs", "remove_spec", "upsert_spec"]


def upsert_spec(keys: QueueKeys, spec: RepeatSpec, profile: ServerProfile) -> Generator[Call[Any], Any, int]:
    """Stores the spec; yields the Calls to run, returns the first fire in ms. Raises when there is none."""
    now_ms: int = yield Call("queue.add", pack_command([b"TIME"]), single("queue.add", _milliseconds), idempotent=True)
    first = spec.next_fire_ms(now_ms)
    if first is None:
        raise InvalidOptionError(
            f"the repeatable job {spec.key!r} would never fire: there is no match"
            + (" before its end_date." if spec.end_before_ms else " any more.")
        )
    script = load_script("upsert_repeatable", profile)
    into = [keys.repeat, keys.repeat_spec(spec.key), keys.scheduler_wake]
    arguments: list[Argument] = [spec.key, first, spec.encode()]
    yield Call(
        "queue.add",
        script.evalsha(into, arguments),
        single("queue.add", int),
        idempotent=True,
        eval_form=lambda _: script.eval(into, arguments),
    )
    return first


def list_specs(keys: QueueKeys, limit: int) -> Generator[Call[Any], Any, list[RepeatableMeta]]:
    """The first ``limit`` specs by next fire; entries without a readable spec are passed over."""
    whole_number("limit", limit, minimum=0)
    if limit == 0:
        return []
    request = pack_command([b"ZRANGE", keys.repeat, 0, limit - 1, b"WITHSCORES"])
    rows: list[bytes] = yield Call(
        "queue.get_repeatable_jobs", request, single("queue.get_repeatable_jobs", list), idempotent=True
    )
    if not rows:
        return []
    frames = FrameBuffer()
    for spec_key in rows[::2]:
        frames.command([b"HGET", keys.tag + b"repeat:spec:" + spec_key, b"spec"])
    commands = frames.commands
    stored: list[Reply] = yield Call(
        "queue.get_repeatable_jobs", frames.take(), _all_replies, commands, idempotent=True
    )
    found = []
    for data, score in zip(stored, rows[1::2], strict=True):
        if isinstance(data, bytes):
            try:
                found.append(decode_spec(data).meta(score_ms(score)))
            except ChasquiError:
                continue
    return found


def remove_spec(keys: QueueKeys, spec_key: str, profile: ServerProfile) -> Call[bool]:
    """Removes a spec by its resolved key: whether there was one."""
    if not isinstance(spec_key, str):
        raise InvalidOptionTypeError(
            f"the key is {type(spec_key).__name__}; expected a text, as shown by get_repeatable_jobs."
        )
    to_utf8("the key", spec_key)
    script = load_script("remove_repeatable", profile)
    names = [keys.repeat, keys.repeat_spec(spec_key)]
    arguments: list[Argument] = [spec_key]
    return Call(
        "queue.remove_repeatable_by_key",
        script.evalsha(names, arguments),
        single("queue.remove_repeatable_by_key", bool),
        eval_form=lambda _: script.eval(names, arguments),
    )


def _milliseconds(reply: Reply) -> int:
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def _all_replies(replies: list[Reply]) -> list[Reply]:
    """The stored specs. One that another program overwrote is as good as unreadable; it does not hide the others."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("WRONGTYPE"):
            raise reply_error("queue.get_repeatable_jobs", reply)
    return replies
