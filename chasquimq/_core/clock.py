"""The clock as the core sees it: given from outside, so that tests can move it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Two clocks in milliseconds."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch, for people and for the wire."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds that only go forward, also while the machine sleeps where the system can tell."""
        ...
