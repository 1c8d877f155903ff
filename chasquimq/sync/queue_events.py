"""Following a queue's events, synchronous form.

One reader at a time: the thread that calls ``run()`` or iterates, or, inside a ``with`` block, a thread of its own.
What is asked and what an answer means is decided in ``_core.subscription``; this file waits and delivers.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Self

from chasquimq._core.events_face import EventsFace
from chasquimq._core.feed import Feed
from chasquimq._core.keys import QueueKeys
from chasquimq._core.reconnect import worker_delay_ms
from chasquimq._core.subscription import Subscription
from chasquimq._net.blocking import BlockingConnection
from chasquimq._net.scheduling import run_on
from chasquimq.address import resolve_address
from chasquimq.errors import ChasquiError, ClosedError
from chasquimq.events import QueueEvent
from chasquimq.options import QueueEventsOptions, keywords, merge
from chasquimq.sync._client import Client
from chasquimq.times import Duration

__all__ = ["QueueEvents"]

logger = logging.getLogger("chasquimq.events")


class QueueEvents(EventsFace):
    """Subscribes to the events of a queue, across processes (product page, QueueEvents).

    ``name``: the queue. ``connection``: as for Queue. ``autorun``: whether entering the scope starts reading in the
    background, default True. ``last_event_id``: ``"$"`` (default) reads what happens from now on, ``"0"`` everything
    that is still there, the ``event_id`` of an event what came after it. ``blocking_timeout``: how long one read
    waits, default 10,000 ms. ``prefix``: accepted, ignored.

    Listen with ``on``; or iterate: ``for event in queue_events``. It reconnects by itself and goes on behind the last
    event that it read; if the stream was trimmed meanwhile, a ``Gap`` says so. Inside a ``with`` block the last
    10,000 events wait for whoever iterates.

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
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._done = threading.Event()
        self._is_reading = False
        self._connection: BlockingConnection | None = None
        self._background: threading.Thread | None = None
        self._feed: Feed | None = None
        self._fed = threading.Condition()

    def run(self) -> None:
        """Reads and calls listeners until ``close()``; called again, it joins the same run."""
        if self._claim():
            for _ in self._read():
                pass
        else:
            self._done.wait()

    def wait_until_ready(self) -> None:
        """Returns when the place in the stream is known: no event from now on is missed."""
        self._place()

    def __iter__(self) -> Iterator[QueueEvent]:
        """The events as they come, until ``close()``. Without a ``with`` block the iterating thread reads itself."""
        if self._claim():
            yield from self._read()
        else:
            yield from self._take_from_feed()

    def close(self) -> None:
        """Stops reading; a reader in another thread returns. Idempotent, callable from any thread."""
        self._is_closed = True
        self._closing.set()
        connection = self._connection
        if connection is not None:
            connection.interrupt()
        with self._fed:
            self._fed.notify_all()
        background = self._background
        if background is not None and background is not threading.current_thread():
            background.join()
        self._client.close()

    def __enter__(self) -> Self:
        if self._autorun and self._claim():
            self._place()
            self._feed = Feed()
            self._background = threading.Thread(target=self._read_in_background, name="chasquimq-events", daemon=True)
            self._background.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _claim(self) -> bool:
        """Whether the caller is to be the reader."""
        with self._guard:
            if self._is_closed:
                raise ClosedError("the subscription was closed. Create a new one.")
            if self._is_reading:
                return False
            self._is_reading = True
            return True

    def _place(self) -> None:
        if not self._subscription.is_placed:
            self._client.run(self._subscription.place())

    def _read_in_background(self) -> None:
        assert self._feed is not None  # noqa: S101 - set by __enter__
        for event in self._read():
            with self._fed:
                self._feed.put(event)
                self._fed.notify()

    def _take_from_feed(self) -> Iterator[QueueEvent]:
        feed = self._feed
        if feed is None:
            raise ClosedError("another thread reads this subscription already; iterate there, or use a with block.")
        while True:
            with self._fed:
                self._fed.wait_for(lambda: len(feed) or self._done.is_set() or self._closing.is_set())
                event = feed.take()
            if event is None:
                return
            yield event

    def _read(self) -> Generator[QueueEvent, None, None]:
        failures = 0
        try:
            self._place()
            while not self._closing.is_set():
                try:
                    with contextlib.closing(self._client.dedicated()) as connection:
                        self._connection = connection
                        for event in self._read_from(connection):
                            failures = 0
                            yield event
                except ChasquiError as error:
                    if self._closing.is_set():
                        return
                    failures += 1
                    self._subscription.was_interrupted()
                    if failures == 1:
                        logger.warning("%s", error)
                        self._call("error", error)
                    self._closing.wait(worker_delay_ms(failures, random.random()) / 1000)  # noqa: S311 - jitter
        finally:
            self._done.set()
            with self._fed:
                self._fed.notify_all()

    def _read_from(self, connection: BlockingConnection) -> Iterator[QueueEvent]:
        while not self._closing.is_set():
            found = run_on(connection, self._subscription.read())
            check = self._subscription.check(found)
            gap = None if check is None else run_on(connection, check)
            for event in found if gap is None else [gap, *found]:
                self._tell(event)
                yield event

    def _call(self, name: str, *arguments: Any) -> None:
        for listener in self._listeners.take(name):
            _call_listener(listener, name, arguments, self._call)


def _call_listener(
    listener: Callable[..., Any], name: str, arguments: tuple[Any, ...], report: Callable[..., None]
) -> None:
    try:
        listener(*arguments)
    except Exception as error:
        logger.exception("a listener of %r raised", name)
        if name != "error":
            report("error", error)
