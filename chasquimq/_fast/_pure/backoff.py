"""How long a retry waits: the backoff arithmetic of the wire format (docs/wire-format.md, section 10).

Decides a number of milliseconds from plain numbers. It must never read a clock or draw a random number: the
caller passes ``unit_random``, so that every outcome can be reproduced.
"""

import math
from typing import TypeAlias

BackoffTuple: TypeAlias = tuple[str, int, int | None, float | None, int | None]
"""``(kind, delay_ms, max_delay_ms, multiplier, jitter_ms)`` as it stands in a job's envelope; None = not set."""

# Largest whole number a float holds exactly, and a zset score of Redis is a float.
LONGEST_MS = 2**53


def _bounded(value: int) -> int:
    return 0 if value < 0 else min(value, LONGEST_MS)


def _power(base: float, exponent: float) -> float:
    """C's pow: an overflow is an infinity with the right sign, not an exception."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf


def backoff_ms(
    kind: str,
    delay_ms: int,
    max_delay_ms: int,
    multiplier: float,
    jitter_ms: int,
    retry_number: int,
    unit_random: float,
) -> int:
    """Milliseconds to wait before retry ``retry_number`` (1 = the first).

    ``fixed`` waits ``delay_ms``; any other kind waits ``delay_ms * multiplier ** (retry_number - 1)``. The wait is
    capped by ``max_delay_ms``, then moved by up to ``jitter_ms`` either way: ``unit_random`` 0.0 takes the whole
    jitter off, 0.5 changes nothing. Nonsensical numbers (NaN, negative) count as no wait; the result lies in
    0 … 2**53.
    """
    delay = _bounded(delay_ms)
    cap = _bounded(max_delay_ms)
    jitter = _bounded(jitter_ms)
    if kind == "fixed":
        wait = min(delay, cap)
    else:
        grown = delay * _power(multiplier, float(_bounded(retry_number - 1)))
        # The comparison is false for NaN too (0 * infinity, NaN multiplier).
        wait = int(min(grown, float(cap))) if grown > 0 else 0
    if jitter and 0.0 <= unit_random <= 1.0:
        wait += math.floor((2.0 * unit_random - 1.0) * jitter + 0.5)
    return _bounded(wait)
