"""Following a queue's events, synchronous form.

One reader at a time: the thread that calls ``run()`` or iterates, or, inside a ``with`` block, a thread of its own.
What is asked and what an answer means is decided in ``_core.subscription``; this file waits and delivers.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from chasquimq._core.call import Call
from chasquimq._core.events_face import EventsFace
from chasquimq._core.feed import Feed
from chasquimq._core.keys import QueueKeys
from chasquimq._core.log import logger_named
from chasquimq._core.reconnect import Outage, worker_delay_ms
from chasquimq._core.subscription import Subscription, parse_event
from chasquimq._net.following import FollowingConnection
from chasquimq._net.forking import tell_in_children
from chasquimq._net.scheduling import run_on
from chasquimq.address import resolve_address
from chasquimq.errors import ChasquiError, ClosedError
from chasquimq.events import Gap, QueueEvent
from chasquimq.options import QueueEventsOptions, flag, keywords, merge
from chasquimq.sync._client import Client
from chasquimq.times import Duration

__all__ = ["QueueEvents"]

logger = logger_named("chasquimq.events")


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
        self._autorun = flag("autorun", options.autorun, default=True)
        keys = QueueKeys(name)
        self._subscription = Subscription(keys, options, parse_event)
        self._client = Client(resolve_address(options.connection), keys.stream)
        self._closing = threading.Event()
        self._reading = threading.Lock()
        self._connection: FollowingConnection | None = None
        self._outage = Outage(logger, f"the events of {name!r} are read")
        self._background: threading.Thread | None = None
        self._unchecked: tuple[Sequence[QueueEvent], Call[Gap | None] | None] | None = None
        """Events that were read, and the question whether others before them were missed."""
        self._feed = Feed()
        self._fed = threading.Condition()
        tell_in_children(self)

    def _after_fork(self) -> None:
        self._closing, self._reading, self._fed = threading.Event(), threading.Lock(), threading.Condition()
        self._is_closed = self._is_closed or self._background is not None  # a thread of the parent reads on there
        self._connection = self._background = None

    def run(self) -> None:
        """Reads and calls listeners until ``close()``. Where a background thread reads already, it waits for that."""
        self._place()
        for _ in self:
            pass

    def wait_until_ready(self) -> None:
        """Returns when the place in the stream is known: no event from now on is missed."""
        self._place()

    def __iter__(self) -> Iterator[QueueEvent]:
        """The events as they come, until ``close()``. Without a ``with`` block the iterating thread reads."""
        self._check_open()
        self._place()
        return self

    def __next__(self) -> QueueEvent:
        """The next event. Raises StopIteration after ``close()``."""
        while (event := self._feed.take()) is None:
            if self._is_closed:
                raise StopIteration
            if self._background is None:
                self._pull()
            else:
                with self._fed:
                    self._fed.wait_for(lambda: len(self._feed) or self._is_closed)
        return event

    def close(self) -> None:
        """Stops reading; a reader in another thread returns. Idempotent, callable from any thread."""
        self._is_closed = True
        self._closing.set()
        connection = self._connection
        if connection is not None:
            connection.interrupt()
            if self._reading.acquire(blocking=False):  # else the reader closes it
                try:
                    connection.close()
                finally:
                    self._reading.release()
        with self._fed:
            self._fed.notify_all()
        background = self._background
        if background is not None and background is not threading.current_thread():
            background.join()
        self._client.close()

    def __enter__(self) -> Self:
        self._check_open()
        if self._autorun and self._background is None:
            try:
                self._place()
            except BaseException:
                self.close()
                raise
            self._background = threading.Thread(target=self._pull_on, name="chasquimq-events", daemon=True)
            self._background.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the subscription was closed. Create a new one.")

    def _place(self) -> None:
        if not self._subscription.is_placed:
            self._client.run(self._subscription.place())

    def _pull_on(self) -> None:
        while not self._is_closed:
            self._pull()
            with self._fed:
                self._fed.notify_all()

    def _pull(self) -> None:
        """One read: events into the feed and to the listeners, or the trouble that prevented it."""
        with self._reading:
            if len(self._feed) and self._background is None:
                return  # another thread was faster
            try:
                connection = self._connection
                if connection is None or connection.is_closed:
                    connection = self._connection = self._client.dedicated()
                    if self._is_closed:
                        connection.close()
                        return
                self._read_from(connection)
                self._outage.over()
            except ChasquiError as error:
                if not self._is_closed:
                    self._survive(error)
            finally:
                if self._is_closed and self._connection is not None:
                    self._connection.close()

    def _read_from(self, connection: FollowingConnection) -> None:
        if self._unchecked is None:
            read = run_on(connection, self._subscription.read())
            # The place has moved behind these events now: whoever is interrupted leaves them to the next reader.
            self._unchecked = read, self._subscription.check(read)
        found, check = self._unchecked
        gap = None
        try:
            if check is not None:
                gap = run_on(connection, check)
        except ChasquiError:
            self._unchecked = None
            self._deliver(found)
            raise
        self._unchecked = None
        self._deliver(found if gap is None else [gap, *found])

    def _deliver(self, found: Sequence[QueueEvent]) -> None:
        for event in found:
            self._feed.put(event)
            self._tell(event)

    def _survive(self, error: ChasquiError) -> None:
        self._subscription.was_interrupted()
        if self._connection is not None:
            self._connection.close()
        if self._outage.failed(error):
            logger.warning("%s", error)
            self._call("error", error)
        self._closing.wait(worker_delay_ms(self._outage.failures, random.random()) / 1000)  # noqa: S311 - jitter

    def _call(self, name: str, *arguments: Any) -> None:
        for listener in self._listeners.take(name):
            try:
                listener(*arguments)
            except Exception as error:
                logger.exception("a listener of %r raised", name)
                if name != "error":
                    self._call("error", error)
