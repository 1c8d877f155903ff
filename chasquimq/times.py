"""Durations and instants as users write them, made into whole milliseconds.

A plain number is milliseconds, a ``timedelta`` is a duration, an *aware* ``datetime`` is an instant. A naive
datetime is refused: whose clock it means cannot be known. Nothing here reads a clock.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, shown

__all__ = ["GREATEST", "Duration", "Instant", "duration_ms", "instant_ms"]

Duration = int | float | timedelta
"""Milliseconds, or a ``timedelta``."""

Instant = int | float | datetime
"""Milliseconds since the Unix epoch, or an aware ``datetime``."""

_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GREATEST = 2**53
"""The greatest whole number that Redis' scripts, which count in floating point, still tell from the next one."""


def duration_ms(option: str, value: Duration) -> int:
    """``value`` in whole milliseconds (rounded down); negative, NaN and infinite values are refused."""
    if isinstance(value, timedelta):
        whole = _within_limit(option, value // _MILLISECOND)
    else:
        whole = _whole_ms(option, value, "a number of milliseconds or a datetime.timedelta")
    if whole < 0:
        raise InvalidOptionError(f"{option} is negative ({value!r}). A duration starts at 0 milliseconds.")
    return whole


def instant_ms(option: str, value: Instant) -> int:
    """``value`` as milliseconds since the Unix epoch (rounded down)."""
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            raise InvalidOptionError(
                f"{option} is a datetime without a time zone ({value.isoformat()}), so its instant is not known. "
                "Give it one, for example datetime.now(timezone.utc) or value.astimezone()."
            )
        whole = (value - _EPOCH) // _MILLISECOND  # exact, which value.timestamp() is not
    else:
        whole = _whole_ms(option, value, "milliseconds since the epoch or an aware datetime.datetime")
    if whole < 0:
        raise InvalidOptionError(f"{option} lies before 1970 ({value!r}).")
    return whole


def _whole_ms(option: str, value: object, expected: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidOptionTypeError(f"{option} is {type(value).__name__}; expected {expected}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidOptionError(f"{option} is {value!r}; expected a finite number of milliseconds.")
    return _within_limit(option, math.floor(value))


def _within_limit(option: str, whole: int) -> int:
    if abs(whole) > GREATEST:
        raise InvalidOptionError(f"{option} is {shown(whole)} ms, beyond any date that can be stored.")
    return whole
