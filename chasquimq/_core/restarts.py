"""When a worker process that has ended is started again, and when trying is given up.

A process that dies is started again without end, the sooner the longer it lived. Only when one after the other ends
before it ever took a job, and no other one works, would going on hide that nothing can work.
"""

from __future__ import annotations

from chasquimq._core.reconnect import worker_delay_ms

__all__ = ["DEATHS_IN_A_ROW", "Restarts"]

DEATHS_IN_A_ROW = 3
"""So many ends before readiness, with no readiness in between, and there is no point in a further start."""
HEALTHY_MS = 30_000.0
"""A process that lived so long had started well; its end says nothing about the next start."""
RESPITE_MS = 1_000.0
"""Whoever asked one process to end may be about to ask all: a stop of the whole service reaches each in its time."""


class Restarts:
    """The record of the ends of one set of processes, numbered from 0."""

    def __init__(self) -> None:
        self._short_lives: dict[int, int] = {}
        self._deaths_in_a_row = 0

    def became_ready(self) -> None:
        """A process takes jobs."""
        self._deaths_in_a_row = 0

    def ended(
        self, number: int, *, asked: bool, lived_ms: float, before_ready: bool, others_work: bool, draw: float
    ) -> float | None:
        """The wait in ms before process ``number`` is started again; None: give up.

        ``asked``: it ended in good order, as one does that was sent SIGTERM. ``before_ready``: it ended without having
        taken jobs, and did not say why. ``others_work``: some other process takes jobs. ``draw``: a random number from
        0 up to 1.
        """
        if asked:
            return RESPITE_MS
        self._deaths_in_a_row += before_ready
        if self._deaths_in_a_row >= DEATHS_IN_A_ROW and not others_work:
            return None
        short_lives = 1 if lived_ms >= HEALTHY_MS else self._short_lives.get(number, 0) + 1
        self._short_lives[number] = short_lives
        return worker_delay_ms(short_lives, draw)
