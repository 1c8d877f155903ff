"""The system's clocks, for ``_core`` to be given."""

from __future__ import annotations

import time

__all__ = ["SystemClock"]

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""CLOCK_BOOTTIME goes on while the machine sleeps, as leases on the server do."""


class SystemClock:
    """Implements ``_core.clock.Clock``."""

    @staticmethod
    def wall_ms() -> int:
        return time.time_ns() // 1_000_000

    @staticmethod
    def monotonic_ms() -> float:
        return time.clock_gettime(_STEADY) * 1000.0
