"""Testing programs that use a queue, asynchronous form.

The functions that wait; what they do is decided in ``_drain``, ``_time`` and ``_content``. They work on a real server:
nothing is mocked, so what passes here is what happens. ``chasquimq.testing.sync`` is generated from this file.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, overload

from chasquimq._core.call import Call
from chasquimq._net.clock import SystemClock
from chasquimq.aio.job import Job
from chasquimq.aio.producer import Producer
from chasquimq.aio.queue import Queue
from chasquimq.errors import InvalidOptionError
from chasquimq.native import RawJob
from chasquimq.options import WorkerOptions
from chasquimq.testing import _calling as calling
from chasquimq.testing._clearing import clear_steps
from chasquimq.testing._content import ANYTHING, EnqueuedJob, content_steps, matching, unexpected
from chasquimq.testing._drain import Drained, RunHandler, drain_steps, leave_steps, make_core
from chasquimq.testing._time import Calendar
from chasquimq.times import Duration, Instant, duration_ms, instant_ms

__all__ = ["QueueClock", "assert_enqueued", "assert_not_enqueued", "clear", "drain", "enqueued", "inline"]

DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")
AnyQueue = Queue[Any, Any] | Producer

_draining: ContextVar[bool] = ContextVar("chasquimq_draining", default=False)


@overload
async def drain(
    queue: Queue[DataT, ResultT],
    handler: Callable[[Job[DataT, ResultT]], Awaitable[ResultT] | ResultT],
    *,
    fast_forward: bool = False,
    raise_errors: bool = True,
    limit: int | None = None,
    opts: WorkerOptions | Mapping[str, Any] | None = None,
) -> Drained[Job[DataT, ResultT]]: ...
@overload
async def drain(
    queue: Producer,
    handler: Callable[[RawJob], Awaitable[bytes | None] | bytes | None],
    *,
    fast_forward: bool = False,
    raise_errors: bool = True,
    limit: int | None = None,
    opts: WorkerOptions | Mapping[str, Any] | None = None,
) -> Drained[RawJob]: ...
async def drain(
    queue: Any,
    handler: Callable[[Any], Any],
    *,
    fast_forward: bool = False,
    raise_errors: bool = True,
    limit: int | None = None,
    opts: WorkerOptions | Mapping[str, Any] | None = None,
) -> Drained[Any]:
    """Runs the queue's jobs here, one after the other, until none is due; returns what happened.

    Also those that the handler adds. The jobs end as with a Worker: results are stored, failures are retried or
    buried, events are written. With a Producer the handler gets a RawJob, as from a Consumer.

    ``fast_forward``: delayed jobs and retries are run too, as if their time had come, until there are none left.
    ``raise_errors``: the first error of the handler is raised, when what becomes of its job is written; with False
    all errors are in the report. ``limit``: at most so many runs. ``opts``: the options of a Worker that matter to
    a job: ``max_attempts``, ``backoff``, ``store_results`` and others.
    """
    report: Drained[Any] = Drained()
    await _drain(queue, handler, report, fast_forward, raise_errors, limit, opts)
    return report


async def _drain(
    queue: Any,
    handler: Callable[[Any], Any],
    report: Drained[Any],
    fast_forward: bool,
    raise_errors: bool,
    limit: int | None,
    opts: object,
) -> None:
    calling.check_async(handler)
    clock = SystemClock()
    core = make_core(queue._keys, RawJob if isinstance(queue, Producer) else Job, opts, clock)
    profile = await queue._client.profile()
    steps = drain_steps(core, profile, clock, report, fast_forward=fast_forward, raise_errors=raise_errors, limit=limit)
    before = _draining.set(True)
    try:
        await _drive(queue, steps, handler)
    finally:
        _draining.reset(before)
        await _drive(queue, leave_steps(core, profile))


@asynccontextmanager
async def inline(
    queue: AnyQueue,
    handler: Callable[[Any], Any],
    *,
    raise_errors: bool = True,
    opts: WorkerOptions | Mapping[str, Any] | None = None,
) -> AsyncIterator[Drained[Any]]:
    """Within the block, every add on this queue object runs what is due before it returns (see ``drain``).

    Gives the report of all runs. Delayed jobs stay where they are. Jobs that a handler adds run after it.
    """
    report: Drained[Any] = Drained()
    calling.check_async(handler)

    def with_drain(add: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(add)
        async def add_and_drain(*arguments: Any, **options: Any) -> Any:
            answer = await add(*arguments, **options)
            if not _draining.get():
                await _drain(queue, handler, report, False, raise_errors, None, opts)
            return answer

        return add_and_drain

    methods = ("add", "add_unique", "add_bulk")
    for method in methods:
        setattr(queue, method, with_drain(getattr(queue, method)))
    try:
        yield report
    finally:
        for method in methods:
            delattr(queue, method)


async def enqueued(queue: AnyQueue, name: str | None = None) -> list[EnqueuedJob]:
    """What is in the queue, waiting, running or delayed; with ``name``, the jobs of that name only.

    First what is due, in order, then what is delayed, the next one first.
    """
    return matching(await _drive(queue, content_steps(queue._keys)), name, ANYTHING, None, None)


async def assert_enqueued(
    queue: AnyQueue,
    name: str | None = None,
    data: Any = ANYTHING,
    *,
    job_id: str | None = None,
    is_delayed: bool | None = None,
    count: int | None = None,
) -> EnqueuedJob:
    """Asserts that there is such a job in the queue and returns the first one.

    What is not given does not matter. The AssertionError shows what is in the queue. ``count``: exactly so many;
    default at least one.
    """
    __tracebackhide__ = True
    if count is not None and count < 1:
        raise InvalidOptionError(f"count is {count}; expected at least 1. To expect none, use assert_not_enqueued.")
    jobs = await enqueued(queue)
    found = matching(jobs, name, data, job_id, is_delayed)
    if not found or (count is not None and len(found) != count):
        wanted = "a job" if count is None else f"{count} jobs"
        raise unexpected(f"expected {wanted} {_described(name, data, job_id, is_delayed)}, found {len(found)}", jobs)
    return found[0]


async def assert_not_enqueued(
    queue: AnyQueue,
    name: str | None = None,
    data: Any = ANYTHING,
    *,
    job_id: str | None = None,
    is_delayed: bool | None = None,
) -> None:
    """Asserts that there is no such job in the queue; without further arguments, that the queue is empty."""
    __tracebackhide__ = True
    jobs = await enqueued(queue)
    found = matching(jobs, name, data, job_id, is_delayed)
    if found:
        raise unexpected(f"expected no job {_described(name, data, job_id, is_delayed)}, found {len(found)}", jobs)


async def clear(queue: AnyQueue) -> int:
    """Deletes everything of this queue, also results and dead letters, while nobody works; returns how many keys."""
    deleted: int = await _drive(queue, clear_steps(queue._keys))
    return deleted


class QueueClock:
    """A clock for one queue that can be moved, so that nobody has to wait.

    Moving it makes delayed jobs and retries due that much sooner, also for workers that are running, and fires the
    repeatable jobs whose time lies in between, each window in order. The server's own clock stays: markers of job
    ids, results and leases last as long as ever.
    """

    def __init__(self, queue: AnyQueue) -> None:
        self._queue = queue
        self._calendar = Calendar(queue._keys)

    @property
    def now_ms(self) -> int:
        """The time on this clock, milliseconds since the epoch."""
        return SystemClock.wall_ms() + self._calendar.offset_ms

    @property
    def now(self) -> datetime:
        """The time on this clock."""
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.now_ms)

    async def advance(self, duration: Duration) -> int:
        """Moves the clock forward by a ``timedelta`` or milliseconds; returns how many repeatable jobs were fired."""
        steps = self._calendar.advance(duration_ms("duration", duration), await self._queue._client.profile())
        fired: int = await _drive(self._queue, steps)
        return fired

    async def move_to(self, instant: Instant) -> int:
        """Moves the clock to an aware ``datetime`` or milliseconds since the epoch, which must not be in its past."""
        distance_ms = instant_ms("instant", instant) - self.now_ms
        if distance_ms < 0:
            raise InvalidOptionError(f"the clock shows {self.now.isoformat()} and goes forward only.")
        return await self.advance(distance_ms)

    def __repr__(self) -> str:
        return f"<QueueClock {self.now.isoformat()}>"


def _described(name: str | None, data: Any, job_id: str | None, is_delayed: bool | None) -> str:
    parts = [] if name is None else [f"name={name!r}"]
    parts += [] if data is ANYTHING else [f"data={data!r:.200}"]
    parts += [] if job_id is None else [f"job_id={job_id!r}"]
    parts += [] if is_delayed is None else [f"is_delayed={is_delayed}"]
    return "with " + ", ".join(parts) if parts else "of any kind"


async def _drive(queue: AnyQueue, steps: Generator[Any, Any, Any], handler: Callable[[Any], Any] | None = None) -> Any:
    """Runs steps: Calls on the queue's connection, jobs with the handler; results go back in, and errors too."""
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, RunHandler):
                    assert handler is not None  # noqa: S101 - only a drain runs jobs
                    result = await calling.call_async(handler, step.job)
                else:
                    call: Call[Any] = step
                    result = await queue._client.run(call)
            except Exception as error:  # noqa: BLE001 - thrown in, where it is dealt with or comes out again
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value
