"""Where tasks wait for stored results, asynchronous form.

Who looks, who follows the events stream and for how long is decided in ``_core.result_watch``; here tasks look, read
and rest. No task runs in the background: the stream is read by one of those that wait. However many wait, they use the
event loop's shared connection for looks and one more for reading, which stays open for the next wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio

from chasquimq._core.call import Call
from chasquimq._core.keys import QueueKeys
from chasquimq._core.log import logger_named
from chasquimq._core.result_policy import FollowingPolicy
from chasquimq._core.result_wait import Wait
from chasquimq._core.result_watch import Notice, ResultWatch, Step
from chasquimq._fast import decode_payload
from chasquimq._net.clock import SystemClock
from chasquimq._net.event_loop import call_in, running_loop
from chasquimq._net.forking import tell_in_children
from chasquimq.aio._client import Client
from chasquimq.aio._following import RawConnection
from chasquimq.errors import ChasquiError, RedisConnectionError

__all__ = ["ResultWaits"]

logger = logger_named("chasquimq.queue")

CONNECT_MS = 1_000.0
"""The reading connection is opened within this time or not at all; whoever opens it does not look meanwhile."""


class ResultWaits:
    """The waits of one Queue. Safe to share across tasks, also of several event loops."""

    def __init__(self, client: Client, keys: QueueKeys) -> None:
        self._client = client
        self._keys = keys
        self._policy = FollowingPolicy()
        self._rooms: dict[object, _Room] = {}
        """By event loop, as long as somebody waits there."""
        tell_in_children(self)

    def _after_fork(self) -> None:
        self._rooms = {}

    async def wait(self, job_id: str, budget_ms: float, interval_ms: float, signal: anyio.Event | None) -> Any:
        """The stored value of a job. Raises what ended the wait."""
        loop = running_loop()
        room = self._rooms.get(loop)
        if room is None:
            room = self._rooms[loop] = _Room(self._client, self._keys, self._policy)
        wait = Wait(job_id, budget_ms=budget_ms, interval_ms=interval_ms, now_ms=SystemClock.monotonic_ms())
        room.enter(wait)
        try:
            if signal is None:
                await room.wait_for(wait, None)
            else:
                await _wait_with_signal(room, wait, signal)
        finally:
            room.leave(wait)
            if room.is_empty:
                del self._rooms[loop]
        return decode_payload(wait.outcome())

    def close(self) -> None:
        """Ends all waits, once the client is closed."""
        here = running_loop()
        for loop, room in list(self._rooms.items()):
            if loop is here:
                room.look_all()
            else:
                call_in(loop, room.look_all)


async def _wait_with_signal(room: _Room, wait: Wait, signal: anyio.Event) -> None:
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(room.wake_when_set, wait, signal)
            await room.wait_for(wait, signal)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # Whatever ended the wait came alone, and its caller knows nothing of a task group.
        raise group.exceptions[0] from None


class _Room:
    """The tasks of one event loop that wait."""

    def __init__(self, client: Client, keys: QueueKeys, policy: FollowingPolicy) -> None:
        self._client = client
        self._watch = ResultWatch(keys, policy)
        self._resting: dict[Wait, anyio.CancelScope] = {}
        self._connection: RawConnection | None = None
        self._reading: tuple[Call[list[Notice]], Any] | None = None
        """The read that is under way, whichever task waits for it."""

    @property
    def is_empty(self) -> bool:
        return not self._watch

    def enter(self, wait: Wait) -> None:
        self._watch.join(wait)

    def leave(self, wait: Wait) -> None:
        self._wake(self._watch.leave(wait, SystemClock.monotonic_ms()))
        if not self._watch and self._reading is not None:
            self._disconnect()  # an answer that is still to come must not be taken for the next one

    def look_all(self) -> None:
        self._wake(self._watch.look_all(SystemClock.monotonic_ms()))

    async def wake_when_set(self, wait: Wait, signal: anyio.Event) -> None:
        await signal.wait()
        self._wake([wait])

    async def wait_for(self, wait: Wait, signal: anyio.Event | None) -> None:
        """Returns when the wait is over."""
        watch = self._watch
        while True:
            now_ms = SystemClock.monotonic_ms()
            step = watch.step(wait, now_ms, is_aborted=signal is not None and signal.is_set())
            if step is Step.OVER:
                return
            if step is Step.LOOK:
                await self._look(wait)
            elif step is Step.READ:
                await self._read(wait)
            else:
                with self._wakeable(wait, watch.rest_ms(wait, now_ms)):
                    await anyio.sleep_forever()

    @contextmanager
    def _wakeable(self, wait: Wait, limit_ms: float) -> Iterator[None]:
        """What is done inside ends when the wait is woken, or after ``limit_ms``."""
        with anyio.move_on_after(limit_ms / 1000) as scope:
            self._resting[wait] = scope
            try:
                yield
            finally:
                del self._resting[wait]

    def _wake(self, waits: Sequence[Wait]) -> None:
        for wait in waits:
            scope = self._resting.get(wait)
            if scope is not None:
                scope.cancel()

    async def _look(self, own: Wait) -> None:
        watch = self._watch
        waits = watch.due(own, SystemClock.monotonic_ms())
        try:
            values = await self._client.run(watch.look(waits))
        except Exception as error:  # noqa: BLE001 - every wait of this look raises it
            self._wake(watch.look_failed(waits, error))
        except BaseException:
            watch.look_given_up(waits, SystemClock.monotonic_ms())
            raise
        else:
            self._wake(watch.looked(waits, values, SystemClock.monotonic_ms()))

    async def _read(self, own: Wait) -> None:
        """Follows the stream until something was read, or the own look is due."""
        try:
            await self._follow(own)
        except (ChasquiError, TimeoutError) as error:
            logger.debug("results are polled for a while, because the events stream cannot be followed: %s", error)
            self._disconnect()
            self._wake(self._watch.reading_failed(SystemClock.monotonic_ms()))
        finally:
            self._wake(self._watch.stop_reading(own, SystemClock.monotonic_ms()))

    async def _follow(self, own: Wait) -> None:
        watch = self._watch
        connection: Any = self._connection  # of whichever kind: it knows its own waiters
        now_ms = SystemClock.monotonic_ms()
        if connection is None or not watch.is_placed:
            with self._wakeable(own, own.deadline_ms - now_ms), anyio.fail_after(CONNECT_MS / 1000):
                recent = await self._place()
                self._wake(watch.looked_back(recent, SystemClock.monotonic_ms()))
            return
        with self._wakeable(own, watch.rest_ms(own, now_ms)):
            if self._reading is None:
                read = watch.read()
                try:
                    self._reading = read, connection.submit(read.request, read.replies, read.blocks_ms)
                except RedisConnectionError:
                    self._connection = None  # the server closed it while it rested: the next step opens another
                    return
            call, waiter = self._reading
            await connection.answered(waiter)
            self._reading = None
            notices = call.parse(await waiter)
            check = watch.check(notices)
            self._wake(watch.heard(notices, SystemClock.monotonic_ms()))
            if check is not None and check.parse(await connection.submit(check.request)) is not None:
                self._wake(watch.missed_events(SystemClock.monotonic_ms()))

    async def _place(self) -> list[Notice]:
        """Finds the place in the stream, on a connection of which the last wait may have been long ago."""
        call = self._watch.place()
        connection = self._connection = await self._client.follower()
        try:
            return call.parse(await connection.submit(call.request))
        except RedisConnectionError as error:
            if error.may_have_executed:
                raise
        connection = self._connection = await self._client.follower()  # the server had closed it while it rested
        return call.parse(await connection.submit(call.request))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        reading, self._reading = self._reading, None
        if connection is not None:
            if reading is not None:
                connection.forget(reading[1])
            connection.abort()
