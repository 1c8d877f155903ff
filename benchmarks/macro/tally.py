"""Counting handled jobs in the way that costs a handler least, and calling a run void that lost or doubled one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.macro.case import Run
from benchmarks.macro.faces import Handling
from benchmarks.macro.meter import Void

__all__ = ["Tally"]


class Tally(Handling):
    """The first job opens the window that is measured; the last one calls ``set_done``."""

    def __init__(self, run: Run, set_done: Callable[[], None]) -> None:
        self.seen: list[Any] = []
        """Ids or numbers of the jobs that were handled."""
        self._run = run
        self._set_done = set_done

    def by_number(self) -> Callable[[int], None]:
        seen, jobs, meter, set_done = self.seen, self._run.jobs, self._run.meter, self._set_done
        note = seen.append

        def handle(number: int) -> None:
            if not meter.has_started:
                meter.start()
            note(number)
            if len(seen) >= jobs:
                set_done()

        return handle

    def by_job(self) -> Callable[[Any], None]:
        # Written out: one more call per job would be one more than the other libraries' handlers pay.
        seen, jobs, meter, set_done = self.seen, self._run.jobs, self._run.meter, self._set_done
        note = seen.append

        def handle(job: Any) -> None:
            if not meter.has_started:
                meter.start()
            note(job.id)
            if len(seen) >= jobs:
                set_done()

        return handle

    def unfinished(self) -> Void:
        return Void(f"only {len(self.seen)} of {self._run.jobs} jobs were handled")

    def check(self) -> None:
        """Void unless every job was handled exactly once."""
        if len(self.seen) != self._run.jobs or len(set(self.seen)) != self._run.jobs:
            raise Void(f"{self._run.jobs} jobs, {len(self.seen)} runs of {len(set(self.seen))} different jobs")
