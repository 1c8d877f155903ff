"""A connection that waits by blocking its thread.

Decides how bytes are moved on a blocking socket and when the server counts as dead. A connection belongs to
one thread at a time; only ``interrupt`` may be called from another one. It must never be used again after
an exchange that did not run to its end (an error, a timeout, KeyboardInterrupt): it closes itself, because
the replies still under way would be taken for those of the next caller. Error replies are values. It
imports no event loop.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from chasquimq._core.call import RepliesWithErrors, Reply, ReplyReader
from chasquimq._core.handshake import HandshakeSteps
from chasquimq._core.profile import ServerProfile
from chasquimq._core.reconnect import unreachable_error
from chasquimq._net.forking import keep_from_children
from chasquimq._net.opening import (
    RECEIVE_BUFFER,
    UNREADABLE,
    closed_error,
    connect_timeout_error,
    first_words,
    garbled_error,
    lost_at_once,
    noting_reader,
    raise_tls_error,
    silent_error,
    tls_context,
    tune,
)
from chasquimq.address import Address
from chasquimq.errors import RedisConnectionError, RedisTimeoutError

__all__ = ["BlockingConnection"]


class BlockingConnection:
    """One connection to the server, handshake done. Made by ``open``."""

    __slots__ = (
        "__weakref__",
        "_address",
        "_blocks_ms",
        "_buffer",
        "_closing",
        "_errors",
        "_interrupted",
        "_reader",
        "_socket",
        "_tls",
        "client_id",
        "epoch",
        "is_closed",
        "profile",
    )

    profile: ServerProfile
    client_id: int | None

    def __init__(self, address: Address, sock: socket.socket, epoch: int = 0) -> None:
        self.epoch = epoch
        """The place of the queue, by its ``Location``, to which this connection was opened."""
        self.is_closed = False
        self._address = address
        self._socket = sock
        self._tls = address.tls is not None
        self._reader: ReplyReader
        self._reader, self._errors = noting_reader()
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._blocks_ms = -1
        self._interrupted = False
        # Reentrant: a signal handler may interrupt the very thread that is closing.
        self._closing = threading.RLock()
        keep_from_children(self, sock)

    @classmethod
    def open(cls, address: Address, epoch: int = 0) -> BlockingConnection:
        """Connects and shakes hands, within ``connect_timeout_ms`` each.

        Raises ``RedisConnectionError`` and its kinds, ``UnsupportedServerError``, ``ServerReplyError``.
        """
        steps = first_words(address)
        connection = cls(address, _connect(address), epoch)
        try:
            connection._shake_hands(steps)
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def display(self) -> str:
        """The server, for messages."""
        return self._address.display

    def exchange(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> list[Reply]:
        """Sends ``request`` and returns its ``replies`` answers: a ``RepliesWithErrors`` if there are errors in it.

        ``blocks_ms`` is how long the server blocks on purpose; the read deadline is that much later. Raises
        ``RedisConnectionError`` or ``RedisTimeoutError``; after any exception the connection is closed.
        """
        try:
            if blocks_ms != self._blocks_ms:
                self._set_deadline(blocks_ms)
            self._send_all(request)
            return self._receive(replies)
        except BaseException:
            self.close()
            raise

    def send(self, request: bytes) -> None:
        """Sends without waiting for the answers; ``receive`` must take exactly those."""
        try:
            if self._blocks_ms < 0:
                self._set_deadline(0)
            self._send_all(request)
        except BaseException:
            self.close()
            raise

    def receive(self, replies: int = 1, blocks_ms: int = 0) -> list[Reply]:
        """The next ``replies`` answers to what ``send`` has sent."""
        try:
            if blocks_ms != self._blocks_ms:
                self._set_deadline(blocks_ms)
            return self._receive(replies)
        except BaseException:
            self.close()
            raise

    def read_with(self, wrap: Callable[[ReplyReader], ReplyReader]) -> None:
        """Lets what ``wrap`` makes of the reader read the replies; only while no answer is under way."""
        self._reader = wrap(self._reader)

    def is_stale(self) -> bool:
        """Whether an idle connection has something to read: its end, or answers that nobody asked for."""
        return self.is_closed or self.can_read(0)

    def can_read(self, timeout_ms: float) -> bool:
        """Waits up to ``timeout_ms`` for something to read: an answer, or the connection's end."""
        if self._reader.has_data() or (self._tls and self._socket.pending()):  # type: ignore[attr-defined]
            return True
        poll = select.poll()  # select() refuses descriptors from 1024 on
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_ms))

    def interrupt(self) -> None:
        """Ends a read or write of another thread at once; it raises ``RedisConnectionError``."""
        with self._closing:
            self._interrupted = True
            if not self.is_closed:
                # Around SSLSocket.shutdown, which would take the TLS state from under the other thread's
                # feet.
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the socket; idempotent. Sends nothing."""
        with self._closing:
            self.is_closed = True
            with suppress(OSError):
                self._socket.close()

    def _send_all(self, request: bytes) -> None:
        sent = 0
        try:
            sent = self._socket.send(request)
            while sent < len(request):
                sent += self._socket.send(memoryview(request)[sent:])
        except (TimeoutError, BlockingIOError):
            raise silent_error(self._address, self._address.socket_timeout_ms) from None
        except OSError as error:
            lost = self._lost([], error)
            # Half a request is never executed in TLS either, but half of a pipeline is.
            lost.may_have_executed = sent > 0
            raise lost from error

    def _receive(self, replies: int) -> list[Reply]:
        buffer, reader, errors = self._buffer, self._reader, self._errors
        receive, feed, gets = self._socket.recv_into, reader.feed, reader.gets
        received: list[Reply] = []
        try:
            while True:
                # Two calls of send() may have brought answers that are still in the reader.
                while (reply := gets()) is not False:
                    received.append(reply)
                    if len(received) == replies:
                        if errors:
                            errors.clear()
                            return RepliesWithErrors(received)
                        return received
                if not (size := receive(buffer)):
                    raise self._lost(received, None)
                feed(buffer, 0, size)
        except (TimeoutError, BlockingIOError):
            raise silent_error(self._address, self._address.socket_timeout_ms + max(self._blocks_ms, 0)) from None
        except UNREADABLE as error:
            raise garbled_error(self._address, error) from error
        except OSError as error:
            if isinstance(error, RedisConnectionError):
                raise
            raise self._lost(received, error) from error

    def _lost(self, received: list[Reply], cause: OSError | None) -> RedisConnectionError:
        if self._interrupted:
            return closed_error(self._address, (), "it was ended from this side while it was in use")
        return closed_error(self._address, received, cause)

    def _set_deadline(self, blocks_ms: int) -> None:
        """The limit for one silence of the server, kept by the kernel: settimeout() costs a poll() a read."""
        limit_ms = self._address.socket_timeout_ms + blocks_ms
        try:
            if self._tls:
                self._socket.settimeout(limit_ms / 1000)
            else:
                seconds, milliseconds = divmod(limit_ms, 1000)
                timeval = struct.pack("@ll", seconds, milliseconds * 1000)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        except OSError as error:
            raise self._lost([], error) from error
        self._blocks_ms = blocks_ms

    def _shake_hands(self, steps: HandshakeSteps) -> None:
        """Runs the handshake; all of it must fit into the connect timeout."""
        deadline = time.monotonic() + self._address.connect_timeout_ms / 1000
        self._blocks_ms = 0  # the deadline below stands in for the usual one
        try:
            request, replies = next(steps)
            while True:
                try:
                    self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                    self._send_all(request)
                    answers = self._receive(replies)
                except RedisTimeoutError:
                    raise connect_timeout_error(self._address) from None
                except RedisConnectionError as error:
                    raise lost_at_once(self._address, error) from error
                request, replies = steps.send(answers)
        except StopIteration as finished:
            self.profile = finished.value.profile
            self.client_id = finished.value.client_id
        self._socket.settimeout(None)
        self._blocks_ms = -1


def _connect(address: Address) -> socket.socket:
    if address.tls is None:
        return _connected_socket(address)
    context = tls_context(address.tls)
    sock = _connected_socket(address)
    try:
        return context.wrap_socket(sock, server_hostname=address.host)
    except TimeoutError:
        sock.close()
        raise connect_timeout_error(address) from None
    except (OSError, ValueError) as error:
        sock.close()
        raise_tls_error(address, error)
    except BaseException:
        sock.close()
        raise


def _connected_socket(address: Address) -> socket.socket:
    timeout = address.connect_timeout_ms / 1000
    try:
        if address.unix_socket_path is None:
            sock = socket.create_connection((address.host, address.port), timeout)
        else:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(timeout)
                sock.connect(address.unix_socket_path)
            except BaseException:
                sock.close()
                raise
    except TimeoutError:
        raise connect_timeout_error(address) from None
    except OSError as error:
        raise unreachable_error(address.display, str(error)) from error
    if address.unix_socket_path is None:
        tune(sock)
    return sock
