"""The system's clocks in milliseconds. ``_core`` never calls these; they are given to it."""

from __future__ import annotations

import time

__all__ = ["monotonic_ms", "wall_ms"]

# CLOCK_BOOTTIME goes on while the machine sleeps, as leases on the server do.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> float:
    """Milliseconds that only go forward, also while the machine sleeps where the system can tell."""
    return time.clock_gettime(_STEADY) * 1000.0
