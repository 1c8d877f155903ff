"""One round of the scheduler as steps: ask what is due, fire it, and tell of bad specs.

What is due and what is fired is decided in ``scheduler``; this puts the Calls in order, one spec at a time, so that a
spec that cannot be read or fired does not stand in the way of the others. Whoever drives it runs each Call that it
yields, and sends its result back or throws its error in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from chasquimq._core.call import Call
from chasquimq._core.clock import Clock
from chasquimq._core.log import logger_named
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scheduler import DueSpecs, Scheduling
from chasquimq.errors import (
    ChasquiError,
    InvalidOptionError,
    PayloadDecodeError,
    RedisConnectionError,
    ServerReplyError,
)

__all__ = ["scheduling_round"]

logger = logger_named("chasquimq.scheduler")


def scheduling_round(
    scheduling: Scheduling, profile: ServerProfile, clock: Clock, report: Callable[[Exception], None]
) -> Generator[Call[Any], Any, int]:
    """Fires what is due and sets when to look again; returns how many jobs were added."""
    added = 0
    try:
        if scheduling.is_idle:
            has_specs: bool = yield scheduling.peek()
            scheduling.peeked(has_specs, clock.monotonic_ms())
            if scheduling.is_idle:
                return 0
        found: DueSpecs = yield scheduling.due(profile)
        for spec_key, score in found.due:
            added += yield from _fire_one(scheduling, profile, spec_key, score, found.server_now_ms, report)
    except RedisConnectionError:
        raise
    except ChasquiError:
        scheduling.failed(clock.monotonic_ms())
        raise
    scheduling.asked(found, clock.monotonic_ms())
    if scheduling.is_idle:
        yield scheduling.release(profile)
    return added


def _fire_one(
    scheduling: Scheduling,
    profile: ServerProfile,
    spec_key: bytes,
    score: bytes,
    now_ms: int,
    report: Callable[[Exception], None],
) -> Generator[Call[Any], Any, int]:
    try:
        stored: bytes | None = yield scheduling.stored_spec(spec_key)
        if stored is None:
            yield scheduling.drop(spec_key, profile)
            return 0
        spec, fires = scheduling.plan(stored, score, now_ms)
        added: int = yield scheduling.fire(spec_key, score, stored, spec, fires, now_ms, profile)
    except (PayloadDecodeError, InvalidOptionError, ServerReplyError) as error:
        if isinstance(error, ServerReplyError) and error.code not in ("ERR", "WRONGTYPE"):
            raise  # the server is in trouble (OOM, READONLY, LOADING ...), not the spec
        logger.error("the repeatable spec %r cannot be fired and rests for a minute: %s", spec_key, error)
        report(error)
        yield scheduling.set_aside(spec_key, now_ms)
        return 0
    return max(0, added)
