"""Following a queue's events, asynchronous form (asyncio and trio).

One reader at a time: the task that awaits ``run()`` or iterates, or, inside an ``async with`` block, a task of its own.
What is asked and what an answer means is decided in ``_core.subscription``; this file waits and delivers.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Self

import anyio
import anyio.abc

from chasquimq._core.events_face import EventsFace
from chasquimq._core.feed import Feed
from chasquimq._core.keys import QueueKeys
from chasquimq._core.reconnect import worker_delay_ms
from chasquimq._core.subscription import Subscription
from chasquimq.address import resolve_address
from chasquimq.aio._client import Client, Connection
from chasquimq.aio._engine import run_on
from chasquimq.aio._listening import Listening
from chasquimq.aio._parking import TaskParking
from chasquimq.errors import ChasquiError, ClosedError
from chasquimq.events import QueueEvent
from chasquimq.options import QueueEventsOptions, keywords, merge
from chasquimq.times import Duration

__all__ = ["QueueEvents"]

logger = logging.getLogger("chasquimq.events")


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
        self._autorun = options.autorun is not False
        self._subscription = Subscription(QueueKeys(name), options)
        self._client = Client(resolve_address(options.connection))
        self._is_reading = False
        self._connection: Connection | None = None
        self._scope: anyio.abc.TaskGroup | None = None
        self._reading: anyio.CancelScope | None = None
        self._feed: Feed | None = None
        self._fed = TaskParking()
        self._finished = TaskParking()
        self._is_done = False
        self._listening = Listening()

    async def run(self) -> None:
        """Reads and calls listeners until ``close()``; called again, it joins the same run."""
        if self._claim():
            async with aclosing(self._read()) as events:
                async for _ in events:
                    pass
        else:
            await self._finished.park(lambda: self._is_done)

    async def wait_until_ready(self) -> None:
        """Returns when the place in the stream is known: no event from now on is missed."""
        await self._place()

    def __aiter__(self) -> AsyncIterator[QueueEvent]:
        """The events as they come, until ``close()``. Without an ``async with`` block the iterating task reads."""
        return self._read() if self._claim() else self._take_from_feed()

    async def close(self) -> None:
        """Stops reading; a reader in another task returns. Idempotent, callable from any task."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.abort()
        if self._reading is not None:
            self._reading.cancel()
        self._fed.unpark_all()
        with anyio.CancelScope(shield=True):
            await self._client.close()

    async def __aenter__(self) -> Self:
        if self._autorun and self._claim():
            await self._place()
            self._feed = Feed()
            self._scope = anyio.create_task_group()
            await self._scope.__aenter__()
            self._listening.start_in(self._scope)
            self._scope.start_soon(self._read_in_background)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(None, None, None)

    def _claim(self) -> bool:
        """Whether the caller is to be the reader."""
        if self._is_closed:
            raise ClosedError("the subscription was closed. Create a new one.")
        if self._is_reading:
            return False
        self._is_reading = True
        return True

    async def _place(self) -> None:
        if not self._subscription.is_placed:
            await self._client.run(self._subscription.place())

    async def _read_in_background(self) -> None:
        assert self._feed is not None  # noqa: S101 - set by __aenter__
        with anyio.CancelScope() as self._reading:
            if self._is_closed:
                return
            async with aclosing(self._read()) as events:
                async for event in events:
                    self._feed.put(event)
                    self._fed.unpark()

    async def _take_from_feed(self) -> AsyncGenerator[QueueEvent, None]:
        feed = self._feed
        if feed is None:
            raise ClosedError("another task reads this subscription already; iterate there, or use async with.")
        while True:
            await self._fed.park(lambda: len(feed) or self._is_done or self._is_closed)
            event = feed.take()
            if event is None:
                return
            yield event

    async def _read(self) -> AsyncGenerator[QueueEvent, None]:
        failures = 0
        try:
            await self._place()
            while not self._is_closed:
                try:
                    connection = self._connection = await self._client.dedicated()
                    try:
                        async with aclosing(self._read_from(connection)) as events:
                            async for event in events:
                                failures = 0
                                yield event
                    finally:
                        connection.abort()
                except ChasquiError as error:
                    if self._is_closed:
                        return
                    failures += 1
                    self._subscription.was_interrupted()
                    if failures == 1:
                        logger.warning("%s", error)
                        self._call("error", error)
                    await anyio.sleep(worker_delay_ms(failures, random.random()) / 1000)  # noqa: S311 - jitter
        finally:
            self._is_done = True
            self._finished.unpark_all()
            self._fed.unpark_all()

    async def _read_from(self, connection: Connection) -> AsyncGenerator[QueueEvent, None]:
        while not self._is_closed:
            found = await run_on(connection, self._subscription.read())
            check = self._subscription.check(found)
            gap = None if check is None else await run_on(connection, check)
            for event in found if gap is None else [gap, *found]:
                self._tell(event)
                yield event

    def _call(self, name: str, *arguments: Any) -> None:
        self._listening.emit(name, self._listeners, arguments)
