"""Whether the server may delete keys when its memory is full, and what that would mean for a queue.

Decides how it is asked and what is said about the answer; a worker looks once (``_net.housekeeper``). It must never
keep a worker from starting: a server that does not tell is believed.
"""

from __future__ import annotations

import hiredis

from chasquimq._core.call import Call, Reply
from chasquimq._fast import pack_command

__all__ = ["eviction_warning", "read_policy"]

SAFE = "noeviction"


def read_policy() -> Call[str | None]:
    """The server's ``maxmemory-policy``; None where it does not tell, or not this user.

    ``INFO`` tells it like ``CONFIG GET``, and is part of the documented rights; hosted servers rarely allow ``CONFIG``.
    """
    return Call("worker.look_at_policy", pack_command([b"INFO", b"memory"]), _policy, idempotent=True)


def _policy(replies: list[Reply]) -> str | None:
    told = replies[0]
    if isinstance(told, hiredis.ReplyError) or not isinstance(told, bytes):
        return None
    for line in told.splitlines():
        name, _, value = line.partition(b":")
        if name == b"maxmemory_policy":
            return value.decode(errors="replace")
    return None


def eviction_warning(policy: str | None, server: str) -> str | None:
    """What is to be said of the server that a URL names; None: nothing."""
    if policy in (None, "", SAFE):
        return None
    if policy.startswith("volatile-"):
        # What expires by itself: results, the markers of job ids, leader locks and wake-up lists. The last two only
        # save work.
        danger = (
            "it deletes keys that have a lifetime. Jobs have none and stay, but a result may be gone before its time, "
            "and a job_id may be added again within its window"
        )
    else:
        danger = "it deletes any keys, and with them all jobs of a queue, without an error"
    return (
        f"{server} has maxmemory-policy {policy}: when its memory is full, {danger}. "
        f"Set maxmemory-policy {SAFE}; adds are then refused while workers make room."
    )
