"""Runs Calls on blocking connections: where the synchronous form waits for the server.

Decides which connection a Call takes and how failures are survived (with the policies of ``_core.reconnect`` and
``_core.following``). It may be shared by threads: each Call has a connection of its own while it runs. It
must never give a connection back to the pool after an exchange that did not end, and never use one that
another process opened, or that leads where the queue is no more. It starts no thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from chasquimq._core.call import Call, Reply
from chasquimq._core.location import Location
from chasquimq._core.profile import ServerProfile
from chasquimq._core.reconnect import connect_delay_ms, lost_call_error, may_resend, result_of
from chasquimq._dataclass import dataclass, replace
from chasquimq._net.blocking import BlockingConnection
from chasquimq._net.following import FollowingConnection, Journey, confirm, open_home
from chasquimq._net.forking import tell_in_children
from chasquimq.address import Address
from chasquimq.errors import ClosedError, RedisConnectionError

if TYPE_CHECKING:
    from chasquimq.embedded import EmbeddedServer

__all__ = ["Client"]

T = TypeVar("T")

IDLE_CHECK_SECONDS = 0.1
"""A connection that rested longer is looked at before it is used: servers and proxies cut idle ones."""


class Client:
    """A pool of blocking connections to the server of one queue. Lazy: opens nothing before the first Call."""

    def __init__(self, address: Address, key: bytes = b"") -> None:
        """``key``: any key of the queue, whose slot is looked for in a Cluster."""
        self._address = address
        self._location = Location(address, key, self._close_idle)
        self.known_profile: ServerProfile | None = None
        self._embedded: EmbeddedServer | None = None
        self._embedding = threading.Lock()
        self._is_closed = False
        # Last in, first out: few connections stay warm. append() and pop() of a list are atomic.
        self._idle: list[tuple[BlockingConnection, float]] = []
        tell_in_children(self)

    def _after_fork(self) -> None:
        self._embedding = threading.Lock()
        self._idle = []

    def leave_to_parent(self) -> None:
        """In a forked child: what it served goes on in the parent, and every Call is refused here."""
        self._is_closed = True
        self._embedded = None

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def run(self, call: Call[T], failure: RedisConnectionError | None = None) -> T:
        """Sends ``call`` and returns its result.

        Raises what ``call.parse`` raises, ``ClosedError``, ``RedisConnectionError`` (see its
        ``may_have_executed``) and what ``BlockingConnection.open`` raises.
        ``failure``: what became of an earlier sending; what that may have done is not forgotten.
        """
        connection = self._take() if failure is None else self._take_again(call, failure)
        attempt = 1 if failure is None else 2
        while True:
            try:
                replies = connection.exchange(call.request, call.replies, call.blocks_ms)
                if type(replies) is not list:
                    connection = self._follow(connection, call, replies)
            except RedisConnectionError as error:
                self._location.lost(connection.epoch)
                if failure is not None and failure.may_have_executed:
                    error.may_have_executed = True
                if not may_resend(call, error, attempt):
                    raise lost_call_error(call, error) from error
                attempt += 1
                failure = error
                connection = self._take_again(call, error)
            else:
                self._give_back(connection)
                return call.parse(replies) if failure is None else result_of(call, replies, failure)

    def _follow(self, connection: BlockingConnection, call: Call[Any], replies: list[Reply]) -> BlockingConnection:
        """Has what was turned away answered elsewhere, or with a script's text; the connection to go on with."""
        journey = Journey(self._location, connection, self._take_at_once, time.sleep)
        try:
            journey.mend(
                call.request,
                replies,
                call.blocks_ms,
                eval_form=call.eval_form,
                may_repeat=call.idempotent,
                patience_ms=self._location.patience_ms,
            )
        except BaseException:
            journey.home.close()
            raise
        finally:
            journey.forget_asked()
        return journey.home

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
        call: Call[T] | None = None  # taken from the source, and not sent yet
        under_way: deque[_Sent[T]] = deque()
        connection = self._take()
        done = 0
        try:
            while under_way or call is not None or (call := next(source, None)) is not None:
                try:
                    if self._location.is_watched:
                        confirm(self._location)
                    if not under_way and (connection.is_closed or connection.epoch != self._location.epoch):
                        connection.close()
                        connection = self._take(after_failure=True)
                    while self._may_send(under_way, window, connection):
                        call = next(source, None) if call is None else call
                        if call is None:
                            break
                        under_way.append(sent := _Sent(call))
                        call = None
                        connection.send(sent.call.request)
                        sent.is_whole = True
                    replies, connection = self._first_answer(connection, under_way)
                except RedisConnectionError as error:
                    if not under_way:
                        raise
                    self._location.lost(connection.epoch)
                    yield from self._rescue(under_way, error, done)
                    done += len(under_way)
                    under_way.clear()
                else:
                    done += 1
                    yield under_way.popleft().call.parse(replies)
        finally:
            if under_way:
                connection.close()
            else:
                self._give_back(connection)

    def _may_send(self, under_way: deque[_Sent[Any]], window: int, connection: BlockingConnection) -> bool:
        """Whether the next Call of a stream may go out: not before others that may have to be sent again elsewhere."""
        if not under_way:
            return True
        is_in_order = under_way[-1].replies is None and connection.epoch == self._location.epoch
        return is_in_order and len(under_way) < window

    def profile(self) -> ServerProfile:
        """What the server can do. Connects if nothing has connected yet."""
        if self.known_profile is None:
            self._give_back(self._take())
        assert self.known_profile is not None  # noqa: S101  set by every connection that was opened
        return self.known_profile

    def dedicated(self) -> FollowingConnection:
        """A connection for one owner, for example a worker's blocking reads; the owner closes it."""
        self._check_open()
        return FollowingConnection(self._location, self._open(0))

    def follower(self, within_ms: float) -> FollowingConnection:
        """A connection for reads that block while others go on; the owner closes it.

        Opened in one attempt, and within this time unless the server has to be found.
        """
        self._check_open()
        self._start_embedded()
        home, epoch = self._location.home, self._location.epoch
        if home is None:
            return FollowingConnection.open(self._location)
        limit_ms = max(1, min(home.connect_timeout_ms, int(within_ms)))
        connection = BlockingConnection.open(replace(home, connect_timeout_ms=limit_ms), epoch)
        return FollowingConnection(self._location, connection)

    def close(self) -> None:
        """Closes the idle connections now and the busy ones when their Calls end. Idempotent."""
        self._is_closed = True
        self._close_idle()
        with self._embedding:
            embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.release()

    def _take(self, *, after_failure: bool = False, is_patient: bool = True) -> BlockingConnection:
        """A connection that is ours and, as far as can be seen, alive. Without patience it is opened in one attempt."""
        if self._is_closed:
            self._check_open()
        location = self._location
        if location.is_watched:
            confirm(location)
        epoch = location.epoch
        while True:
            try:
                connection, idle_since = self._idle.pop()
            except IndexError:
                break  # not opened here: its failure would be told with an IndexError before it
            rested = after_failure or time.monotonic() - idle_since > IDLE_CHECK_SECONDS
            if connection.epoch == epoch and not (rested and connection.is_stale()):
                return connection
            connection.close()
        if not is_patient:
            return self._noted(open_home(location))
        return self._open(location.patience_ms if location.may_move else 0)

    def _take_at_once(self) -> BlockingConnection:
        return self._take(after_failure=True, is_patient=False)

    def _give_back(self, connection: BlockingConnection) -> None:
        if not connection.is_closed:
            self._idle.append((connection, time.monotonic()))
            if self._is_closed:
                self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._idle.pop()[0].close()

    def _open(self, patience_ms: int) -> BlockingConnection:
        """A new connection; where the server is looked for, it is looked for until the patience is over."""
        self._start_embedded()
        attempt, began = 1, time.monotonic()
        while True:
            try:
                return self._noted(open_home(self._location))
            except RedisConnectionError as error:
                left_ms = patience_ms - (time.monotonic() - began) * 1000
                delay_ms = connect_delay_ms(attempt, error, random.random(), left_ms)  # noqa: S311  jitter, not a secret
                if delay_ms is None:
                    raise
                time.sleep(delay_ms / 1000)
                self._check_open()
                attempt += 1

    def _noted(self, connection: BlockingConnection) -> BlockingConnection:
        self.known_profile = connection.profile
        return connection

    def _start_embedded(self) -> None:
        if not self._address.embedded:
            return
        with self._embedding:
            if self._embedded is None:
                from chasquimq import embedded  # noqa: PLC0415  only who embeds a server pays for its imports

                self._embedded = embedded.acquire(self._address.embedded_directory)
                self._location.place(replace(self._address, unix_socket_path=str(self._embedded.socket_path)))

    def _rescue(self, lost: Iterable[_Sent[T]], error: RedisConnectionError, done: int) -> Iterator[T]:
        """The results of the Calls of a stream whose connection broke, each sent again if that is safe."""
        for number, sent in enumerate(lost, done):
            call, replies = sent.call, sent.replies
            if replies is not None:
                if type(replies) is not list:
                    self._give_back(self._follow(self._take(), call, replies))
                yield call.parse(replies)
                continue
            if sent.is_whole:
                # The error may be about a later Call, of which nothing had left.
                error.may_have_executed = True
            if not may_resend(call, error, 1):
                raise lost_call_error(call, error, f" (number {number} of the stream)") from error
            yield self.run(call, error)

    def _first_answer(
        self, connection: BlockingConnection, under_way: deque[_Sent[Any]]
    ) -> tuple[list[Reply], BlockingConnection]:
        """The answer to the first Call under way, and the connection to go on with."""
        first = under_way[0]
        if first.replies is None:
            first.replies = connection.receive(first.call.replies, first.call.blocks_ms)
        if type(first.replies) is not list:
            # The answers to what was sent behind it come first on the wire.
            for sent in under_way:
                if sent.replies is None:
                    sent.replies = connection.receive(sent.call.replies, sent.call.blocks_ms)
            connection = self._follow(connection, first.call, first.replies)
        return first.replies, connection

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("This object was closed; its connections are gone. Create a new one.")


@dataclass(slots=True)
class _Sent(Generic[T]):
    """A Call of a stream that is under way, or answered while an earlier one had to be repeated."""

    call: Call[T]
    replies: list[Reply] | None = None
    is_whole: bool = False
    """Whether all of it was handed to the connection."""
