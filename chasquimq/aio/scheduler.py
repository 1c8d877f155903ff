"""The standalone scheduler of one queue, asynchronous form (asyncio and trio): it runs as a task.

The façade and its waiting; what is due and what is fired is decided in ``_core``. Unless another one leads, it
waits for the next fire or for a producer's word of an earlier one; standing by it only looks whether that one is there.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Mapping
from typing import Any, Self

import anyio
import anyio.abc
import anyio.to_thread

from chasquimq._core.log import logger_named
from chasquimq._core.reconnect import worker_delay_ms
from chasquimq._core.scheduler_face import LISTEN_MS, RUNS_IN_PARENT, SchedulerFace
from chasquimq._fast import pack_command
from chasquimq._net.clock import SystemClock
from chasquimq._net.event_loop import call_in, protect_from_interrupts, running_loop
from chasquimq._net.forking import tell_in_children
from chasquimq._net.signals import check_can_handle_signals
from chasquimq._net.unique_name import unique_name
from chasquimq.address import resolve_address
from chasquimq.aio._client import Client
from chasquimq.aio._undisturbed import undisturbed
from chasquimq.errors import ChasquiError, ClosedError
from chasquimq.native import SchedulerOpts
from chasquimq.options import keywords, merge
from chasquimq.times import Duration

__all__ = ["Scheduler"]

logger = logger_named("chasquimq.scheduler")

LEAVE_S = 2.0
"""How long a cancelled run may take to give its lead up."""


class Scheduler(SchedulerFace):
    """Fires the repeatable jobs of one queue, beside or instead of its workers (product page, Scheduler).

    Any number of schedulers, in any process and language, may run for a queue: one leads, the others stand by and
    take over within seconds when it is gone; no fire happens twice. The server's clock decides what is due. As a
    context manager it runs in a background task; ``run()`` runs it where it is called.

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
        self._loop: Any = None
        self._has_started = False
        self._changed: anyio.Event | None = None
        self._listening: anyio.Event | None = None
        self._started: anyio.Event | None = None
        self._done: anyio.Event | None = None
        self._done_for_threads = threading.Event()
        self._failure: ChasquiError | None = None
        self._scope: anyio.abc.TaskGroup | None = None
        self._is_parents = False
        tell_in_children(self)

    def _own_name(self) -> bytes:
        return self._options.holder(f"s-{unique_name()}")

    def _after_fork(self) -> None:
        if self._has_started:
            self._is_closing = self._is_parents = True
            self._failure, self._done = ClosedError(RUNS_IN_PARENT), None
            self._client.leave_to_parent()
        else:
            self._take_name(self._own_name())

    async def run(self, *, handle_signals: bool = False) -> None:
        """Runs until ``close()``. Called again, it joins the same run.

        ``handle_signals=True`` (main thread only): SIGINT and SIGTERM end it.

        Raises RedisConnectionError (or AuthenticationError, UnsupportedServerError, ServerReplyError) when the
        server cannot be used at the start, ClosedError when the scheduler was closed before it ran.
        """
        check_can_handle_signals(handle_signals)
        if self._has_started:
            if self._done is not None:
                await self._done.wait()
        else:
            self._prepare()
            await self._run(handle_signals)
        if self._failure is not None:
            raise self._failure

    def _prepare(self) -> None:
        self._check_open()
        self._has_started = True
        protect_from_interrupts(Scheduler._run, Scheduler._listen, Scheduler._handle_signals)
        self._loop = running_loop()
        self._changed, self._listening = anyio.Event(), anyio.Event()
        self._started, self._done = anyio.Event(), anyio.Event()

    async def _run(self, handle_signals: bool) -> None:
        assert self._started is not None  # noqa: S101 - set by _prepare()
        assert self._done is not None  # noqa: S101 - set by _prepare()
        try:
            await self._client.profile()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen)
                if handle_signals:
                    await tasks.start(self._handle_signals)
                self._is_ready = True
                self._started.set()
                await self._keep()
                tasks.cancel_scope.cancel()
        except ChasquiError as error:
            self._failure = error
        finally:
            try:
                await undisturbed(self._leave)
            finally:
                self._started.set()
                self._done.set()
                self._done_for_threads.set()

    async def _keep(self) -> None:
        assert self._listening is not None  # noqa: S101 - set by _prepare()
        while not self._is_closing:
            try:
                await self._look()
                wait_ms = self._wait_ms
            except ChasquiError as error:
                wait_ms = worker_delay_ms(self._failed(error), random.random())  # noqa: S311 - jitter
            if self._scheduling.listens:
                self._listening.set()
            await self._wait(wait_ms)

    async def _look(self) -> None:
        steps = self._round(await self._client.profile())
        with contextlib.suppress(StopIteration):
            call = next(steps)
            while True:
                try:
                    result = await self._client.run(call)
                except ChasquiError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(result)

    async def _wait(self, wait_ms: float) -> None:
        """Waits; shorter when a producer stores a spec that fires earlier than the others, or at ``close()``."""
        assert self._changed is not None  # noqa: S101 - set by _prepare()
        if self._is_closing:
            return
        with anyio.move_on_after(wait_ms / 1000):
            await self._changed.wait()
        self._changed = anyio.Event()

    async def _listen(self) -> None:
        """Unless another one leads: hears of specs that fire earlier than the others."""
        while True:
            assert self._listening is not None  # noqa: S101 - set by _prepare()
            await self._listening.wait()
            try:
                await self._hear()
            except ChasquiError as error:
                logger.debug("waiting without wake-ups: %s", error)
                await anyio.sleep(worker_delay_ms(1, random.random()) / 1000)  # noqa: S311 - jitter
            self._listening = anyio.Event()
            self._wake()  # the next look says who leads

    async def _hear(self) -> None:
        connection = await self._client.dedicated()
        try:
            while self._scheduling.listens:
                request = pack_command([b"BLPOP", self._keys.scheduler_wake, LISTEN_MS // 1000])
                if isinstance((await connection.submit(request, 1, LISTEN_MS))[0], list):
                    self._scheduling.wake()
                    self._wake()
        finally:
            connection.abort()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    async def _leave(self) -> None:
        self._is_closing = True
        try:
            if self._scheduling.may_lead:
                with anyio.move_on_after(LEAVE_S):
                    await self._client.run(self._scheduling.release(await self._client.profile()))
        except ChasquiError as error:
            logger.info("the leader lock was not released and runs out by itself: %s", error)
        finally:
            with anyio.move_on_after(LEAVE_S):
                await self._client.close()

    async def close(self) -> None:
        """Ends the run, gives the lead up to whoever stands by, and returns when that is done. Idempotent."""
        self._is_closing = True
        if self._is_parents:
            return
        if not self._has_started:
            await self._client.close()
            return
        if running_loop() is not self._loop:
            if call_in(self._loop, self._wake):
                await anyio.to_thread.run_sync(self._done_for_threads.wait, abandon_on_cancel=True)
            return
        self._wake()
        if self._done is not None:
            await self._done.wait()

    async def __aenter__(self) -> Self:
        self._prepare()
        assert self._started is not None  # noqa: S101 - set by _prepare()
        self._scope = anyio.create_task_group()
        await self._scope.__aenter__()
        self._scope.start_soon(self._run, False)
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

    async def __aexit__(self, *exc_info: object) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            self._is_closing = True
            self._wake()
            await scope.__aexit__(None, None, None)  # which no cancellation leaves before the run has ended

    async def _handle_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self._is_closing = True
                self._wake()
