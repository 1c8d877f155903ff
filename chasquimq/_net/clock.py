"""The system's clocks as an object, for ``_core`` to be given."""

from __future__ import annotations

from chasquimq._fast import monotonic_ms, wall_ms

__all__ = ["SystemClock"]


class SystemClock:
    """Implements ``_core.clock.Clock``."""

    wall_ms = staticmethod(wall_ms)
    monotonic_ms = staticmethod(monotonic_ms)
