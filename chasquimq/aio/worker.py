"""The worker of one queue, asynchronous form (asyncio and trio): handlers run as tasks.

The façade: options, lifecycle, listeners, signals. The tasks are in ``_engine``, the decisions in ``_core``. Whoever
awaits ``run()`` is the runner (in an ``async with`` block a task of its own): it starts the engine, waits until it is
asked to close, and ends the engine. A cancellation of the runner drains too, within ``drain_timeout_ms``, because
the engine is kept in a task of its own, which nothing cancels.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

import anyio
import anyio.abc
import anyio.to_thread

from chasquimq._core.keys import QueueKeys
from chasquimq._core.log import logger_named
from chasquimq._core.worker_face import RUNS_IN_PARENT, WorkerFace
from chasquimq._core.worker_settings import check_processor, worker_settings
from chasquimq._dataclass import replace
from chasquimq._net.clock import SystemClock
from chasquimq._net.event_loop import call_in, loop_kind, protect_from_interrupts, running_loop
from chasquimq._net.forking import tell_in_children
from chasquimq._net.signals import check_can_handle_signals
from chasquimq._net.unique_name import unique_name
from chasquimq.address import resolve_address
from chasquimq.aio._client import Client
from chasquimq.aio._engine import Engine
from chasquimq.aio._undisturbed import run_apart, undisturbed
from chasquimq.aio.job import Job
from chasquimq.errors import ChasquiError, ClosedError
from chasquimq.job import DataT, ResultT
from chasquimq.options import BackoffOptions, WorkerOptions, keywords, merge
from chasquimq.times import Duration

if TYPE_CHECKING:
    from chasquimq._processes.fleet import Fleet

__all__ = ["Processor", "Worker"]

logger = logger_named("chasquimq.worker")

Processor = Callable[[Job[DataT, ResultT]], Awaitable[ResultT] | ResultT]
"""The handler of a Worker (product page, Processor)."""


class Worker(WorkerFace, Generic[DataT, ResultT]):
    """Runs a handler for the jobs of one queue (product page, Worker).

    ``queue_name``, ``processor``: the queue and the coroutine function that is awaited with each job; a plain function
    is accepted too and called in a thread. Returning means done; raising means retry, or the dead-letter queue when
    the budget is used up or UnrecoverableError is raised.

    ``connection``: as for Queue. ``concurrency``: handlers running at a time, default 100. ``autorun``: whether
    entering the scope starts the worker, default True. ``drain_delay``: how long a read waits for jobs, default
    5,000 ms. ``max_stalled_count`` or ``max_attempts``: total runs of a job that does not say itself, default 3.
    ``name``: the consumer's name, unique per worker, default generated. ``run_scheduler``, ``scheduler_tick_ms``:
    fire repeatable jobs, default True, at most every 1,000 ms. ``store_results``, ``result_ttl_ms``: keep return
    values for ``wait_for_result``, default False, for 1 h (rounded up to whole seconds). ``events``: write the
    events stream, default True; False is fastest. ``lease_ms``: how long a job stays this worker's after its last
    renewal (renewals go on while it runs), default 30,000, at least 100. ``drain_timeout_ms``: how long ``close()``
    waits for running handlers, default 30,000. ``ack``: ``"batch"`` (default) writes the ends of jobs as they
    gather; ``"each"`` lets no handler start on a consumer before the end of its last job is written. ``backoff``:
    the wait before retries of jobs that do not say themselves, default exponential from 100 ms up to 30 s.
    ``max_payload_bytes``: larger entries go to the dead-letter queue, default 1 MiB. ``processes``: so many processes
    run jobs, each with ``concurrency`` handlers, under a supervisor that starts again what dies; default 1: this one.
    ``start_method``: ``"fork"`` copies this program, ``"spawn"`` starts interpreters that import the processor; default
    fork where no other thread runs, else spawn. ``remove_on_complete``, ``remove_on_fail``, ``prefix``: accepted, no
    effect.

    Raises InvalidOptionError, InvalidOptionTypeError, NotSupportedError. Starting raises RedisConnectionError and
    its kinds when the server cannot be reached at that time; later on a worker survives that. With ``processes``
    it also raises WorkerProcessError when none comes to work.
    """

    _job_class: type[Any] = Job

    def __init__(
        self,
        queue_name: str,
        processor: Processor[DataT, ResultT],
        *,
        connection: Any = None,
        concurrency: int | None = None,
        autorun: bool | None = None,
        drain_delay: Duration | None = None,
        max_stalled_count: int | None = None,
        name: str | None = None,
        run_scheduler: bool | None = None,
        scheduler_tick_ms: Duration | None = None,
        store_results: bool | None = None,
        result_ttl_ms: Duration | None = None,
        events: bool | None = None,
        lease_ms: Duration | None = None,
        drain_timeout_ms: Duration | None = None,
        max_attempts: int | None = None,
        ack: Literal["batch", "each"] | None = None,
        backoff: Duration | BackoffOptions | Mapping[str, Any] | None = None,
        max_payload_bytes: int | None = None,
        processes: int | None = None,
        start_method: Literal["fork", "spawn"] | None = None,
        remove_on_complete: Any = None,
        remove_on_fail: Any = None,
        prefix: str | None = None,
        opts: WorkerOptions | Mapping[str, Any] | None = None,
    ) -> None:
        given = keywords(
            connection=connection,
            concurrency=concurrency,
            autorun=autorun,
            drain_delay=drain_delay,
            max_stalled_count=max_stalled_count,
            name=name,
            run_scheduler=run_scheduler,
            scheduler_tick_ms=scheduler_tick_ms,
            store_results=store_results,
            result_ttl_ms=result_ttl_ms,
            events=events,
            lease_ms=lease_ms,
            drain_timeout_ms=drain_timeout_ms,
            max_attempts=max_attempts,
            ack=ack,
            backoff=backoff,
            max_payload_bytes=max_payload_bytes,
            processes=processes,
            start_method=start_method,
            remove_on_complete=remove_on_complete,
            remove_on_fail=remove_on_fail,
            prefix=prefix,
        )
        options = merge(WorkerOptions, opts, given)
        check_processor(processor)
        super().__init__(queue_name)
        self._options = replace(options, connection=resolve_address(options.connection))
        self._processor = processor
        self._clock = SystemClock()
        self._loop: Any = None
        self._thread_id = 0
        self._has_started = self._is_parents = False
        self._asked_to_close = self._asked_to_force = False
        self._set_up()
        self._changed: anyio.Event | None = None
        self._started: anyio.Event | None = None
        self._done: anyio.Event | None = None
        self._done_for_threads = threading.Event()
        self._failure: BaseException | None = None
        self._scope: anyio.abc.TaskGroup | None = None
        self._fleet: Fleet | None = None
        if self._settings.processes > 1:
            from chasquimq.aio._processes import new_fleet  # noqa: PLC0415 - only who wants several pays for it

            self._fleet = new_fleet(self._settings, queue_name, processor, options)
        tell_in_children(self)

    def _set_up(self) -> None:
        self._settings = worker_settings(self._options, f"c-{unique_name()}")
        self._client = Client(self._options.connection, QueueKeys(self._queue_name).stream)
        self._core = self._new_core(self._clock, random.random)
        self._engine = Engine(self._core, self._client, self._processor, self._clock, self._report, self._wake)

    def _after_fork(self) -> None:
        if self._has_started:
            self._is_closing = self._is_parents = True
            self._failure, self._done = ClosedError(RUNS_IN_PARENT), None
            self._client.leave_to_parent()
            self._engine.leave_to_parent()
        else:
            self._set_up()
        if self._fleet is not None:
            self._fleet.after_fork(self._settings)

    # -- lifecycle -------------------------------------------------------------------------------------------------

    async def run(self, *, handle_signals: bool = False) -> None:
        """Runs until ``close()``, and returns when the worker has drained (product page, worker.run).

        Called again, it joins the same run. ``handle_signals=True`` (main thread only): SIGINT and SIGTERM drain, a
        second one stops at once. Being cancelled drains as well, then the cancellation goes on.

        Raises RedisConnectionError (or AuthenticationError, UnsupportedServerError, ServerReplyError) when the
        server cannot be used at the start, ClosedError when the worker was closed before it ran.
        """
        check_can_handle_signals(handle_signals)
        if self._has_started:
            if self._done is not None:
                await self._done.wait()
        elif self._is_closing:
            raise ClosedError("the worker was closed before it ran. Create a new one.")
        else:
            self._prepare()
            await self._run(handle_signals)
        if self._failure is not None:
            raise self._failure

    def _prepare(self) -> None:
        self._has_started = True
        protect_from_interrupts(
            Worker._run, Worker._run_in_background, Worker._keep_engine, Worker._keep_fleet, Worker._handle_signals
        )
        self._loop = running_loop()
        self._thread_id = threading.get_ident()
        self._changed, self._started, self._done = anyio.Event(), anyio.Event(), anyio.Event()

    async def _run(self, handle_signals: bool) -> None:
        assert self._started is not None  # noqa: S101 - set by _prepare()
        assert self._done is not None  # noqa: S101 - set by _prepare()
        interrupt: BaseException | None = None
        self._engine.own_this_task()  # what it calls and starts, listeners too
        try:
            if self._fleet is None:
                interrupt = await self._run_engine(handle_signals)
            else:
                interrupt = await self._run_fleet(self._fleet, handle_signals)
        except ChasquiError as error:
            self._failure = error
        finally:
            self._is_closing = True
            try:
                await undisturbed(self._say_goodbye)
            finally:
                self._started.set()
                self._done.set()
                self._done_for_threads.set()
        if interrupt is not None:
            raise interrupt

    async def _say_goodbye(self) -> None:
        await self._client.close()
        if self._is_ready:
            await self._engine.listening.emit_and_wait("closed", self._listeners, ())

    async def _run_engine(self, handle_signals: bool) -> BaseException | None:
        """Returns what interrupted it, if anything did."""
        await self._engine.open()
        return await self._run_apart(self._keep_engine, handle_signals)

    async def _run_fleet(self, fleet: Fleet, handle_signals: bool) -> BaseException | None:
        """Returns what interrupted it, if anything did."""
        try:
            fleet.start_beside_loop(self._listeners.registered(), loop_kind())
            interrupt = await self._run_apart(lambda: self._keep_fleet(fleet), handle_signals)
        finally:
            fleet.leave()
        self._failure = fleet.failure
        return interrupt

    async def _run_apart(self, keep: Callable[[], Awaitable[None]], handle_signals: bool) -> BaseException | None:
        return await run_apart(keep, lambda: self._ask(False), self._handle_signals if handle_signals else None)

    async def _keep_engine(self) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._engine.main)
            self._hear("ready", ())
            while not self._asked_to_close:
                await self._next_change()
            await self._leave()

    async def _keep_fleet(self, fleet: Fleet) -> None:
        listening = self._engine.listening
        async with anyio.create_task_group() as tasks:
            listening.start_in(tasks)
            await self._follow(fleet)
            await listening.wait_a_moment()
            tasks.cancel_scope.cancel()

    async def _follow(self, fleet: Fleet) -> None:
        while True:
            await anyio.wait_readable(fleet)
            event = fleet.next_event()
            if event is None:
                return
            self._hear(*event)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        super()._hear(event, arguments)
        if self._is_ready and self._started is not None:
            self._started.set()

    async def _next_change(self) -> None:
        assert self._changed is not None  # noqa: S101 - set by _prepare()
        await self._changed.wait()
        self._changed = anyio.Event()

    async def _leave(self) -> None:
        self._is_closing = True
        self._emit("closing", "")
        await self._engine.stop_reading()
        await self._engine.hand_back()
        is_drained = False
        with anyio.move_on_after(self._settings.drain_timeout_ms / 1000):
            while not (is_drained := self._engine.is_drained) and not self._gives_up:
                await self._next_change()
        if not is_drained and not self._gives_up:
            logger.warning(
                "the drain timeout is over; %d jobs are given up here and run again elsewhere", len(self._core.book)
            )
        await self._engine.finish(is_forced=not is_drained)

    @property
    def _gives_up(self) -> bool:
        return self._asked_to_force or self._engine.has_ended

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _ask(self, force: bool) -> None:
        if self._fleet is not None:
            self._fleet.ask(force)
            return
        if self._asked_to_close and force:
            self._asked_to_force = True
        self._asked_to_close = True
        self._asked_to_force = self._asked_to_force or force
        self._wake()

    async def close(self, force: bool = False) -> None:
        """Stops reading, hands back what has not started, waits for what runs, writes all ends (product page).

        Idempotent, callable from any task, also of another thread's loop; from a handler or listener of this worker
        it only starts the shutdown, elsewhere it returns when the worker has left. ``force=True`` does not wait for
        running handlers: they are cancelled and their jobs run again.
        """
        if self._fleet is not None and self._fleet.is_inside:
            self._fleet.ask(force)
            return
        self._is_closing = True
        if self._is_parents:
            return
        if not self._has_started:
            await self._client.close()
            return
        if threading.get_ident() != self._thread_id or running_loop() is not self._loop:
            call_in(self._loop, lambda: self._ask(force))
            await anyio.to_thread.run_sync(self._done_for_threads.wait, abandon_on_cancel=True)
            return
        self._ask(force)
        if not self._engine.is_own_task and self._done is not None:
            await self._done.wait()

    async def __aenter__(self) -> Self:
        if self._settings.autorun:
            if self._is_closing:
                raise ClosedError("the worker was closed before it ran. Create a new one.")
            self._prepare()
            assert self._started is not None  # noqa: S101 - set by _prepare()
            self._scope = anyio.create_task_group()
            await self._scope.__aenter__()
            self._scope.start_soon(self._run_in_background)
            try:
                await self._started.wait()
            except BaseException:
                self._scope.cancel_scope.cancel()
                await self.__aexit__()
                raise
            if self._failure is not None:
                await self.__aexit__()
                raise self._failure
        return self

    async def _run_in_background(self) -> None:
        await self._run(handle_signals=False)

    async def __aexit__(self, *exc_info: object) -> None:
        scope, self._scope = self._scope, None
        if scope is None:
            await undisturbed(self.close)
            return
        self._is_closing = True
        if not self._is_parents:
            self._ask(force=False)
        await scope.__aexit__(None, None, None)  # which no cancellation leaves before the run has ended

    async def _handle_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            count = 0
            async for _ in signals:
                count += 1
                self._ask(force=count > 1)

    # -- listeners -------------------------------------------------------------------------------------------------

    def _emit(self, event: str, *arguments: Any) -> None:
        if event not in self._listeners.listened:
            return
        if threading.get_ident() != self._thread_id:
            # The housekeeper's thread has something to tell; listeners belong to the event loop.
            call_in(self._loop, lambda: self._emit(event, *arguments))
            return
        self._engine.listening.emit(event, self._listeners, arguments)
