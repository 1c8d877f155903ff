"""The worker of one queue, synchronous form: handlers run in threads.

The façade: options, lifecycle, listeners, signals. The threads are in ``_engine``, the decisions in ``_core``. One
thread is the runner (the caller of ``run()``, or a thread of its own in a ``with`` block): it starts the engine,
waits for a command, and ends the engine. Commands come through a queue that a signal handler may write to.
"""

from __future__ import annotations

import contextlib
import queue
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

from chasquimq._core.keys import QueueKeys
from chasquimq._core.log import logger_named
from chasquimq._core.worker_face import RUNS_IN_PARENT, WorkerFace
from chasquimq._core.worker_settings import check_processor, is_coroutine_function, worker_settings
from chasquimq._dataclass import replace
from chasquimq._net.clock import SystemClock
from chasquimq._net.forking import tell_in_children
from chasquimq._net.signals import check_can_handle_signals
from chasquimq._net.unique_name import unique_name
from chasquimq.address import resolve_address
from chasquimq.errors import ChasquiError, ClosedError, InvalidOptionTypeError
from chasquimq.job import DataT, ResultT
from chasquimq.options import BackoffOptions, WorkerOptions, keywords, merge
from chasquimq.sync._client import Client
from chasquimq.sync._engine import Engine
from chasquimq.sync.job import Job
from chasquimq.times import Duration

if TYPE_CHECKING:
    from chasquimq._processes.fleet import Fleet

__all__ = ["Processor", "Worker"]

logger = logger_named("chasquimq.worker")

Processor = Callable[[Job[DataT, ResultT]], ResultT]
"""The handler of a Worker (product page, Processor)."""

SIGNAL_CHECK_S = 0.5
"""A signal that arrives just before the wait begins does not interrupt it; so late it is seen."""
_CLOSE, _FORCE, _PROGRESS = "close", "force", "progress"


class Worker(WorkerFace, Generic[DataT, ResultT]):
    """Runs a handler for the jobs of one queue (product page, Worker).

    ``queue_name``, ``processor``: the queue and the function that is called with each job, in a thread. Returning
    means done; raising means retry, or the dead-letter queue when the budget is used up or UnrecoverableError is
    raised.

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
        if is_coroutine_function(processor):
            raise InvalidOptionTypeError(
                "the processor is a coroutine function, and this worker runs plain functions in threads. "
                "Use chasquimq.aio.Worker for it."
            )
        super().__init__(queue_name)
        self._options = replace(options, connection=resolve_address(options.connection))
        self._processor = processor
        self._clock = SystemClock()
        self._has_started = False
        self._failure: BaseException | None = None
        self._set_up()
        self._runner: threading.Thread | None = None
        """Who runs it: must not wait for its end."""
        self._background: threading.Thread | None = None
        self._fleet: Fleet | None = None
        if self._settings.processes > 1:
            from chasquimq.sync._processes import new_fleet  # noqa: PLC0415 - only who wants several pays for it

            self._fleet = new_fleet(self._settings, queue_name, processor, options)
        tell_in_children(self)

    def _set_up(self) -> None:
        self._settings = worker_settings(self._options, f"c-{unique_name()}")
        self._client = Client(self._options.connection, QueueKeys(self._queue_name).stream)
        self._core = self._new_core(self._clock, random.random)
        self._engine = Engine(self._core, self._client, self._processor, self._clock, self._report, self._progressed)
        self._commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._started = threading.Event()
        self._done = threading.Event()

    def _after_fork(self) -> None:
        is_parents = self._has_started
        if is_parents:
            self._is_closing = True
            self._failure = ClosedError(RUNS_IN_PARENT)
            self._client.leave_to_parent()
            self._engine.leave_to_parent()
        self._set_up()
        if self._fleet is not None:
            self._fleet.after_fork(self._settings)
        if is_parents:
            self._commands.put(_FORCE)
            self._done.set()

    # -- lifecycle -------------------------------------------------------------------------------------------------

    def run(self, *, handle_signals: bool = False) -> None:
        """Runs until ``close()``, and returns when the worker has drained (product page, worker.run).

        Called again, also from another thread, it joins the same run. ``handle_signals=True`` (main thread only):
        SIGINT and SIGTERM drain, a second one stops at once. Without it, Ctrl-C drains and raises KeyboardInterrupt.

        Raises RedisConnectionError (or AuthenticationError, UnsupportedServerError, ServerReplyError) when the
        server cannot be used at the start, ClosedError when the worker was closed before it ran.
        """
        check_can_handle_signals(handle_signals)
        with self._guard:
            if self._is_closing and not self._has_started:
                raise ClosedError("the worker was closed before it ran. Create a new one.")
            joins, self._has_started = self._has_started, True
        if joins:
            self._done.wait()
        else:
            self._runner = threading.current_thread()
            with self._signals(handle_signals):
                if self._fleet is None:
                    self._run()
                else:
                    self._run_fleet(self._fleet)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        interrupt: BaseException | None = None
        is_forced = False
        try:
            self._engine.start()
            self._hear("ready", ())
            is_forced = self._next_command(None) == _FORCE
        except ChasquiError as error:
            self._failure = error
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt too: drain first, raise then
            interrupt = error
        try:
            self._leave(is_forced)
        finally:
            self._done.set()
            self._started.set()
        if interrupt is not None:
            raise interrupt

    def _run_fleet(self, fleet: Fleet) -> None:
        try:
            fleet.start(self._listeners.registered())
            while True:
                # A signal that arrives just before the wait begins does not interrupt it.
                if fleet.has_news(SIGNAL_CHECK_S):
                    event = fleet.next_event()
                    if event is None:
                        break
                    self._hear(*event)
            self._failure = fleet.failure
        except ChasquiError as error:
            self._failure = error
        finally:
            self._is_closing = True
            fleet.leave()
            if self._is_ready:
                self._emit("closed")
            self._done.set()
            self._started.set()

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        super()._hear(event, arguments)
        if self._is_ready:
            self._started.set()

    def _leave(self, is_forced: bool) -> None:
        self._is_closing = True
        if self._is_ready:
            self._emit("closing", "")
        self._engine.stop_reading()
        self._engine.hand_back()
        deadline = time.monotonic() + self._settings.drain_timeout_ms / 1000
        while not is_forced and not self._engine.is_drained:
            try:
                command = self._next_command(deadline)
            except KeyboardInterrupt:
                command = _FORCE
            if command is None:
                logger.warning(
                    "the drain timeout is over; %d jobs are given up here and run again elsewhere",
                    len(self._core.book),
                )
            is_forced = command in (None, _FORCE)
        self._engine.finish(is_forced=is_forced)
        self._client.close()
        if self._is_ready:
            self._emit("closed")

    def _next_command(self, deadline: float | None) -> str | None:
        """The next command, or None at the deadline."""
        while True:
            try:
                if deadline is None:
                    return self._commands.get(timeout=SIGNAL_CHECK_S)
                return self._commands.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                if deadline is not None:
                    return None

    def _ask(self, force: bool) -> None:
        """Has the run end; from any thread or signal handler."""
        if self._fleet is None:
            self._commands.put(_FORCE if force else _CLOSE)
        else:
            self._fleet.ask(force)

    def _progressed(self) -> None:
        """The engine has written the end of the last job while we drain."""
        self._commands.put(_PROGRESS)

    def close(self, force: bool = False) -> None:
        """Stops reading, hands back what has not started, waits for what runs, writes all ends (product page).

        Idempotent, callable from any thread; from a handler or listener of this worker it only starts the shutdown,
        elsewhere it returns when the worker has left. ``force=True`` does not wait for running handlers: their jobs
        run again when their leases are over.
        """
        if self._fleet is not None and self._fleet.is_inside:
            self._fleet.ask(force)
            return
        with self._guard:
            self._is_closing = True
            has_started = self._has_started
        if not has_started:
            self._client.close()
            return
        self._ask(force)
        if self._engine.is_own_thread or threading.current_thread() is self._runner:
            return
        self._done.wait()

    def __enter__(self) -> Self:
        if self._settings.autorun:
            if self._is_closing:
                raise ClosedError("the worker was closed before it ran. Create a new one.")
            if self._fleet is not None:
                # Here, because the thread below would make a fork unsafe.
                self._fleet.start(self._listeners.registered())
            self._background = threading.Thread(target=self._run_in_background, name="chasquimq-runner", daemon=True)
            self._background.start()
            self._started.wait()
            if self._failure is not None:
                raise self._failure
        return self

    def _run_in_background(self) -> None:
        with contextlib.suppress(ChasquiError):  # whoever waits for the start raises it
            self.run()

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.close()
        except KeyboardInterrupt:
            self.close(force=True)
            raise
        if self._background is not None:
            # Whoever starts processes next had better be alone.
            self._background.join()

    @contextlib.contextmanager
    def _signals(self, handle: bool) -> Iterator[None]:
        handled = [signal.SIGINT, signal.SIGTERM] if handle else []
        if self._fleet is not None and not handle and _interrupts_here():
            # An exception in the middle of a message would lose the rest of it: raised at the end instead.
            handled = [signal.SIGINT]
        count = 0

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            nonlocal count
            count += 1
            self._ask(force=count > 1)

        before = {number: signal.signal(number, on_signal) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if count and not handle:
            raise KeyboardInterrupt

    def _emit(self, event: str, *arguments: Any) -> None:
        for listener in self._listeners.take(event):
            try:
                listener(*arguments)
            except Exception as error:
                logger.exception("a listener of %r raised", event)
                if event != "error":
                    self._emit("error", error)


def _interrupts_here() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt in this thread."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
