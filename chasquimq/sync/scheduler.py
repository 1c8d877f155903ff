"""The standalone scheduler of one queue, synchronous form: it runs in the caller's thread, or in one of its own.

The façade and its waiting; what is due and what is fired is decided in ``_core``. Unless another one leads, it
waits for the next fire or for a producer's word of an earlier one; standing by it only looks whether that one is there.
"""

from __future__ import annotations

import contextlib
import queue
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, Self

from chasquimq._core.log import logger_named
from chasquimq._core.reconnect import worker_delay_ms
from chasquimq._core.scheduler_face import LISTEN_MS, RUNS_IN_PARENT, SchedulerFace
from chasquimq._fast import pack_command
from chasquimq._net.clock import SystemClock
from chasquimq._net.following import FollowingConnection
from chasquimq._net.forking import tell_in_children
from chasquimq._net.signals import check_can_handle_signals
from chasquimq._net.unique_name import unique_name
from chasquimq.address import resolve_address
from chasquimq.errors import ChasquiError, ClosedError
from chasquimq.native import SchedulerOpts
from chasquimq.options import keywords, merge
from chasquimq.sync._client import Client
from chasquimq.times import Duration

__all__ = ["Scheduler"]

logger = logger_named("chasquimq.scheduler")

MOVING_WAIT_MS = 250
"""So long nobody listens after the server has said that the queue is leaving it."""


class Scheduler(SchedulerFace):
    """Fires the repeatable jobs of one queue, beside or instead of its workers (product page, Scheduler).

    Any number of schedulers, in any process and language, may run for a queue: one leads, the others stand by and
    take over within seconds when it is gone; no fire happens twice. The server's clock decides what is due. As a
    context manager it runs in a background thread; ``run()`` runs it where it is called.

    ``queue_name``: the queue's name. ``connection``: as for Queue. ``tick_ms``: how often the schedule is looked at,
    at least, and how late a fire of an interval may be without counting as missed, default 1,000. ``name``: its name
    in the leader lock, unique, default generated.

    Raises InvalidOptionError, InvalidOptionTypeError. Starting raises RedisConnectionError and its kinds when the
    server cannot be reached at that time; later on a scheduler survives that.
    """

    def __init__(
        self,
        queue_name: str,
        *,
        connection: Any = None,
        tick_ms: Duration | None = None,
        name: str | None = None,
        opts: SchedulerOpts | Mapping[str, Any] | None = None,
    ) -> None:
        options = merge(SchedulerOpts, opts, keywords(connection=connection, tick_ms=tick_ms, name=name))
        self._options = options
        super().__init__(queue_name, self._own_name(), options.checked_tick_ms(), SystemClock())
        self._client = Client(resolve_address(options.connection), self._keys.stream)
        self._listener: FollowingConnection | None = None
        self._is_listening = False
        self._guard = threading.Lock()
        self._has_started = False
        self._started = threading.Event()
        self._done = threading.Event()
        self._failure: ChasquiError | None = None
        # A signal handler may put here while this very thread waits, which an Event does not allow.
        self._closings: queue.SimpleQueue[None] = queue.SimpleQueue()
        tell_in_children(self)

    def _own_name(self) -> bytes:
        return self._options.holder(f"s-{unique_name()}")

    def _after_fork(self) -> None:
        self._guard, self._started, self._done = threading.Lock(), threading.Event(), threading.Event()
        if self._has_started:
            self._is_closing = True
            self._failure = ClosedError(RUNS_IN_PARENT)
            self._client.leave_to_parent()
            self._done.set()
        else:
            self._take_name(self._own_name())

    def run(self, *, handle_signals: bool = False) -> None:
        """Runs until ``close()``. Called again, it joins the same run.

        ``handle_signals=True`` (main thread only): SIGINT and SIGTERM end it.

        Raises RedisConnectionError (or AuthenticationError, UnsupportedServerError, ServerReplyError) when the
        server cannot be used at the start, ClosedError when the scheduler was closed before it ran.
        """
        check_can_handle_signals(handle_signals)
        with self._guard:
            joins, self._has_started = self._has_started, True
            if not joins and self._is_closing:
                self._has_started = False
                self._check_open()
        if joins:
            self._done.wait()
        else:
            with self._signals(handle_signals):
                self._run()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._client.profile()
            self._is_ready = True
            self._started.set()
            while not self._is_closing:
                try:
                    self._look()
                    self._wait(self._wait_ms)
                except ChasquiError as error:
                    if not self._is_closing:
                        delay_ms = worker_delay_ms(self._failed(error), random.random())  # noqa: S311 - jitter
                        self._rest(delay_ms)
        except ChasquiError as error:
            self._failure = error
        finally:
            self._leave()

    def _look(self) -> None:
        steps = self._round(self._client.profile())
        with contextlib.suppress(StopIteration):
            call = next(steps)
            while True:
                try:
                    result = self._client.run(call)
                except ChasquiError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(result)

    def _wait(self, wait_ms: float) -> None:
        """Waits; shorter when a producer stores a spec that fires earlier than the others."""
        if not self._scheduling.listens:
            self._rest(wait_ms)
            return
        listener = self._listener
        if listener is None or listener.is_closed:
            listener = self._listener = self._client.dedicated()
            self._is_listening = False
        if self._is_closing:  # whoever closed us may have looked for a listener before there was one
            return
        if not self._is_listening:
            listener.send(pack_command([b"BLPOP", self._keys.scheduler_wake, LISTEN_MS // 1000]))
            self._is_listening = True
        if listener.can_read(wait_ms):
            reply = listener.receive(1, LISTEN_MS)[0]
            self._is_listening = False
            if isinstance(reply, list):
                self._scheduling.wake()
            elif listener.is_closed:  # the queue is on its way to another server
                self._rest(min(wait_ms, MOVING_WAIT_MS))

    def _rest(self, wait_ms: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._closings.get(timeout=wait_ms / 1000)

    def _leave(self) -> None:
        self._is_closing = True
        try:
            if self._listener is not None:
                self._listener.close()
            if self._scheduling.may_lead:
                self._client.run(self._scheduling.release(self._client.profile()))
        except ChasquiError as error:
            logger.info("the leader lock was not released and runs out by itself: %s", error)
        finally:
            self._client.close()
            self._started.set()
            self._done.set()

    def close(self) -> None:
        """Ends the run, gives the lead up to whoever stands by, and returns when that is done. Idempotent."""
        self._ask_to_close()
        with self._guard:
            has_started = self._has_started
        if has_started:
            self._done.wait()
        else:
            self._client.close()

    def _ask_to_close(self) -> None:
        self._is_closing = True
        self._closings.put(None)
        listener = self._listener
        if listener is not None:
            listener.interrupt()

    def __enter__(self) -> Self:
        self._check_open()
        threading.Thread(target=self._run_in_background, name="chasquimq-scheduler", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def _run_in_background(self) -> None:
        with contextlib.suppress(ChasquiError):  # whoever waits for the start raises it
            self.run()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _signals(self, handle: bool) -> Iterator[None]:
        if not handle:
            yield
            return

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._ask_to_close()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
