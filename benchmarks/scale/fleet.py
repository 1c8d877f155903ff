"""A small fleet that is real: producers, worker processes and a server, under the load that the simulation is given.

What it shows is how far the simulation can be trusted where it can be checked. Handlers sleep for as long as those of
the simulation; jobs are added at random times, whether earlier ones are done or not.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

from benchmarks.macro.meter import Probe, Void, wait_for
from benchmarks.macro.workload import NAME, payload, queue_tag
from benchmarks.scale.simulation.shard import SECOND, Load

__all__ = ["Observed", "observe"]

QUEUE = "fleet"
STREAM = queue_tag(QUEUE) + b"stream"
MEAN_S = 0.1
"""How long a handler sleeps on average; it cannot be told to worker processes otherwise."""
START_S = 60.0
_STEADY_S = 1.5
"""From the first job until as many end as are added."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one fleet did."""

    rate: float
    redis_us: float
    per_read: float
    per_end: float


def observe(url: str, probe: Probe, load: Load) -> Observed:
    """Runs the fleet for ``load.seconds`` beyond its start, on an empty server."""
    if load.handlers.duration != MEAN_S * SECOND:
        raise ValueError(f"handlers sleep for {MEAN_S} s here")
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    workers = context.Process(target=_serve, args=(url, load, ready, stop))
    producer = context.Process(target=_produce, args=(url, load, ready, stop))
    workers.start()
    producer.start()
    try:
        if not ready.wait(START_S):
            raise Void("the workers did not start")
        wait_for(lambda: _added(probe) > 0, START_S, "the first job")
        time.sleep(_STEADY_S)
        before = _look(probe)
        time.sleep(load.seconds)
        after = _look(probe)
    finally:
        stop.set()
        for process in (producer, workers):
            process.join(START_S)
            process.kill()  # one that hangs; the others have ended
    took, cpu, jobs, reads, ends = (now - then for now, then in zip(after, before, strict=True))
    return Observed(rate=jobs / took, redis_us=cpu * 1e6 / jobs, per_read=jobs / reads, per_end=jobs / ends)


def _look(probe: Probe) -> tuple[float, float, int, int, int]:
    calls = probe.info("commandstats")
    reads, ends = (
        int(calls.get(f"cmdstat_{name}", "calls=0").split(",")[0].removeprefix("calls="))
        for name in ("xreadgroup", "xackdel")
    )
    return time.monotonic(), probe.cpu_s(), _added(probe), reads, ends


def _added(probe: Probe) -> int:
    if not probe.call("EXISTS", STREAM):
        return 0
    found = probe.call("XINFO", "STREAM", STREAM)
    return int(dict(zip(found[::2], found[1::2], strict=True))[b"entries-added"])


async def _handle(_job: Any) -> None:
    await asyncio.sleep(random.expovariate(1 / MEAN_S))


def _serve(url: str, load: Load, ready: Event, stop: Event) -> None:
    from chasquimq.aio import Worker

    async def main() -> None:
        options: dict[str, Any] = {"concurrency": load.handlers.concurrency, "events": load.handlers.events}
        async with Worker[Any, Any](QUEUE, _handle, connection=url, processes=load.workers, **options):
            ready.set()
            await asyncio.to_thread(stop.wait)

    asyncio.run(main())


def _produce(url: str, load: Load, ready: Event, stop: Event) -> None:
    from chasquimq.aio import Queue

    async def main() -> None:
        async with Queue[Any, Any](QUEUE, connection=url) as queue:
            await asyncio.to_thread(ready.wait)
            due = time.monotonic()
            while not stop.is_set():
                due += random.expovariate(load.rate / load.group)
                if (early_s := due - time.monotonic()) > 0:
                    await asyncio.sleep(early_s)
                if load.group == 1:
                    await queue.add(NAME, payload(0))
                else:
                    await queue.add_bulk([(NAME, payload(number)) for number in range(load.group)], return_jobs=False)

    asyncio.run(main())
