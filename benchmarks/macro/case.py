"""The vocabulary of scenarios: a case is one table of the report, a run is one side of it in one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.meter import Meter, Probe, Void, wait_for
from benchmarks.macro.workload import queue_tag

__all__ = ["AIO", "FINISH_S", "FLAVOURS", "RATE_FIGURES", "Case", "Outcome", "Run"]

AIO = ("asyncio", "uvloop", "trio")
FLAVOURS = ("sync", *AIO)
RATE_FIGURES = ("rate", "client_us", "redis_us", "busy", "queued")

FINISH_S = 120.0
"""A run that takes longer than that has lost a job."""
_SETTLE_POLL_S = 0.001


@dataclass(slots=True)
class Run:
    """What a side is given."""

    host: str
    port: int
    queue: str
    side: str
    params: Mapping[str, Any]
    probe: Probe
    meter: Meter
    peer: SyncSide | AioSide | None = None
    """The side's adapter; None for a floor, which works on this library's keys by hand."""

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

    def waiting(self) -> int:
        """How many jobs the server still holds: waiting, running, delayed or not yet acknowledged."""
        if self.peer is not None:
            return self.peer.waiting()
        found: int = self.probe.call("XLEN", self.tag + b"stream") + self.probe.call("ZCARD", self.tag + b"delayed")
        return found

    def added(self) -> dict[str, float]:
        """Ends the window of a producer; void unless exactly its jobs are in the server."""
        cost = self.meter.stop()
        found = self.waiting()
        if found != self.jobs:
            raise Void(f"{self.jobs} jobs were added and {found} are in the server")
        return cost

    def settled(self) -> dict[str, float]:
        """Ends the window of a worker when the last job is acknowledged; void if one ended as failed."""
        wait_for(lambda: not self.waiting(), FINISH_S, "the last acknowledgement")
        return self._ended()

    async def settled_async(self) -> dict[str, float]:
        """The same for a side whose worker runs in this event loop."""
        assert isinstance(self.peer, AioSide)
        await self.peer.loop.wait_for(lambda: not self.waiting(), FINISH_S, "the last acknowledgement", _SETTLE_POLL_S)
        return self._ended()

    def _ended(self) -> dict[str, float]:
        cost = self.meter.stop()
        failed = self.probe.call("XLEN", self.tag + b"dlq") if self.peer is None else self.peer.failed()
        if failed:
            raise Void(f"{failed} jobs ended as failed")
        return cost


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a side reports. ``figures`` are those of the scenario, for example latencies."""

    jobs: int
    cost: Mapping[str, float]
    figures: Mapping[str, float] = field(default_factory=dict)


def _nothing(_host: str, _port: int, _queue: str, _params: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, on several sides.

    ``floors``: bare clients that send the same commands, by their names.
    ``sync`` and ``aio``: the scenario itself, for every side that has threads and for every one with an event loop.
    ``needs``: what a peer must be able to do to take part (``Peer.does``); empty for this library's flavours alone.
    """

    name: str
    title: str
    params: Mapping[str, Any]
    quick: Mapping[str, Any]
    """What differs in a quick run."""
    tiny: Mapping[str, Any]
    """What differs where only the machinery is tried."""
    floors: Mapping[str, Callable[[Run], Outcome]]
    sync: Callable[[Run, SyncSide], Outcome] | None = None
    aio: Callable[[Run, AioSide], Awaitable[Outcome]] | None = None
    needs: str = ""
    figures: tuple[str, ...] = RATE_FIGURES
    """What is shown; the first one is what ratios are made of."""
    prepare: Callable[[str, int, str, Mapping[str, Any]], None] = _nothing
    """Runs in the runner's process before each side that works on this library's keys."""
    flavours: tuple[str, ...] = FLAVOURS
    """Those of this library's that take part, as far as there is a ``sync`` or an ``aio`` for them."""
    optional: bool = False
    """Runs only when it is asked for by name, or for a report."""
    notes: tuple[str, ...] = ()
    """What a reader of the table must know."""

    def has(self, flavour: str) -> bool:
        """Whether a flavour of this library takes part."""
        return flavour in self.flavours and (self.sync if flavour == "sync" else self.aio) is not None
