"""Following a queue's events, asynchronous form (asyncio and trio).

One reader at a time: the task that awaits ``run()`` or iterates, or, inside an ``async with`` block, a task of its own.
What is asked and what an answer means is decided in ``_core.subscription``; this file waits and delivers.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

import anyio
import anyio.abc

from chasquimq._core.call import Call
from chasquimq._core.events_face import EventsFace
from chasquimq._core.feed import Feed
from chasquimq._core.keys import QueueKeys
from chasquimq._core.log import logger_named
from chasquimq._core.reconnect import Outage, worker_delay_ms
from chasquimq._core.subscription import Subscription, parse_event
from chasquimq._net.forking import tell_in_children
from chasquimq.address import resolve_address
from chasquimq.aio._calls import run_on
from chasquimq.aio._client import Client, Connection
from chasquimq.aio._listening import Listening
from chasquimq.aio._parking import TaskParking
from chasquimq.errors import ChasquiError, ClosedError
from chasquimq.events import Gap, QueueEvent
from chasquimq.options import QueueEventsOptions, flag, keywords, merge
from chasquimq.times import Duration

__all__ = ["QueueEvents"]

logger = logger_named("chasquimq.events")


class QueueEvents(EventsFace):
    """Subscribes to the events of a queue, across processes (product page, QueueEvents).

    ``name``: the queue. ``connection``: as for Queue. ``autorun``: whether entering the scope starts reading in the
    background, default True. ``last_event_id``: ``"$"`` (default) reads what happens from now on, ``"0"`` everything
    that is still there, the ``event_id`` of an event what came after it. ``blocking_timeout``: how long one read
    waits, default 10,000 ms. ``prefix``: accepted, ignored.

    Listen with ``on``; or iterate: ``async for event in queue_events``. It reconnects by itself and goes on behind the
    last event that it read; if the stream was trimmed meanwhile, a ``Gap`` says so. Inside an ``async with`` block the
    last 10,000 events wait for whoever iterates.

    Raises InvalidOptionError, InvalidOptionTypeError; starting raises RedisConnectionError and its kinds when the
    server cannot be reached at that time.
    """

    def __init__(
        self,
        name: str,
        *,
        connection: Any = None,
        autorun: bool | None = None,
        last_event_id: str | None = None,
        blocking_timeout: Duration | None = None,
        prefix: str | None = None,
        opts: QueueEventsOptions | Mapping[str, Any] | None = None,
    ) -> None:
        given = keywords(
            connection=connection,
            autorun=autorun,
            last_event_id=last_event_id,
            blocking_timeout=blocking_timeout,
            prefix=prefix,
        )
        options = merge(QueueEventsOptions, opts, given)
        super().__init__(name)
        self._autorun = flag("autorun", options.autorun, default=True)
        keys = QueueKeys(name)
        self._subscription = Subscription(keys, options, parse_event)
        self._client = Client(resolve_address(options.connection), keys.stream)
        self._reading: anyio.Lock | None = None
        self._connection: Connection | None = None
        self._outage = Outage(logger, f"the events of {name!r} are read")
        self._scope: anyio.abc.TaskGroup | None = None
        self._background: anyio.CancelScope | None = None
        self._unchecked: tuple[Sequence[QueueEvent], Call[Gap | None] | None] | None = None
        """Events that were read, and the question whether others before them were missed."""
        self._feed = Feed()
        self._fed = TaskParking()
        self._closing = TaskParking()
        self._listening = Listening(waits=True)
        tell_in_children(self)

    def _after_fork(self) -> None:
        self._is_closed = self._is_closed or self._background is not None  # a task of the parent reads on there
        self._reading = self._connection = self._background = None

    async def run(self) -> None:
        """Reads and calls listeners until ``close()``. Where a background task reads already, it waits for that."""
        await self._place()
        async for _ in self:
            pass

    async def wait_until_ready(self) -> None:
        """Returns when the place in the stream is known: no event from now on is missed."""
        await self._place()

    def __aiter__(self) -> AsyncIterator[QueueEvent]:
        """The events as they come, until ``close()``. Without an ``async with`` block the iterating task reads."""
        self._check_open()
        return self

    async def __anext__(self) -> QueueEvent:
        """The next event. Raises StopAsyncIteration after ``close()``."""
        while (event := self._feed.take()) is None:
            if self._is_closed:
                raise StopAsyncIteration
            if self._background is None:
                await self._pull()
            else:
                await self._fed.park(lambda: len(self._feed) or self._is_closed)
        return event

    async def close(self) -> None:
        """Stops reading; a reader in another task returns. Idempotent, callable from any task."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.abort()
        if self._background is not None:
            self._background.cancel()
        self._fed.unpark_all()
        self._closing.unpark_all()
        self._listening.drop_waiting()
        with anyio.CancelScope(shield=True):
            await self._client.close()

    async def __aenter__(self) -> Self:
        self._check_open()
        if self._autorun and self._background is None:
            try:
                await self._place()
            except BaseException:
                await self.close()
                raise
            self._background = anyio.CancelScope()
            self._scope = anyio.create_task_group()
            await self._scope.__aenter__()
            self._listening.start_in(self._scope)
            self._scope.start_soon(self._pull_on)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        scope, self._scope = self._scope, None
        try:
            await self.close()
        finally:
            if scope is not None:
                await scope.__aexit__(None, None, None)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the subscription was closed. Create a new one.")

    async def _place(self) -> None:
        if not self._subscription.is_placed:
            await self._client.run(self._subscription.place())

    async def _pull_on(self) -> None:
        assert self._background is not None  # noqa: S101 - set by __aenter__
        with self._background:
            while not self._is_closed:
                await self._pull()
                self._fed.unpark_all()

    async def _pull(self) -> None:
        """One read: events into the feed and to the listeners, or the trouble that prevented it."""
        if self._reading is None:
            self._reading = anyio.Lock()
        async with self._reading:
            if len(self._feed) and self._background is None:
                return  # another task was faster
            try:
                await self._place()
                connection = self._connection
                if connection is None or connection.is_closed:
                    connection = self._connection = await self._client.dedicated()
                if self._is_closed:
                    return
                await self._read_from(connection)
                self._outage.over()
            except ChasquiError as error:
                if not self._is_closed:
                    await self._survive(error)
            finally:
                if self._is_closed and self._connection is not None:
                    self._connection.abort()

    async def _read_from(self, connection: Connection) -> None:
        await self._listening.run_waiting()  # those that an interrupted reader has left
        if self._unchecked is None:
            read = await run_on(connection, self._subscription.read())
            # The place has moved behind these events now: whoever is interrupted leaves them to the next reader.
            self._unchecked = read, self._subscription.check(read)
        found, check = self._unchecked
        gap = None
        try:
            if check is not None:
                gap = await run_on(connection, check)
        except ChasquiError:
            self._unchecked = None
            await self._deliver(found)
            raise
        self._unchecked = None
        await self._deliver(found if gap is None else [gap, *found])

    async def _deliver(self, found: Sequence[QueueEvent]) -> None:
        for event in found:
            self._feed.put(event)
            self._tell(event)
        await self._listening.run_waiting()

    async def _survive(self, error: ChasquiError) -> None:
        self._subscription.was_interrupted()
        if self._connection is not None:
            self._connection.abort()
        if self._outage.failed(error):
            logger.warning("%s", error)
            self._call("error", error)
        with anyio.move_on_after(worker_delay_ms(self._outage.failures, random.random()) / 1000):  # noqa: S311 - jitter
            await self._closing.park(lambda: self._is_closed)

    def _call(self, name: str, *arguments: Any) -> None:
        self._listening.emit(name, self._listeners, arguments)
