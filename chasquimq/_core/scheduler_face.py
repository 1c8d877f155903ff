"""What a standalone scheduler shows of itself in both forms, and the schedule that it keeps.

It never waits; the two Scheduler classes add the lifecycle.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from chasquimq._core.call import Call
from chasquimq._core.carrying import OfOneProcess
from chasquimq._core.clock import Clock
from chasquimq._core.keys import QueueKeys
from chasquimq._core.log import logger_named
from chasquimq._core.profile import ServerProfile
from chasquimq._core.reconnect import Outage
from chasquimq._core.scheduler import Scheduling
from chasquimq._core.scheduling_round import scheduling_round
from chasquimq.errors import ChasquiError, ClosedError

__all__ = ["LISTEN_MS", "RUNS_IN_PARENT", "SchedulerFace"]

logger = logger_named("chasquimq.scheduler")

LISTEN_MS = 5_000
"""How long one BLPOP for a wake-up stands; a new one follows."""
RUNS_IN_PARENT = (
    "this scheduler was started before the process was forked and runs on in the parent. Create a new one in the child."
)


class SchedulerFace(OfOneProcess):
    """Base of ``sync.Scheduler`` and ``aio.Scheduler``."""

    def __init__(self, queue_name: str, holder: bytes, tick_ms: int, clock: Clock) -> None:
        self._keys = QueueKeys(queue_name)
        self._tick_ms = tick_ms
        self._take_name(holder)
        self._clock = clock
        self._outage = Outage(logger, f"the schedule of {queue_name!r} is kept")
        self._is_ready = False
        self._is_closing = False

    def _take_name(self, holder: bytes) -> None:
        """``holder``: what the leader lock says of this scheduler; nobody else's."""
        self._scheduling = Scheduling(self._keys, holder, tick_ms=self._tick_ms)

    @property
    def queue_name(self) -> str:
        """The queue's name."""
        return self._keys.name

    @property
    def is_closed(self) -> bool:
        """True after the first ``close()``."""
        return self._is_closing

    @property
    def is_leader(self) -> bool:
        """Whether this scheduler is the one that fires. While there is nothing to fire, nobody is."""
        return self.is_running() and self._scheduling.leads and not self._scheduling.is_idle

    def is_running(self) -> bool:
        """Whether it keeps the schedule, be it as the leader or standing by."""
        return self._is_ready and not self._is_closing

    def __repr__(self) -> str:
        state = "closed" if self._is_closing else "running" if self._is_ready else "not started"
        return f"<Scheduler {self.queue_name!r} {state}>"

    # -- for the two forms -----------------------------------------------------------------------------------------

    def _round(self, profile: ServerProfile) -> Generator[Call[Any], Any, None]:
        """The Calls of one look at the schedule; afterwards ``_wait_ms`` says when the next one is due."""
        yield from scheduling_round(self._scheduling, profile, self._clock, _told_already)
        self._outage.over()

    @property
    def _wait_ms(self) -> float:
        return max(0.0, self._scheduling.next_at - self._clock.monotonic_ms())

    def _failed(self, error: ChasquiError) -> int:
        """Books a look that failed; returns how many have failed in a row."""
        if self._outage.failed(error):
            logger.warning("the schedule of %r is not kept for now: %s", self.queue_name, error)
        return self._outage.failures

    def _check_open(self) -> None:
        if self._is_closing:
            raise ClosedError("the scheduler was closed. Create a new one.")


def _told_already(_error: Exception) -> None:
    """A bad spec is logged where it is found; nobody listens here."""
