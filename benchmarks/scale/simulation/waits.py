"""How long many jobs waited, in little memory. All times are microseconds."""

from __future__ import annotations

import math
from collections import Counter

__all__ = ["LATE", "Waits"]

LATE = 1_000_000.0
"""A job that waits longer than this is late."""
_PER_E_FOLD = 50
"""Buckets grow by 2 %: that is how precise a quantile is."""


class Waits:
    """Counts waiting times in buckets."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.longest = 0.0
        self.late_until = 0.0
        """When the last late job started."""

    def record(self, started: float, sent: float, jobs: int = 1) -> None:
        """``jobs`` jobs started at that time."""
        wait = started - sent
        self._buckets[math.ceil(math.log(max(wait, 1.0)) * _PER_E_FOLD)] += jobs
        self.longest = max(self.longest, wait)
        if wait > LATE:
            self.late_until = started

    def clear(self) -> None:
        """Forgets everything so far."""
        self._buckets.clear()
        self.longest = self.late_until = 0.0

    def quantile(self, share: float) -> float:
        """What this share of the jobs did not wait longer than; NaN when none was recorded."""
        left = share * self._buckets.total()
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return math.exp(bucket / _PER_E_FOLD)
        return math.nan
