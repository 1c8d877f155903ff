"""One round of the scheduler as steps: ask what is due, fire it, and tell of bad specs.

What is due and what is fired is decided in ``scheduler``; this puts the Calls in order, one spec at a time, so that a
spec that cannot be read or fired does not stand in the way of the others. Whoever drives it only runs the Calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any

from chasquimq._core.call import Call
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scheduler import DueSpecs, Scheduling
from chasquimq.errors import InvalidOptionError, PayloadDecodeError

__all__ = ["scheduling_round"]

logger = logging.getLogger("chasquimq.scheduler")


def scheduling_round(
    scheduling: Scheduling, profile: ServerProfile, report: Callable[[Exception], None]
) -> Generator[Call[Any], Any, DueSpecs]:
    """Fires what is due; the answer, which goes to ``Scheduling.asked``, says when to come back."""
    found: DueSpecs = yield scheduling.due(profile)
    for spec_key, score in found.due:
        yield from _fire_one(scheduling, profile, spec_key, score, found.server_now_ms, report)
    return found


def _fire_one(
    scheduling: Scheduling,
    profile: ServerProfile,
    spec_key: bytes,
    score: bytes,
    now_ms: int,
    report: Callable[[Exception], None],
) -> Generator[Call[Any], Any, None]:
    stored: bytes | None = yield scheduling.stored_spec(spec_key)
    if stored is None:
        yield scheduling.drop(spec_key, profile)
        return
    try:
        spec, fires = scheduling.plan(stored, score, now_ms)
    except (PayloadDecodeError, InvalidOptionError) as error:
        logger.error("the repeatable spec %r cannot be read and rests for a minute: %s", spec_key, error)
        report(error)
        yield scheduling.set_aside(spec_key, now_ms)
        return
    yield scheduling.fire(spec_key, score, stored, spec, fires, now_ms, profile)
