"""Runs Calls on blocking connections: where the synchronous form waits for the server.

Decides which connection a Call takes and how failures are survived (with the policy of
``_core.reconnect``). It may be shared by threads: each Call has a connection of its own while it runs. It
must never give a connection back to the pool after an exchange that did not end, and never use one that
another process opened. It starts no thread.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from chasquimq._core.call import Call, Reply, missing_scripts
from chasquimq._core.profile import ServerProfile
from chasquimq._core.reconnect import connect_delay_ms, eval_request, lost_call_error, may_resend, splice
from chasquimq._dataclass import dataclass, replace
from chasquimq._net.blocking import BlockingConnection
from chasquimq.address import Address
from chasquimq.errors import ClosedError, RedisConnectionError

if TYPE_CHECKING:
    from chasquimq.embedded import EmbeddedServer

__all__ = ["Client"]

T = TypeVar("T")

IDLE_CHECK_SECONDS = 0.1
"""A connection that rested longer is looked at before it is used: servers and proxies cut idle ones."""


class Client:
    """A pool of blocking connections to one server. Lazy: opens nothing before the first Call."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._profile: ServerProfile | None = None
        self._embedded: EmbeddedServer | None = None
        self._embedding = threading.Lock()
        self._is_closed = False
        # Last in, first out: few connections stay warm. append() and pop() of a list are atomic, so there
        # is no lock here that a fork could copy in its locked state.
        self._idle: list[tuple[BlockingConnection, float]] = []

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def run(self, call: Call[T]) -> T:
        """Sends ``call`` and returns its result.

        Raises what ``call.parse`` raises, ``ClosedError``, ``RedisConnectionError`` (see its
        ``may_have_executed``) and what ``BlockingConnection.open`` raises.
        """
        connection = self._take()
        attempt = 1
        while True:
            try:
                replies = connection.exchange(call.request, call.replies, call.blocks_ms)
                if missing := missing_scripts(call, replies):
                    _repeat_as_eval(connection, call, replies, missing)
            except RedisConnectionError as error:
                if not may_resend(call, error, attempt):
                    raise lost_call_error(call, error) from error
                attempt += 1
                connection = self._take_again(call, error)
            else:
                self._give_back(connection)
                return call.parse(replies)

    def _take_again(self, call: Call[Any], failure: RedisConnectionError) -> BlockingConnection:
        """A connection to send the Call again. If there is none, what became of the first sending is still told."""
        try:
            return self._take(after_failure=True)
        except RedisConnectionError as error:
            error.may_have_executed = failure.may_have_executed
            raise lost_call_error(call, error) from failure

    def stream(self, calls: Iterable[Call[T]], window: int = 3) -> Generator[T, None, None]:
        """The results of ``calls`` in order, with up to ``window`` of them under way at a time.

        The next Call is taken from ``calls`` (and encoded) while the server works on the ones before.
        An error concerns the Call after the last result; the Calls behind it may have been executed too.
        """
        source = iter(calls)
        under_way: deque[_Sent[T]] = deque()
        connection = self._take()
        done = 0
        try:
            while True:
                try:
                    while len(under_way) < window and (call := next(source, None)) is not None:
                        under_way.append(_Sent(call))
                        connection.send(call.request)
                    if not under_way:
                        break
                    replies = _first_answer(connection, under_way)
                except RedisConnectionError as error:
                    yield from self._rescue(under_way, error, done)
                    done += len(under_way)
                    under_way.clear()
                    connection = self._take(after_failure=True)
                else:
                    done += 1
                    yield under_way.popleft().call.parse(replies)
        finally:
            if under_way:
                connection.close()
            else:
                self._give_back(connection)

    def profile(self) -> ServerProfile:
        """What the server can do. Connects if nothing has connected yet."""
        if self._profile is None:
            self._give_back(self._take())
        assert self._profile is not None  # noqa: S101  set by every connection that was opened
        return self._profile

    def dedicated(self) -> BlockingConnection:
        """A connection for one owner, for example a worker's blocking reads; the owner closes it."""
        self._check_open()
        return self._open()

    def close(self) -> None:
        """Closes the idle connections now and the busy ones when their Calls end. Idempotent."""
        self._is_closed = True
        self._close_idle()
        with self._embedding:
            embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.release()

    def _take(self, *, after_failure: bool = False) -> BlockingConnection:
        """A connection that is ours and, as far as can be seen, alive."""
        self._check_open()
        pid = os.getpid()
        while True:
            try:
                connection, idle_since = self._idle.pop()
            except IndexError:
                return self._open()
            rested = after_failure or time.monotonic() - idle_since > IDLE_CHECK_SECONDS
            if connection.pid == pid and not (rested and connection.is_stale()):
                return connection
            # Closing sends nothing: a socket that came through a fork still belongs to the parent.
            connection.close()

    def _give_back(self, connection: BlockingConnection) -> None:
        if not connection.is_closed:
            self._idle.append((connection, time.monotonic()))
            if self._is_closed:
                self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._idle.pop()[0].close()

    def _open(self) -> BlockingConnection:
        address = self._reachable_address()
        attempt = 1
        while True:
            try:
                connection = BlockingConnection.open(address)
            except RedisConnectionError as error:
                delay_ms = connect_delay_ms(attempt, error, random.random())  # noqa: S311  jitter, not a secret
                if delay_ms is None:
                    raise
                time.sleep(delay_ms / 1000)
                attempt += 1
            else:
                self._profile = connection.profile
                return connection

    def _reachable_address(self) -> Address:
        if not self._address.embedded:
            return self._address
        with self._embedding:
            if self._embedded is None:
                from chasquimq import embedded  # noqa: PLC0415  only who embeds a server pays for its imports

                self._embedded = embedded.acquire(self._address.embedded_directory)
            return replace(self._address, unix_socket_path=str(self._embedded.socket_path))

    def _rescue(self, lost: Iterable[_Sent[T]], error: RedisConnectionError, done: int) -> Iterator[T]:
        """The results of the Calls of a stream whose connection broke, each sent again if that is safe."""
        for number, sent in enumerate(lost, done):
            call, replies = sent.call, sent.replies
            if replies is not None and not missing_scripts(call, replies):
                yield call.parse(replies)
            elif may_resend(call, error, 1):
                yield self.run(call)
            else:
                raise lost_call_error(call, error, f" (number {number} of the stream)") from error

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("This object was closed; its connections are gone. Create a new one.")


@dataclass(slots=True)
class _Sent(Generic[T]):
    """A Call of a stream that is under way, or answered while an earlier one had to be repeated."""

    call: Call[T]
    replies: list[Reply] | None = None


def _first_answer(connection: BlockingConnection, under_way: deque[_Sent[Any]]) -> list[Reply]:
    first = under_way[0]
    if first.replies is None:
        first.replies = connection.receive(first.call.replies, first.call.blocks_ms)
    if missing := missing_scripts(first.call, first.replies):
        # The answers to what was sent behind it come first on the wire.
        for sent in under_way:
            if sent.replies is None:
                sent.replies = connection.receive(sent.call.replies, sent.call.blocks_ms)
        _repeat_as_eval(connection, first.call, first.replies, missing)
    return first.replies


def _repeat_as_eval(
    connection: BlockingConnection, call: Call[Any], replies: list[Reply], missing: Sequence[int]
) -> None:
    try:
        splice(replies, missing, connection.exchange(eval_request(call, missing), len(missing)))
    except RedisConnectionError as error:
        # Whatever became of the repeated commands, the Call's other ones were executed before.
        error.may_have_executed = True
        raise
