"""Running a Call on a connection that belongs to one owner, asynchronous form.

Unlike ``Client.run`` it sends nothing again after a failure: what then has to happen is its caller's to know.
"""

from __future__ import annotations

from typing import TypeVar

from chasquimq._core.call import Call, missing_scripts
from chasquimq._core.reconnect import eval_request, splice
from chasquimq.aio._client import Connection

__all__ = ["run_on"]

T = TypeVar("T")


async def run_on(connection: Connection, call: Call[T]) -> T:
    """Runs one Call on a connection of one's own. Nothing is sent again after a failure."""
    replies = await connection.submit(call.request, call.replies, call.blocks_ms)
    if missing := missing_scripts(call, replies):
        splice(replies, missing, await connection.submit(eval_request(call, missing), len(missing)))
    return call.parse(replies)
