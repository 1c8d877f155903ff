"""How long a retry waits: the compiled twin of ``_pure/backoff.py``, which explains the rules.

Decides a number of milliseconds from plain numbers. It must never read a clock or draw a random number.
"""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.math cimport floor, fmin, pow

BackoffTuple = tuple[str, int, int | None, float | None, int | None]

cdef long long LONGEST_MS = <long long>1 << 53


cdef long long bounded(object value) except -1:
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        return LONGEST_MS if overflow > 0 else 0
    if number < 0:
        return 0
    return number if number < LONGEST_MS else LONGEST_MS


def backoff_ms(
    str kind not None,
    object delay_ms,
    object max_delay_ms,
    double multiplier,
    object jitter_ms,
    object retry_number,
    double unit_random,
):
    """Milliseconds to wait before retry ``retry_number`` (1 = the first). See the twin."""
    cdef long long delay = bounded(delay_ms)
    cdef long long cap = bounded(max_delay_ms)
    cdef long long jitter = bounded(jitter_ms)
    cdef long long wait
    cdef double grown
    if kind == "fixed":
        wait = delay if delay < cap else cap
    else:
        grown = delay * pow(multiplier, <double>bounded(retry_number - 1))
        # The comparison is false for NaN too (0 * infinity, NaN multiplier).
        wait = <long long>fmin(grown, <double>cap) if grown > 0 else 0
    if jitter and 0.0 <= unit_random <= 1.0:
        wait += <long long>floor((2.0 * unit_random - 1.0) * jitter + 0.5)
    if wait < 0:
        return 0
    return wait if wait < LONGEST_MS else LONGEST_MS
