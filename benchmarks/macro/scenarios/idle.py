"""What a worker costs that has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, Nothing, SyncSide
from benchmarks.macro.workload import fill

__all__ = ["CASES"]


def prepare(host: str, port: int, queue: str, _params: Mapping[str, Any]) -> None:
    fill(host, port, queue, 0)


class _Watch:
    """What the server counts during the window."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._before = self._counts()
        run.meter.start()

    def _counts(self) -> tuple[int, int]:
        return self._run.probe.commands(), self._run.probe.foreign_requests()

    def outcome(self) -> Outcome:
        cost = self._run.meter.stop()
        commands, requests = (now - then for now, then in zip(self._counts(), self._before, strict=True))
        figures = {
            "cpu_ms_per_s": cost["client_cpu_s"] * 1000 / cost["wall_s"],
            "commands_per_s": commands / cost["wall_s"],
            "requests_per_s": requests / cost["wall_s"],
            "redis_ms_per_s": cost["redis_cpu_s"] * 1000 / cost["wall_s"],
        }
        return Outcome(0, cost, figures)


def bare(run: Run) -> Outcome:
    """A thread that is blocked in XREADGROUP, five seconds at a time."""
    import threading

    from benchmarks.macro.bare import BareClient, Consumption

    client = BareClient(run.host, run.port)
    read = Consumption(client, run.tag, events=False).read

    def wait() -> None:
        while True:
            client.exchange(read)

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(run.params["settle_s"])
    watch = _Watch(run)
    time.sleep(run.params["window_s"])
    return watch.outcome()


def sync(run: Run, side: SyncSide) -> Outcome:
    with side.working(Nothing()):
        time.sleep(run.params["settle_s"])
        watch = _Watch(run)
        time.sleep(run.params["window_s"])
        return watch.outcome()


async def aio(run: Run, side: AioSide) -> Outcome:
    async with side.working(Nothing()):
        await side.loop.sleep(run.params["settle_s"])
        watch = _Watch(run)
        await side.loop.sleep(run.params["window_s"])
        return watch.outcome()


CASES = (
    Case(
        "idle",
        "an idle worker",
        params={"jobs": 0, "settle_s": 2, "window_s": 15},
        quick={"window_s": 6},
        tiny={"settle_s": 0.05, "window_s": 0.2},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        needs="idle",
        figures=("cpu_ms_per_s", "commands_per_s", "requests_per_s", "redis_ms_per_s"),
        prepare=prepare,
    ),
)
