"""The vocabulary of scenarios: a case is one line of the tables, a run is one side of it in one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.macro.meter import Meter, Probe, Void, wait_for
from benchmarks.macro.workload import queue_tag

__all__ = ["AIO", "FLAVOURS", "Case", "Outcome", "Run", "Tally"]

AIO = ("asyncio", "uvloop", "trio")
FLAVOURS = ("sync", *AIO)

FINISH_S = 120.0


@dataclass(slots=True)
class Run:
    """What a side is given."""

    host: str
    port: int
    queue: str
    flavour: str
    params: Mapping[str, Any]
    probe: Probe
    meter: Meter

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def tag(self) -> bytes:
        return queue_tag(self.queue)

    @property
    def jobs(self) -> int:
        jobs: int = self.params["jobs"]
        return jobs

    def added(self) -> dict[str, float]:
        """Ends the window of a producer; void unless exactly its jobs are in the stream."""
        cost = self.meter.stop()
        found = self.probe.call("XLEN", self.tag + b"stream")
        if found != self.jobs:
            raise Void(f"{self.jobs} jobs were added and {found} are in the stream")
        return cost

    def settled(self) -> dict[str, float]:
        """Ends the window of a worker when the last job is acknowledged; void if one was dead-lettered."""
        wait_for(lambda: self.probe.is_settled(self.tag), FINISH_S, "the last acknowledgement")
        cost = self.meter.stop()
        if dead := self.probe.call("XLEN", self.tag + b"dlq"):
            raise Void(f"{dead} jobs were dead-lettered")
        return cost


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a side reports. ``figures`` are those of the scenario, for example latencies."""

    jobs: int
    cost: Mapping[str, float]
    figures: Mapping[str, float] = field(default_factory=dict)


class Tally:
    """Counts handled jobs by their ids, in the way that costs a handler least."""

    def __init__(self, run: Run, set_done: Callable[[], None]) -> None:
        self.ids: list[str] = []
        self._run = run
        self._set_done = set_done

    def handler(self) -> Callable[[Any], None]:
        """A handler that does nothing but count; the first call opens the window."""
        ids, jobs, meter, set_done = self.ids, self._run.jobs, self._run.meter, self._set_done
        note = ids.append

        def handle(job: Any) -> None:
            if not meter.has_started:
                meter.start()
            note(job.id)
            if len(ids) >= jobs:
                set_done()

        return handle

    def check(self) -> None:
        """Void unless every job was handled exactly once."""
        if len(self.ids) != self._run.jobs or len(set(self.ids)) != self._run.jobs:
            raise Void(f"{self._run.jobs} jobs, {len(self.ids)} runs of {len(set(self.ids))} different jobs")


Side = Callable[[Run], Outcome] | Callable[[Run], Awaitable[Outcome]]


def _nothing(_host: str, _port: int, _queue: str, _params: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, on several sides."""

    name: str
    title: str
    params: Mapping[str, Any]
    quick: Mapping[str, Any]
    """What differs in a quick run."""
    sides: Mapping[str, Side]
    """By name: ``sync``, ``aio`` (for every asynchronous flavour), ``reference``; every other name is a floor."""
    figures: tuple[str, ...] = ("rate", "client_us", "redis_us", "busy", "queued")
    """What is shown; the first one is what ratios are made of."""
    prepare: Callable[[str, int, str, Mapping[str, Any]], None] = _nothing
    """Runs in the runner's process, before each side's process starts."""
    optional: bool = False
    """Runs only when it is asked for by name."""

    @property
    def floors(self) -> tuple[str, ...]:
        return tuple(side for side in self.sides if side not in ("sync", "aio", "reference"))

    @property
    def lower_is_better(self) -> bool:
        return self.figures[0] != "rate"

    def side(self, name: str) -> Side | None:
        return self.sides.get("aio" if name in AIO else name)
