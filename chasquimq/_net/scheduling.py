"""Running Calls, and a round of the scheduler, on a blocking connection of one's own.

What is due and what is fired is decided in ``_core.scheduling_round``; nothing is sent again after a failure here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from chasquimq._core.call import Call, missing_scripts
from chasquimq._core.clock import Clock
from chasquimq._core.reconnect import eval_request, splice
from chasquimq._core.scheduler import Scheduling
from chasquimq._core.scheduling_round import scheduling_round
from chasquimq._net.following import FollowingConnection
from chasquimq.errors import ChasquiError

__all__ = ["fire_due", "run_on"]

T = TypeVar("T")


def run_on(connection: FollowingConnection, call: Call[T]) -> T:
    """Runs one Call."""
    replies = connection.exchange(call.request, call.replies, call.blocks_ms)
    if missing := missing_scripts(call, replies):
        splice(replies, missing, connection.exchange(eval_request(call, missing), len(missing)))
    return call.parse(replies)


def fire_due(
    connection: FollowingConnection, scheduling: Scheduling, clock: Clock, report: Callable[[Exception], None]
) -> int:
    """Fires what is due and sets when to look again; returns how many jobs were added."""
    steps = scheduling_round(scheduling, connection.profile, clock, report)
    try:
        call = next(steps)
        while True:
            try:
                result = run_on(connection, call)
            except ChasquiError as error:
                call = steps.throw(error)
            else:
                call = steps.send(result)
    except StopIteration as end:
        added: int = end.value
        return added
