"""What happens next: actions in the order of their times."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

__all__ = ["Timeline"]


class Timeline:
    """Actions that are due; those of the same time run in the order in which they were planned."""

    def __init__(self) -> None:
        self._planned: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, action: Callable[..., None], *arguments: Any) -> None:
        """Plans ``action(time, *arguments)``."""
        heapq.heappush(self._planned, (time, next(self._numbers), action, arguments))

    def run(self, until: float) -> None:
        """Runs everything that is due before ``until``, in order."""
        planned, pop = self._planned, heapq.heappop
        while planned and planned[0][0] < until:
            time, _, action, arguments = pop(planned)
            action(time, *arguments)
