"""Where threads wait for stored results, synchronous form.

Who looks, who follows the events stream and for how long is decided in ``_core.result_watch``; here threads look, read
and rest. It starts no thread: the stream is read by one of those that wait. However many wait, they use one connection
for looks and one for reading, which stays open for the next wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from chasquimq._core.call import Call
from chasquimq._core.keys import QueueKeys
from chasquimq._core.log import logger_named
from chasquimq._core.result_policy import FollowingPolicy
from chasquimq._core.result_wait import Wait
from chasquimq._core.result_watch import Notice, ResultWatch, Step
from chasquimq._fast import decode_payload
from chasquimq._net.clock import SystemClock
from chasquimq._net.following import FollowingConnection
from chasquimq._net.forking import tell_in_children
from chasquimq._net.scheduling import run_on
from chasquimq.errors import ChasquiError, ClosedError, RedisTimeoutError
from chasquimq.sync._client import Client

__all__ = ["ResultWaits"]

logger = logger_named("chasquimq.queue")

CONNECT_MS = 1_000.0
"""The reading connection is opened within this time or not at all; whoever opens it does not look meanwhile."""
SLICE_MS = 20.0
"""How often a thread looks whether its signal was set: one thread cannot wait for two things."""
LATE_MS = 5_000.0
"""An answer that is so much later than the server promised will not come."""


class ResultWaits:
    """The waits of one Queue. Safe to share across threads; a forked child begins anew."""

    def __init__(self, client: Client, keys: QueueKeys) -> None:
        self._client = client
        self._keys = keys
        self._policy = FollowingPolicy()
        self._room = _Room(client, keys, self._policy)
        tell_in_children(self)

    def _after_fork(self) -> None:
        self._room = _Room(self._client, self._keys, self._policy)

    def wait(self, job_id: str, budget_ms: float, interval_ms: float, signal: threading.Event | None) -> Any:
        """The stored value of a job. Raises what ended the wait."""
        room = self._room
        wait = Wait(job_id, budget_ms=budget_ms, interval_ms=interval_ms, now_ms=SystemClock.monotonic_ms())
        room.wait_for(wait, signal)
        return decode_payload(wait.outcome())

    def close(self) -> None:
        """Ends all waits, once the client is closed. Callable from any thread."""
        self._room.close()


class _Room:
    """The threads that wait, all of one process."""

    def __init__(self, client: Client, keys: QueueKeys, policy: FollowingPolicy) -> None:
        self._client = client
        self._watch = ResultWatch(keys, policy)
        # Guards the watch and the tickets; nobody waits for the server under it. Reentrant: a signal handler may close
        # the queue in the very thread that holds it.
        self._lock = threading.RLock()
        self._tickets: dict[Wait, threading.Event] = {}
        self._connection: FollowingConnection | None = None
        self._reading: tuple[Call[list[Notice]], float] | None = None
        """The read that is under way, whichever thread waits for it, and when it was sent."""

    def wait_for(self, wait: Wait, signal: threading.Event | None) -> None:
        """Returns when the wait is over."""
        ticket = threading.Event()
        try:
            with self._lock:
                self._tickets[wait] = ticket
                self._watch.join(wait)
            while True:
                step, rest_ms = self._step(wait, signal)
                if step is Step.OVER:
                    return
                if step is Step.LOOK:
                    self._look(wait)
                elif step is Step.READ:
                    self._read(wait, rest_ms, signal)
                else:
                    ticket.wait((rest_ms if signal is None else min(rest_ms, SLICE_MS)) / 1000)
                    ticket.clear()
        finally:
            try:
                self._book(lambda now_ms: self._leave(wait, now_ms))
            except BaseException:
                # A signal struck in the middle of it. What is left is done, and everybody sees for himself.
                self._book(lambda now_ms: [*self._leave(wait, now_ms), *self._tickets])
                raise

    def close(self) -> None:
        with self._lock:
            if not self._watch:
                self.disconnect()
            elif self._connection is not None:
                self._connection.interrupt()  # whoever reads finds it so
        self._book(self._watch.look_all)

    def disconnect(self) -> None:
        """Closes the reading connection, which nobody else uses now."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._reading = None

    def _step(self, wait: Wait, signal: threading.Event | None) -> tuple[Step, float]:
        """The next step, and how long it lasts at most."""
        is_aborted = signal is not None and signal.is_set()
        with self._lock:
            now_ms = SystemClock.monotonic_ms()
            step = self._watch.step(wait, now_ms, is_aborted=is_aborted)
            lasts = step is Step.READ or step is Step.REST
            return step, self._watch.rest_ms(wait, now_ms) if lasts else 0.0

    def _leave(self, wait: Wait, now_ms: float) -> list[Wait]:
        self._tickets.pop(wait, None)
        woken = self._watch.leave(wait, now_ms)
        if not self._watch and (self._reading is not None or self._client.is_closed):
            self.disconnect()  # an answer that is still to come must not be taken for the next one
        return woken

    def _book(self, decide: Callable[[float], list[Wait]]) -> None:
        """Has the watch book something, and wakes whom it concerns."""
        with self._lock:
            for wait in decide(SystemClock.monotonic_ms()):
                ticket = self._tickets.get(wait)
                if ticket is not None:
                    ticket.set()

    def _look(self, own: Wait) -> None:
        watch = self._watch
        with self._lock:
            waits = watch.due(own, SystemClock.monotonic_ms())
        try:
            values = self._client.run(watch.look(waits))
        except Exception as error:  # noqa: BLE001 - every wait of this look raises it
            failure = error
            self._book(lambda _: watch.look_failed(waits, failure))
        except BaseException:
            with self._lock:
                watch.look_given_up(waits, SystemClock.monotonic_ms())
            raise
        else:
            self._book(lambda now_ms: watch.looked(waits, values, now_ms))

    def _read(self, own: Wait, rest_ms: float, signal: threading.Event | None) -> None:
        """Follows the stream until something was read, or for ``rest_ms``."""
        try:
            self._follow(own, rest_ms, signal)
        except ChasquiError as error:
            logger.debug("results are polled for a while, because the events stream cannot be followed: %s", error)
            self.disconnect()
            self._book(self._watch.reading_failed)
        finally:
            self._book(lambda now_ms: self._watch.stop_reading(own, now_ms))

    def _follow(self, own: Wait, rest_ms: float, signal: threading.Event | None) -> None:
        watch = self._watch
        connection = self._connected(own.deadline_ms - SystemClock.monotonic_ms())
        if not watch.is_placed:
            recent = run_on(connection, watch.place())
            self._book(lambda now_ms: watch.looked_back(recent, now_ms))
            return
        if self._reading is None:
            call = watch.read()
            self._reading = call, SystemClock.monotonic_ms()
            connection.send(call.request)
        call, sent_ms = self._reading
        if not _is_answered(connection, rest_ms, signal):
            if SystemClock.monotonic_ms() > sent_ms + call.blocks_ms + LATE_MS:
                raise RedisTimeoutError("The server does not answer a read of the events stream.")
            return
        replies = connection.receive(call.replies, call.blocks_ms)
        self._reading = None
        notices = call.parse(replies)
        check = watch.check(notices)
        self._book(lambda now_ms: watch.heard(notices, now_ms))
        if check is not None and run_on(connection, check) is not None:
            self._book(watch.missed_events)

    def _connected(self, left_ms: float) -> FollowingConnection:
        connection = self._connection
        if connection is not None and (connection.is_closed or (self._reading is None and connection.can_read(0))):
            self.disconnect()
            connection = None
        if connection is None:
            connection = self._client.follower(max(1.0, min(left_ms, CONNECT_MS)))
            with self._lock:
                self._connection = connection
            if self._client.is_closed:
                raise ClosedError("the queue was closed.")
        return connection


def _is_answered(connection: FollowingConnection, rest_ms: float, signal: threading.Event | None) -> bool:
    """Waits until there is something to read, or for ``rest_ms``, or until the signal is set."""
    if signal is None:
        return connection.can_read(rest_ms)
    until_ms = SystemClock.monotonic_ms() + rest_ms
    while not connection.can_read(min(rest_ms, SLICE_MS)):
        rest_ms = until_ms - SystemClock.monotonic_ms()
        if signal.is_set() or rest_ms <= 0:
            return False
    return True
