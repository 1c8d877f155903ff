"""A connection that is shared by all tasks of one asyncio event loop (uvloop included).

Decides how concurrent requests become one stream: they are written in the order of ``submit``, everything
of one loop turn in one write, and answers are handed out in the same order. A request whose waiter was
cancelled keeps its place, and its answers are dropped; they must never reach anybody else. There is no task
here and no timer per request: one timer per connection watches the oldest unanswered request. Error replies
are values.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chasquimq._core.call import RepliesWithErrors, Reply, ReplyReader
from chasquimq._core.profile import ServerProfile
from chasquimq._core.reconnect import unreachable_error
from chasquimq._net.event_loop import call_in
from chasquimq._net.forking import keep_from_children
from chasquimq._net.opening import (
    LARGE_REQUEST,
    PING,
    RECEIVE_BUFFER,
    UNREADABLE,
    closed_error,
    connect_timeout_error,
    first_words_async,
    garbled_error,
    noting_reader,
    raise_tls_error,
    shake_hands,
    silent_error,
    tls_context,
    tune,
)
from chasquimq.address import Address
from chasquimq.errors import RedisConnectionError

__all__ = ["AsyncioConnection"]

_Slot = tuple["asyncio.Future[list[Reply]]", int, int]
"""Who waits, for how many replies, and how long the server may block before it answers."""


class AsyncioConnection(asyncio.BufferedProtocol):
    """One connection to the server, handshake done. Made by ``open``; belongs to the loop that opened it."""

    profile: ServerProfile
    client_id: int | None

    def __init__(self, address: Address, epoch: int = 0) -> None:
        self.epoch = epoch
        """The place of the queue, by its ``Location``, to which this connection was opened."""
        self.is_closed = False
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._gone = self._loop.create_future()
        self._reader: ReplyReader
        self._reader, self._errors = noting_reader()
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._view = memoryview(self._buffer)
        # Written and not yet fully answered, the oldest first; and its replies as far as they have come.
        self._sent: deque[_Slot] = deque()
        self._received: list[Reply] = []
        # Submitted and not yet written.
        self._queued: list[tuple[_Slot, bytes]] = []
        self._flush_is_due = False
        self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0

    @classmethod
    async def open(cls, address: Address, epoch: int = 0) -> AsyncioConnection:
        """Connects and shakes hands, all within ``connect_timeout_ms``. Safe to cancel.

        Raises ``RedisConnectionError`` and its kinds, ``UnsupportedServerError``, ``ServerReplyError``.
        """
        steps = await first_words_async(address)
        connection = cls(address, epoch)
        try:
            async with asyncio.timeout(address.connect_timeout_ms / 1000):
                await connection._connect()
                found = await shake_hands(connection.exchange, address, steps)
                connection.profile, connection.client_id = found.profile, found.client_id
        except TimeoutError as error:
            connection.abort()
            if isinstance(error, RedisConnectionError):
                raise
            raise connect_timeout_error(address) from None
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def belongs_here(self) -> bool:
        """Whether the running loop is the one that opened this connection."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def is_idle(self) -> bool:
        """Whether no answer is waited for."""
        return not (self._sent or self._queued)

    def submit(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> asyncio.Future[list[Reply]]:
        """Queues ``request`` now; awaiting the result gives its ``replies`` answers.

        They are a ``RepliesWithErrors`` if there are errors among them. Raises ``RedisConnectionError`` at once when
        the connection is closed. In errors, ``may_have_executed`` says whether bytes of the request may have left.
        """
        if self.is_closed:
            raise RedisConnectionError(f"The connection to {self._address.display} was closed before.")
        waiter: asyncio.Future[list[Reply]] = self._loop.create_future()
        slot = (waiter, replies, blocks_ms)
        if (self._sent and len(request) < LARGE_REQUEST) or self._queued or self._is_paused:
            self._queued.append((slot, request))
            if not self._flush_is_due:
                self._flush_is_due = True
                self._loop.call_soon(self._flush)
        else:
            if not self._sent:
                self._watch(blocks_ms)
            self._sent.append(slot)
            self._transport.write(request)  # type: ignore[union-attr]
        return waiter

    async def exchange(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> list[Reply]:
        """``submit`` for those who wait right away."""
        return await self.submit(request, replies, blocks_ms)

    def read_with(self, wrap: Callable[[ReplyReader], ReplyReader]) -> None:
        """Lets what ``wrap`` makes of the reader read the replies; only while no answer is under way."""
        self._reader = wrap(self._reader)

    async def answered(self, waiter: asyncio.Future[list[Reply]]) -> None:
        """Returns when ``waiter`` has its answers. They stay with it: to be cancelled here gives nothing up."""
        await asyncio.wait((waiter,))

    def forget(self, waiter: asyncio.Future[list[Reply]]) -> None:
        """Nobody will ask ``waiter`` for its answers, or for what it failed with."""
        if not waiter.cancel() and not waiter.cancelled():
            waiter.exception()

    def abort(self) -> None:
        """Closes at once; every waiter gets a ``RedisConnectionError``. Idempotent, only in the own loop."""
        self._fail(closed_error(self._address, (), "it was closed from this side while it was in use"))

    async def aclose(self) -> None:
        """Waits for the answers under way, then for the socket to close. Later submissions fail."""
        try:
            if self._sent or self._queued:
                with suppress(RedisConnectionError):
                    await self.exchange(PING)
        finally:
            self.abort()
        if self._transport is not None:
            await asyncio.shield(self._gone)

    def abort_from_elsewhere(self) -> None:
        """``abort`` from another loop or thread."""
        if not call_in(self._loop, self.abort):
            self.is_closed = True

    # --- what the loop calls ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream transports are Transports

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the loop's signature
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        reader, sent, received = self._reader, self._sent, self._received
        errors = self._errors
        self._heard_at = self._loop.time()
        try:
            reader.feed(self._buffer, 0, nbytes)
            while (reply := reader.gets()) is not False:
                received.append(reply)
                waiter, replies, _ = sent[0]
                if len(received) == replies:
                    sent.popleft()
                    if errors:
                        errors.clear()
                        received = RepliesWithErrors(received)
                    if not waiter.done():
                        waiter.set_result(received)
                    received = self._received = []
        except UNREADABLE as error:
            self._fail(garbled_error(self._address, error))
        except IndexError:
            self._fail(garbled_error(self._address, "an answer that nobody asked for"))

    def eof_received(self) -> bool:
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self._fail(closed_error(self._address, self._received, exc))

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._flush()

    # --- inside -------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Writes what was queued; what its waiter has given up meanwhile is never sent."""
        self._flush_is_due = False
        if self._is_paused or self.is_closed:
            return
        queued, self._queued = self._queued, []
        requests = []
        for slot, request in queued:
            if not slot[0].cancelled():
                if not self._sent:
                    self._watch(slot[2])
                self._sent.append(slot)
                requests.append(request)
        if requests:
            self._transport.write(b"".join(requests))  # type: ignore[union-attr]

    def _watch(self, blocks_ms: int) -> None:
        """Begins the oldest request's time: the connection was idle until now."""
        self._heard_at = now = self._loop.time()
        deadline = now + (self._address.socket_timeout_ms + blocks_ms) / 1000
        timer = self._timer
        # A timer of an earlier request stays and looks again when it fires: most requests arm none.
        if timer is None or timer.when() > deadline:
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._sent:
            return
        limit_ms = self._address.socket_timeout_ms + self._sent[0][2]
        deadline = self._heard_at + limit_ms / 1000
        if self._loop.time() < deadline:
            self._timer = self._loop.call_at(deadline, self._look)
        else:
            self._fail(silent_error(self._address, limit_ms))

    def _fail(self, error: RedisConnectionError) -> None:
        """Ends the connection and everybody's waiting. Each waiter has an exception of its own."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        sent, self._sent = self._sent, deque()
        queued, self._queued = self._queued, []
        self._received = []
        for waiter, _, _ in sent:
            if not waiter.done():
                waiter.set_exception(type(error)(str(error), may_have_executed=True))
        for (waiter, _, _), _ in queued:
            if not waiter.done():
                waiter.set_exception(type(error)(str(error), may_have_executed=False))

    async def _connect(self) -> None:
        address, loop = self._address, self._loop
        context = None if address.tls is None else tls_context(address.tls)
        options: dict[str, Any] = {} if context is None else {"ssl": context, "server_hostname": address.host}
        try:
            if address.unix_socket_path is not None:
                await loop.create_unix_connection(lambda: self, address.unix_socket_path, **options)
            else:
                await loop.create_connection(lambda: self, address.host, address.port, **options)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise connect_timeout_error(address) from None
            if context is not None and type(error).__module__ == "ssl":
                raise_tls_error(address, error)
            raise unreachable_error(address.display, str(error)) from error
        assert self._transport is not None  # noqa: S101  connection_made() has run
        if (sock := self._transport.get_extra_info("socket")) is not None:
            keep_from_children(self, sock)
            if address.unix_socket_path is None:
                tune(sock)
