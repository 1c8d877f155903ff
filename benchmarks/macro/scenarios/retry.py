"""Jobs that fail the first time and are run again 1 ms later: what a worker makes of a bad day of a remote service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.macro.backlog import empty, empty_async
from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.faces import AioSide, SyncSide
from benchmarks.macro.tally import Tally
from benchmarks.macro.workload import FRAGILE, NAME, fill

__all__ = ["CASES"]


def prepare(host: str, port: int, queue: str, params: Mapping[str, Any]) -> None:
    from chasquimq._fast import encode_retry

    # The jitter is written out: without it the reference draws up to 100 ms.
    retry = encode_retry(3, ("fixed", 1, None, None, 0))
    fill(host, port, queue, params["jobs"], retry=retry, fragile_every=params["fragile_every"])


class _FailingOnce(Tally):
    """Fails each fragile job the first time that it is seen; the runs that do not fail are counted."""

    def by_number(self) -> Callable[[int], None]:
        every, seen, start = self._run.params["fragile_every"], set(), self._start
        count = super().by_number()

        def handle(number: int) -> None:
            if number % every or number in seen:
                count(number)
                return
            start()
            seen.add(number)
            raise RuntimeError("the remote service is away")

        return handle

    def by_job(self) -> Callable[[Any], None]:
        seen, start = set(), self._start
        count = super().by_job()

        def handle(job: Any) -> None:
            if job.name != FRAGILE or job.id in seen:
                count(job)
                return
            start()
            seen.add(job.id)
            raise RuntimeError("the remote service is away")

        return handle

    def _start(self) -> None:
        if not self._run.meter.has_started:
            self._run.meter.start()


def bare(run: Run) -> Outcome:
    """One connection that reads, fails, retries, promotes and acknowledges, with the library's own scripts."""
    from benchmarks.macro.bare import BareClient
    from benchmarks.macro.bare_moves import Retrying

    retrying = Retrying(BareClient(run.host, run.port), run.tag, NAME.encode(), FRAGILE.encode())
    tally = Tally(run, lambda: None)
    run.meter.start()
    tally.seen += retrying.run(run.jobs)
    cost = run.settled()
    tally.check()
    return Outcome(run.jobs, cost)


def sync(run: Run, side: SyncSide) -> Outcome:
    return empty(run, side, _FailingOnce)


async def aio(run: Run, side: AioSide) -> Outcome:
    return await empty_async(run, side, _FailingOnce)


def _case(name: str, title: str, jobs: int, quick: int, fragile_every: int) -> Case:
    return Case(
        name,
        title,
        params={"jobs": jobs, "fragile_every": fragile_every, "retries": True},
        quick={"jobs": quick},
        tiny={"jobs": 30},
        floors={"bare": bare},
        sync=sync,
        aio=aio,
        needs="retry",
        prepare=prepare,
    )


CASES = (
    _case("retry", "every job fails once and is retried after 1 ms, events on", 20_000, 8_000, 1),
    _case("retry-mixed", "a tenth of the jobs fail once and are retried after 1 ms, events on", 40_000, 16_000, 10),
)
