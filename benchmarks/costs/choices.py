"""The choices that are priced, and the work by which they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.macro.meter import Probe, Void
from benchmarks.macro.runner import HOST
from benchmarks.macro.workload import CONCURRENCY, NAME, payload, queue_tag
from tests.servers.process import RedisServer

__all__ = ["CHOICES", "WORK", "Choice", "price"]

QUEUE = "costs"
FINISH_S = 120
REPLICA_S = 30
WORK = {"add": 2_000, "add_bulk": 50_000, "run": 50_000}
"""What is timed, and for how many jobs."""


@dataclass(frozen=True)
class Choice:
    """One row of the table: what differs from the first one."""

    name: str
    server: dict[str, str] = field(default_factory=dict)
    replicas: int = 0
    queue: dict[str, Any] = field(default_factory=dict)
    worker: dict[str, Any] = field(default_factory=dict)
    own_ids: bool = False
    value: Any = None
    """What the handler returns."""


CHOICES = (
    Choice("nothing written to disk, no replica, no events"),
    Choice("`appendonly yes`, `appendfsync no`", {"appendonly": "yes", "appendfsync": "no"}),
    Choice("`appendonly yes`, `appendfsync everysec`", {"appendonly": "yes", "appendfsync": "everysec"}),
    Choice("`appendonly yes`, `appendfsync always`", {"appendonly": "yes", "appendfsync": "always"}),
    Choice("one replica on the same machine, `min-replicas-to-write 1`", {"min-replicas-to-write": "1"}, replicas=1),
    Choice("`job_id=` for each job", own_ids=True),
    Choice("`Queue(events=True)`", queue={"events": True}),
    Choice("`Worker(events=True)`, the default", worker={"events": True}),
    Choice("`Worker(store_results=True)`, a small value", worker={"store_results": True}, value=7),
    Choice('`Worker(ack="each")`', worker={"ack": "each"}),
)


def price(choice: Choice, share: float = 1.0) -> dict[str, float]:
    """Jobs a second for each kind of work, on servers of its own."""
    with ExitStack() as stack:
        # Comes last in the configuration, so that it overrides what the tests' servers do.
        server = stack.enter_context(RedisServer("redis-8.6", unix_socket=False, config=choice.server))
        assert server.port is not None
        for _ in range(choice.replicas):
            replica = {"replicaof": f"{HOST} {server.port}"}
            stack.enter_context(RedisServer("redis-8.6", unix_socket=False, config=replica))
        probe = Probe(HOST, server.port)
        stack.callback(probe.close)
        _wait_for(lambda: int(probe.info("replication").get("min_slaves_good_slaves", 0)) >= choice.replicas, REPLICA_S)
        return _work(choice, server.url, probe, share)


def _work(choice: Choice, url: str, probe: Probe, share: float) -> dict[str, float]:
    from chasquimq.sync import Queue

    singles, rows, runs = (max(1, int(jobs * share)) for jobs in (WORK["add"], WORK["add_bulk"], WORK["run"]))
    rates = {}
    with Queue[Any, Any](QUEUE, connection=url, **choice.queue) as queue:
        queue.add(NAME, payload(0))
        rates["add"] = singles / _timed(lambda: _add(queue, singles, choice.own_ids))
        probe.call("FLUSHALL")
        made = _rows(rows, choice.own_ids)
        rates["add_bulk"] = rows / _timed(lambda: queue.add_bulk(made, return_jobs=False))
        probe.call("FLUSHALL")
        queue.add_bulk(_rows(runs, own_ids=False), return_jobs=False)
    rates["run"] = runs / _run(choice, url, probe, runs)
    return rates


def _add(queue: Any, jobs: int, own_ids: bool) -> None:
    for number in range(jobs):
        if own_ids:
            queue.add(NAME, payload(number), job_id=f"order-{number}")
        else:
            queue.add(NAME, payload(number))


def _rows(jobs: int, own_ids: bool) -> list[tuple[Any, ...]]:
    if own_ids:
        return [(NAME, payload(number), {"job_id": f"order-{number}"}) for number in range(jobs)]
    return [(NAME, payload(number)) for number in range(jobs)]


def _run(choice: Choice, url: str, probe: Probe, jobs: int) -> float:
    """Seconds from the first handler to the last acknowledgement."""
    from chasquimq.sync import Job, Worker

    seen: list[str] = []
    begun: list[float] = []
    ended = threading.Event()

    def handle(job: Job[Any, Any]) -> Any:
        if not begun:
            begun.append(time.perf_counter())
        seen.append(job.id)
        if len(seen) >= jobs:
            ended.set()
        return choice.value

    options = {"events": False, **choice.worker}
    with Worker[Any, Any](QUEUE, handle, connection=url, concurrency=CONCURRENCY, **options):
        if not ended.wait(FINISH_S):
            raise Void(f"only {len(seen)} of {jobs} jobs were handled")
        stream = queue_tag(QUEUE) + b"stream"
        _wait_for(lambda: probe.call("XLEN", stream) == 0, FINISH_S)
        took = time.perf_counter() - begun[0]
    if len(seen) != jobs or len(set(seen)) != jobs:
        raise Void(f"{jobs} jobs, {len(seen)} runs of {len(set(seen))} different jobs")
    return took


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _wait_for(is_so: Callable[[], bool], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > until:
            raise Void("waited in vain")
        time.sleep(0.001)
