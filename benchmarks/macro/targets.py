"""What must be reached: one row per target, judged on the medians of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.macro.case import AIO, FLAVOURS
from benchmarks.macro.results import Measured, Ratio
from benchmarks.peers import REFERENCE

__all__ = ["TARGETS", "Judged", "Target", "judge"]

FIELD = "the field"
"""As a base: the best of the peers that were measured."""


@dataclass(frozen=True, slots=True)
class Target:
    """``figure`` of ``side`` (divided by that of ``base``, if any) is at least or at most ``bound``."""

    what: str
    case: str
    sides: Sequence[str]
    figure: str
    bound: float
    base: str | None = None
    at_least: bool = True
    limit: str = ""
    """What stands in the way where it is not met."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A target with what was measured for one side."""

    target: Target
    side: str
    measured: float | Ratio
    base: str | None = None
    """Who was the best of the field, where that is asked for."""

    @property
    def is_met(self) -> bool:
        value = self.measured.median if isinstance(self.measured, Ratio) else self.measured
        return value >= self.target.bound if self.target.at_least else value <= self.target.bound


def _most(
    what: str, case: str, sides: Sequence[str], figure: str, bound: float, base: str | None = None, limit: str = ""
) -> Target:
    return Target(what, case, sides, figure, bound, base, at_least=False, limit=limit)


_BULK_LIMIT = (
    "The server waits while the first 250 rows are checked and encoded, about 0.1 ms of the 1.8 that a call takes: a "
    "refused row among them means that nothing is added. At the end it waits for the last answers to be read, and an "
    "event loop is slower to hand them out than a thread. Calls of many rows keep the server busy all the time."
)
_CONSUME_LIMIT = (
    "One read and one acknowledgement are on their way at a time, each followed by the next when its answer has been "
    "taken in. For what is missing two reads would have to be, whose entries would wait twice as long in the worker."
)
_BUSY_SERVER_LIMIT = (
    "The commands are the same. The floor that keeps two reads under way costs the server as much as this library does "
    "(*overlapped* in the table): beside a client that works at the same time it pays more for a command than beside "
    "one that waits."
)
_LONE_ADD_LIMIT = (
    "Of about 50 µs of CPU, 30 are those of the event loop's own round trip with nothing of ours in it (a protocol, a "
    "future, one write); the rest is the add itself, on caches that have grown cold while it waited. [What was "
    "tried](../benchmarks/README.md)."
)
_RETRY_LIMIT = (
    "The bare client, which decides nothing, is itself only about 7 times as fast as the reference: a failed job costs "
    "the server a script, two moves and six events, some 32 µs."
)
_STOCK = ("sync", "asyncio", "trio")
_LATE = ("delayed-1000", "delayed-20000")

TARGETS: tuple[Target, ...] = (
    Target(
        "add_bulk of 1,000 ÷ bare pipelined XADD", "bulk-1000", _STOCK, "rate", 0.85, "pipelined", limit=_BULK_LIMIT
    ),
    Target("consume without events ÷ bare read and ack", "consume", ("sync", "asyncio"), "rate", 0.80, "bare"),
    Target("consume without events ÷ bare read and ack", "consume", ("trio",), "rate", 0.70, "bare"),
    Target("consume with events ÷ bare loop that writes them", "consume-events", FLAVOURS, "rate", 0.75, "bare"),
    Target("Redis' core is busy during add_bulk of 1,000", "bulk-1000", FLAVOURS, "busy", 0.90, limit=_BULK_LIMIT),
    Target("Redis' core is busy during add_bulk of a million", "bulk-million", FLAVOURS, "busy", 0.90),
    Target("Redis' core is busy during consume", "consume", FLAVOURS, "busy", 0.90, limit=_CONSUME_LIMIT),
    _most("Redis CPU per consumed job ÷ bare", "consume", FLAVOURS, "redis_us", 1.05, "bare", _BUSY_SERVER_LIMIT),
    _most("Redis CPU per consumed job with events ÷ bare", "consume-events", FLAVOURS, "redis_us", 1.05, "bare"),
    _most("Redis CPU per job of add_bulk ÷ bare", "bulk-1000", FLAVOURS, "redis_us", 1.05, "pipelined"),
    Target("add one by one ÷ bare round trip", "add", ("sync",), "rate", 0.75, "bare"),
    Target(
        "add one by one, stock loop ÷ reference on uvloop",
        "add",
        ("asyncio",),
        "rate",
        2.5,
        REFERENCE,
        limit=_LONE_ADD_LIMIT,
    ),
    Target("100 concurrent adds ÷ reference", "add-100", AIO, "rate", 3.0, REFERENCE),
    Target("consume without events ÷ reference", "consume", FLAVOURS, "rate", 4.0, REFERENCE),
    Target("consume with events ÷ reference", "consume-events", FLAVOURS, "rate", 4.0, REFERENCE),
    _most("add to handler start, p50 ÷ best of the field", "latency", FLAVOURS, "p50_ms", 0.7, FIELD),
    _most("add to handler start, p99 ÷ best of the field", "latency", FLAVOURS, "p99_ms", 1.0, FIELD),
    _most("lateness of 1,000 delayed jobs, p50 ms", _LATE[0], FLAVOURS, "p50_ms", 3),
    _most("lateness of 1,000 delayed jobs, p99 ms", _LATE[0], FLAVOURS, "p99_ms", 10),
    _most("lateness of 20,000 delayed jobs, p50 ms", _LATE[1], FLAVOURS, "p50_ms", 10),
    _most("lateness of 20,000 delayed jobs, p99 ms", _LATE[1], FLAVOURS, "p99_ms", 50),
    Target("fail once, retried ÷ reference", "retry", FLAVOURS, "rate", 6.0, REFERENCE, limit=_RETRY_LIMIT),
    _most("client CPU µs per consumed job", "consume", ("sync",), "client_us", 2.5),
    _most("client CPU µs per consumed job", "consume", ("asyncio",), "client_us", 4.0),
    _most("client CPU µs per consumed job", "consume", ("trio",), "client_us", 5.0),
    _most("idle worker, commands/s", "idle", FLAVOURS, "commands_per_s", 2),
    _most("idle worker, CPU ms/s", "idle", FLAVOURS, "cpu_ms_per_s", 1),
    _most("memory per waiting job ÷ reference", "memory", ("sync",), "bytes_over_payload", 1.0, REFERENCE),
    _most("growth of a worker over 1 M jobs, KiB", "rss", FLAVOURS, "growth_kib", 2048),
    _most("import chasquimq.sync, ms", "startup", ("sync",), "import_ms", 60),
    _most("import chasquimq.aio, ms", "startup", ("asyncio",), "import_ms", 150),
)


def judge(results: Mapping[str, Measured]) -> Iterator[Judged]:
    """Every target of a case that was measured, once per side that was."""
    for target in TARGETS:
        measured = results.get(target.case)
        if measured is None:
            continue
        present = measured.sides()
        base = target.base
        if base == FIELD:
            base = measured.best_of_field(target.figure, highest=target.at_least)
        for side in target.sides:
            if side not in present:
                continue
            if target.base is None:
                yield Judged(target, side, measured.median(side, target.figure))
            elif base is not None and (ratio := measured.ratio(side, base, target.figure)) is not None:
                yield Judged(target, side, ratio, base if target.base == FIELD else None)
