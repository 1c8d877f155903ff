"""A connection that is shared by all tasks of one trio run (or of anything else that anyio supports).

Decides how tasks share one socket without a task of its own in the background: whoever waits for an answer while nobody
reads becomes the reader, for everybody, until its own answer is there; whoever finds something to write while nobody
writes becomes the writer. A free seat is offered to a task that still waits. Requests are written and answered in the
order of ``submit``; one timer per connection watches the oldest. A request whose waiter was cancelled is not sent if it
can be helped; else its answers are dropped in their place, and never reach anybody. Error replies are values.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from time import monotonic
from typing import Any

import anyio
import anyio.lowlevel
import hiredis

from chasquimq._core.call import RepliesWithErrors, Reply, ReplyReader
from chasquimq._core.profile import ServerProfile
from chasquimq._net.anyio_opening import connected_socket
from chasquimq._net.event_loop import call_in
from chasquimq._net.forking import keep_from_children
from chasquimq._net.loop_face import Ticket, Timer, loop_face
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
    shake_hands,
    silent_error,
)
from chasquimq.address import Address
from chasquimq.errors import RedisConnectionError

__all__ = ["AnyioConnection", "AnyioSlot"]


IDLE_CHECK_SECONDS = 0.1
"""A connection that rested longer than this is looked at before it is used: servers and proxies cut idle ones."""


class AnyioSlot:
    """One request's place in the line. Awaiting it gives the answers; ``cancel`` gives them up."""

    __slots__ = (
        "blocks_ms",
        "connection",
        "error",
        "event",
        "is_abandoned",
        "is_done",
        "is_kept",
        "replies",
        "request",
        "wanted",
    )

    def __init__(self, connection: AnyioConnection, request: bytes, wanted: int, blocks_ms: int) -> None:
        self.connection = connection
        self.request = request
        self.wanted = wanted
        self.blocks_ms = blocks_ms
        self.replies: list[Reply] = []
        self.error: RedisConnectionError | None = None
        self.event: Ticket | None = None
        self.is_done = self.is_abandoned = self.is_kept = False

    def __await__(self) -> Generator[Any, Any, list[Reply]]:
        return self.connection._settle(self).__await__()

    def cancel(self) -> None:
        self.connection._abandon(self)

    def finish(self, error: RedisConnectionError | None = None) -> None:
        self.error = error
        self.is_done = True
        if self.event is not None:
            self.event.set()


class AnyioConnection:
    """One connection to the server, handshake done. Made by ``open``; belongs to the loop that opened it."""

    profile: ServerProfile
    client_id: int | None

    def __init__(self, address: Address, sock: socket.socket, epoch: int = 0) -> None:
        self.epoch = epoch
        """The place of the queue, by its ``Location``, to which this connection was opened."""
        self.is_closed = False
        face = loop_face()
        self._current_loop = face.identity
        self._loop = face.identity()
        self._wait_readable, self._wait_writable = face.wait_readable, face.wait_writable
        self._notify_closing, self._closed_under_us = face.notify_closing, face.closed
        self._call_later, self._ticket = face.call_later, face.ticket
        self._timer: Timer | None = None
        self._timer_at = self._heard_at = 0.0
        self._address = address
        self._socket = sock
        self._would_block: tuple[type[OSError], ...] = (BlockingIOError,)
        if address.tls is not None:
            import ssl  # noqa: PLC0415  only with TLS, where it is loaded already

            self._would_block = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._reader: ReplyReader
        self._reader, self._errors = noting_reader()
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._unsent: deque[AnyioSlot] = deque()  # submitted and not yet begun to be written
        self._sent: deque[AnyioSlot] = deque()  # begun and not yet fully answered, the oldest first
        self._rest = memoryview(b"")  # of what was begun, the bytes that the kernel did not take yet
        self._received: list[Reply] = []  # for the oldest one, as far as they have come
        self._is_reading = self._is_writing = False
        keep_from_children(self, sock)

    @classmethod
    async def open(cls, address: Address, epoch: int = 0) -> AnyioConnection:
        """Connects and shakes hands, all within ``connect_timeout_ms``. Safe to cancel.

        Raises ``RedisConnectionError`` and its kinds, ``UnsupportedServerError``, ``ServerReplyError``.
        """
        steps = await first_words_async(address)
        connection = None
        with anyio.move_on_after(address.connect_timeout_ms / 1000):
            connection = cls(address, await connected_socket(address), epoch)
            try:
                found = await shake_hands(connection.exchange, address, steps)
                connection.profile, connection.client_id = found.profile, found.client_id
            except BaseException:
                connection.abort()
                raise
        if connection is None or connection.is_closed:
            raise connect_timeout_error(address)
        return connection

    @property
    def belongs_here(self) -> bool:
        """Whether the running loop is the one that opened this connection."""
        try:
            return self._current_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def is_idle(self) -> bool:
        """Whether no answer is waited for."""
        return not (self._sent or self._unsent)

    def submit(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> AnyioSlot:
        """Queues ``request`` now; awaiting the result gives its ``replies`` answers.

        They are a ``RepliesWithErrors`` if there are errors among them. Raises ``RedisConnectionError`` at once when
        the connection is closed. In errors, ``may_have_executed`` says whether bytes of the request may have left.
        """
        if self.is_closed:
            raise RedisConnectionError(f"The connection to {self._address.display} was closed before.")
        if not (self._sent or self._unsent) and monotonic() - self._heard_at > IDLE_CHECK_SECONDS:
            self._look_for_end()
        slot = AnyioSlot(self, request, replies, blocks_ms)
        is_free = not (self._unsent or self._rest)
        self._unsent.append(slot)
        if is_free and (not self._sent or len(request) >= LARGE_REQUEST):
            self._write()
        return slot

    def _look_for_end(self) -> None:
        """Notices, before anything is written into it, that the server has closed a resting connection."""
        if self._address.tls is not None:
            return  # what can be read there may be a session ticket
        try:
            ended = self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._fail(closed_error(self._address, (), None))
            raise RedisConnectionError(f"The connection to {self._address.display} was closed by the server.")

    async def exchange(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> list[Reply]:
        """``submit`` for those who wait right away."""
        return await self._settle(self.submit(request, replies, blocks_ms))

    def read_with(self, wrap: Callable[[ReplyReader], ReplyReader]) -> None:
        """Lets what ``wrap`` makes of the reader read the replies; only while no answer is under way."""
        self._reader = wrap(self._reader)

    async def answered(self, slot: AnyioSlot) -> None:
        """Returns when ``slot`` has its answers. They stay with it: to be cancelled here gives nothing up."""
        slot.is_kept = True
        with suppress(RedisConnectionError):  # raised when the answers are asked for
            await self._settle(slot)

    def forget(self, slot: AnyioSlot) -> None:
        """Nobody will ask ``slot`` for its answers, or for what it failed with."""
        slot.is_kept = False
        self._abandon(slot)

    def abort(self) -> None:
        """Closes at once; every waiter gets a ``RedisConnectionError``. Idempotent, only in the own loop."""
        self._fail(closed_error(self._address, (), "it was closed from this side while it was in use"))

    async def aclose(self) -> None:
        """Waits for the answers under way, then closes. Later submissions fail."""
        try:
            if not self.is_closed and (self._sent or self._unsent):
                with suppress(RedisConnectionError):
                    await self.exchange(PING)
        finally:
            self.abort()

    def abort_from_elsewhere(self) -> None:
        """``abort`` from another loop or thread."""
        if not call_in(self._loop, self.abort):
            # Nobody can wait for it any more.
            self.is_closed = True
            self._socket.close()

    # --- waiting ------------------------------------------------------------------------------------------

    async def _settle(self, slot: AnyioSlot) -> list[Reply]:
        """Waits until ``slot`` is answered, working for everybody where nobody else does."""
        try:
            while not slot.is_done:
                if not self._is_writing and (self._unsent or self._rest):
                    await self._be_writer()
                elif not self._is_reading:
                    await self._be_reader(slot)
                else:
                    slot.event = self._ticket()
                    await slot.event.wait()
                    slot.event = None
        except BaseException:
            self._abandon(slot)
            raise
        finally:
            slot.event = None
            self._offer_seats()
        if slot.error is not None:
            raise slot.error
        return slot.replies

    async def _be_writer(self) -> None:
        self._is_writing = True
        try:
            # One turn of the loop, so that what other tasks submit meanwhile goes out in the same write.
            await anyio.lowlevel.checkpoint()
            while not self._write():
                with suppress(self._closed_under_us):
                    await self._wait_writable(self._socket)
                self._heard_at = monotonic()
        finally:
            self._is_writing = False

    async def _be_reader(self, slot: AnyioSlot) -> None:
        self._is_reading = True
        try:
            while not slot.is_done:
                try:
                    await self._wait_readable(self._socket)
                except self._closed_under_us:
                    return  # whoever closed the socket has settled every slot; or the writer's seat is free
                if not self.is_closed:
                    self._read()
        finally:
            self._is_reading = False

    def _offer_seats(self) -> None:
        """Wakes one waiting task if a seat is free and has work; it looks around and sits down."""
        has_unsent = not self._is_writing and (self._unsent or self._rest)
        if has_unsent or (self._sent and not self._is_reading):
            for line in (self._sent, self._unsent):
                for slot in line:
                    if slot.event is not None and not slot.is_abandoned:
                        slot.event.set()
                        return
        if has_unsent and self._is_reading:
            self._notify_closing(self._socket)  # nobody else waits: it wakes the reader, who then looks around

    def _abandon(self, slot: AnyioSlot) -> None:
        """Nobody waits for ``slot`` any more: it is taken out of the line, or its answers will be dropped."""
        if not (slot.is_done or slot.is_kept):
            slot.is_abandoned = True
            with suppress(ValueError):
                self._unsent.remove(slot)

    def _watch(self, blocks_ms: int) -> None:
        """Begins the oldest request's time: the connection was idle until now."""
        self._heard_at = now = monotonic()
        seconds = (self._address.socket_timeout_ms + blocks_ms) / 1000
        # A timer of an earlier request stays and looks again when it is due: most requests arm none.
        if self._timer is None or self._timer_at > now + seconds:
            if self._timer is not None:
                self._timer.cancel()
            self._arm(now, seconds)

    def _arm(self, now: float, seconds: float) -> None:
        self._timer_at = now + seconds
        self._timer = self._call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._sent:
            return
        limit_ms = self._address.socket_timeout_ms + self._sent[0].blocks_ms
        now = monotonic()
        remaining = self._heard_at + limit_ms / 1000 - now
        if remaining > 0:
            self._arm(now, remaining)
        else:
            self._fail(silent_error(self._address, limit_ms))

    # --- moving bytes; never waits ------------------------------------------------------------------------

    def _write(self) -> bool:
        """Gives the kernel as much as it takes. True: nothing is left to write."""
        try:
            while self._rest or self._unsent:
                if not self._rest:
                    if not self._sent:
                        self._watch(self._unsent[0].blocks_ms)
                    self._rest = memoryview(b"".join([slot.request for slot in self._unsent]))
                    self._sent.extend(self._unsent)
                    self._unsent.clear()
                self._rest = self._rest[self._socket.send(self._rest) :]
        except self._would_block:
            return False
        except OSError as error:
            self._fail(closed_error(self._address, self._received, error))
        return True

    def _read(self) -> None:
        """Takes what is there and hands it out."""
        sock, reader = self._socket, self._reader
        try:
            while True:
                size = sock.recv_into(self._buffer)
                if not size:
                    self._fail(closed_error(self._address, self._received))
                    return
                self._heard_at = monotonic()
                reader.feed(self._buffer, 0, size)
                while (reply := reader.gets()) is not False:
                    self._take_in(reply)
                # What OpenSSL has decrypted already does not make the socket readable.
                if self._address.tls is None or not sock.pending():  # type: ignore[attr-defined]
                    return
        except self._would_block:
            return
        except UNREADABLE as error:
            self._fail(garbled_error(self._address, error))
        except OSError as error:
            self._fail(closed_error(self._address, self._received, error))
        except BaseException:
            # KeyboardInterrupt can strike between two bytecodes; bytes may be lost, so nobody may go on here.
            self.abort()
            raise

    def _take_in(self, reply: Reply) -> None:
        if not self._sent:
            raise hiredis.ProtocolError("an answer that nobody asked for")
        self._received.append(reply)
        oldest = self._sent[0]
        if len(self._received) == oldest.wanted:
            self._sent.popleft()
            oldest.replies, self._received = self._received, []
            if self._errors:
                self._errors.clear()
                oldest.replies = RepliesWithErrors(oldest.replies)
            oldest.finish()

    def _fail(self, error: RedisConnectionError) -> None:
        """Ends the connection and everybody's waiting. Each waiter has an exception of its own."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with suppress(RuntimeError):  # no loop runs here: then nobody is waiting either
            self._notify_closing(self._socket)
        self._socket.close()
        sent, unsent = list(self._sent), list(self._unsent)
        self._sent.clear()
        self._unsent.clear()
        self._rest = memoryview(b"")
        for slot in sent:
            slot.finish(type(error)(str(error), may_have_executed=True))
        for slot in unsent:
            slot.finish(type(error)(str(error), may_have_executed=False))
