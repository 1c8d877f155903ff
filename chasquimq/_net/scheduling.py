"""One round of the scheduler on a blocking connection: ask what is due, fire it, and tell of bad specs.

What is due and what is fired is decided in ``_core.scheduler``; this only runs the Calls, one spec at a time, so that
a spec that cannot be read or fired does not stand in the way of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from chasquimq._core.call import Call, missing_scripts
from chasquimq._core.clock import Clock
from chasquimq._core.reconnect import eval_request, splice
from chasquimq._core.scheduler import Scheduling
from chasquimq._net.blocking import BlockingConnection
from chasquimq.errors import (
    ChasquiError,
    InvalidOptionError,
    PayloadDecodeError,
    RedisConnectionError,
    ServerReplyError,
)

__all__ = ["fire_due", "run_on"]

logger = logging.getLogger("chasquimq.scheduler")

T = TypeVar("T")


def run_on(connection: BlockingConnection, call: Call[T]) -> T:
    """Runs one Call on a connection of one's own. Nothing is sent again after a failure."""
    replies = connection.exchange(call.request, call.replies, call.blocks_ms)
    if missing := missing_scripts(call, replies):
        splice(replies, missing, connection.exchange(eval_request(call, missing), len(missing)))
    return call.parse(replies)


def fire_due(
    connection: BlockingConnection, scheduling: Scheduling, clock: Clock, report: Callable[[Exception], None]
) -> int:
    """Fires what is due and sets when to look again; returns how many jobs were added."""
    added = 0
    try:
        if scheduling.is_idle:
            scheduling.peeked(run_on(connection, scheduling.peek()), clock.monotonic_ms())
            if scheduling.is_idle:
                return 0
        result = run_on(connection, scheduling.due(connection.profile))
        for spec_key, score in result.due:
            added += _fire_one(connection, scheduling, spec_key, score, result.server_now_ms, report)
    except RedisConnectionError:
        raise
    except ChasquiError:
        scheduling.failed(clock.monotonic_ms())
        raise
    scheduling.asked(result, clock.monotonic_ms())
    if scheduling.is_idle:
        run_on(connection, scheduling.release(connection.profile))
    return added


def _fire_one(
    connection: BlockingConnection,
    scheduling: Scheduling,
    spec_key: bytes,
    score: bytes,
    now_ms: int,
    report: Callable[[Exception], None],
) -> int:
    profile = connection.profile
    try:
        stored = run_on(connection, scheduling.stored_spec(spec_key))
        if stored is None:
            run_on(connection, scheduling.drop(spec_key, profile))
            return 0
        spec, fires = scheduling.plan(stored, score, now_ms)
        return max(0, run_on(connection, scheduling.fire(spec_key, score, stored, spec, fires, now_ms, profile)))
    except (PayloadDecodeError, InvalidOptionError, ServerReplyError) as error:
        logger.error("the repeatable spec %r cannot be fired and rests for a minute: %s", spec_key, error)
        report(error)
        run_on(connection, scheduling.set_aside(spec_key, now_ms))
        return 0
