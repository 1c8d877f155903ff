"""Runs Calls on connections of the running event loop: where the async form waits for the server.

Decides which connection a Call takes and how failures are survived (with the policies of ``_core.reconnect`` and
``_core.following``). All tasks of an event loop share one connection, so that concurrent Calls become one
pipeline. It must never use a connection of another loop or process, or one that leads where the queue is no more,
and it starts no task.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.to_thread

from chasquimq._core.call import Call, Reply
from chasquimq._core.location import Location
from chasquimq._core.profile import ServerProfile
from chasquimq._core.reconnect import connect_delay_ms, lost_call_error, may_resend, result_of
from chasquimq._dataclass import dataclass, field, replace
from chasquimq._net.anyio_transport import AnyioSlot
from chasquimq._net.event_loop import has_ended, new_lock, running_loop
from chasquimq._net.following import FollowingConnection as BlockingFollowingConnection
from chasquimq._net.forking import tell_in_children
from chasquimq.address import Address
from chasquimq.aio._following import FollowingConnection, RawConnection, confirm, mend, open_home, open_raw
from chasquimq.aio._undisturbed import undisturbed
from chasquimq.errors import ClosedError, RedisConnectionError

if TYPE_CHECKING:
    from chasquimq.embedded import EmbeddedServer

__all__ = ["Client", "Connection"]

T = TypeVar("T")

Connection = FollowingConnection
"""What ``dedicated`` gives."""
Waiter = asyncio.Future[list[Reply]] | AnyioSlot


@dataclass(slots=True)
class _Home:
    """What belongs to one event loop: its shared connections, and the lock under which they are opened."""

    connection: RawConnection | None = None
    asked: tuple[Address, RawConnection] | None = None
    """While a slot moves: a connection to the node that is asked for the keys which are there already."""
    follower: RawConnection | None = None
    """For reads that block while others go on."""
    retired: list[RawConnection] = field(default_factory=list)
    """They lead where the queue is no more, and somebody still waits for their answers."""
    opening: asyncio.Lock | anyio.Lock = field(default_factory=new_lock)
    failures: int = 0
    last_failure: Exception | None = None

    def all(self) -> Iterator[RawConnection]:
        asked = None if self.asked is None else self.asked[1]
        yield from (each for each in (self.connection, asked, self.follower) if each is not None)
        yield from self.retired

    def retire(self, connection: RawConnection) -> None:
        self.retired.append(connection)
        self.sweep()

    def sweep(self) -> None:
        """Closes the retired connections for which nobody waits any more."""
        for connection in self.retired:
            if connection.is_idle:
                connection.abort()
        self.retired = [connection for connection in self.retired if not connection.is_closed]


class Client:
    """One shared connection per event loop. Lazy: opens nothing before the first Call."""

    def __init__(self, address: Address, key: bytes = b"") -> None:
        """``key``: any key of the queue, whose slot is looked for in a Cluster."""
        self._address = address
        self._location = Location(address, key, self._forget_connection)
        self.known_profile: ServerProfile | None = None
        self._embedded: EmbeddedServer | None = None
        self._is_closed = False
        self._connection: RawConnection | None = None
        self._homes: dict[object, _Home] = {}
        tell_in_children(self)

    def _after_fork(self) -> None:
        self._connection = None
        self._homes = {}

    def leave_to_parent(self) -> None:
        """In a forked child: what it served goes on in the parent, and every Call is refused here."""
        self._is_closed = True
        self._embedded = None

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    async def run(self, call: Call[T], failure: RedisConnectionError | None = None) -> T:
        """Sends ``call`` and returns its result.

        Raises what ``call.parse`` raises, ``ClosedError``, ``RedisConnectionError`` (see its
        ``may_have_executed``) and what opening a connection raises. A cancelled Call may have been executed.
        ``failure``: what became of an earlier sending; what that may have done is not forgotten.
        """
        attempt = 1 if failure is None else 2
        if self._location.is_watched:
            self._check_open()
            await confirm(self._location)
        while True:
            connection = self._connection
            if connection is None or connection.is_closed or not connection.belongs_here:
                connection = await self._connect_for(call, failure)
            try:
                replies = await connection.submit(call.request, call.replies, call.blocks_ms)
                if type(replies) is not list:
                    await self._follow(connection, call, replies)
            except RedisConnectionError as error:
                self._location.lost(connection.epoch)
                if failure is not None and failure.may_have_executed:
                    error.may_have_executed = True
                if not may_resend(call, error, attempt):
                    raise lost_call_error(call, error) from error
                attempt += 1
                failure = error
            else:
                return call.parse(replies) if failure is None else result_of(call, replies, failure)

    async def _follow(self, connection: RawConnection, call: Call[Any], replies: list[Reply]) -> None:
        """Has what was turned away answered elsewhere, or with a script's text."""
        try:
            await mend(
                self._location,
                connection.epoch,
                call.request,
                replies,
                self._get,
                call.blocks_ms,
                eval_form=call.eval_form,
                may_repeat=call.idempotent,
                patience_ms=self._location.patience_ms,
            )
        finally:
            home = self._homes.get(running_loop())
            if home is not None and home.retired:
                home.sweep()

    async def _connect_for(self, call: Call[Any], failure: RedisConnectionError | None) -> RawConnection:
        """A connection to send the Call. If there is none, what became of an earlier sending is still told."""
        try:
            return await self._connect(self._patience_ms)
        except RedisConnectionError as error:
            if failure is None:
                raise
            error.may_have_executed = failure.may_have_executed
            raise lost_call_error(call, error) from failure

    async def stream(self, calls: Iterable[Call[T]], window: int = 3) -> AsyncGenerator[T, None]:
        """The results of ``calls`` in order, with up to ``window`` of them under way at a time.

        The next Call is taken from ``calls`` (and encoded) while the server works on the ones before.
        An error concerns the Call after the last result; the Calls behind it may have been executed too.
        """
        source = iter(calls)
        under_way: deque[_Sent[T]] = deque()
        number = 0
        try:
            while True:
                if self._location.is_watched:
                    await confirm(self._location)
                if not under_way:
                    if (call := next(source, None)) is None:
                        break  # for answers alone no connection is needed
                    under_way.append(_sent(call, await self._connect(self._patience_ms)))
                while (
                    len(under_way) < window
                    # What is under way on one that broke or was left may have to be sent again, before anything new.
                    and not (connection := under_way[-1].connection).is_closed
                    and connection.epoch == self._location.epoch
                    and (call := next(source, None)) is not None
                ):
                    under_way.append(_sent(call, connection))
                yield await self._answer(under_way.popleft(), number)
                number += 1
        finally:
            for sent in under_way:
                if sent.waiter is not None:
                    sent.waiter.cancel()

    async def profile(self) -> ServerProfile:
        """What the server can do. Connects if nothing has connected yet."""
        if self.known_profile is None:
            return (await self._connect(self._patience_ms)).profile
        return self.known_profile

    async def dedicated(self) -> Connection:
        """A connection for one owner, for example a worker's blocking reads; the owner closes it."""
        self._check_open()
        return FollowingConnection(self._location, await self._open(0))

    async def blocking_opener(self) -> Callable[[], BlockingFollowingConnection]:
        """What opens connections for a thread; each call is one attempt."""
        await self._start_embedded()
        return lambda: BlockingFollowingConnection.open(self._location)

    async def follower(self) -> RawConnection:
        """This loop's connection for reads that block while others go on, opened in one attempt.

        One task at a time asks for it.
        """
        home = self._home()
        connection = home.follower
        if connection is not None and connection.epoch != self._location.epoch:
            connection.abort()
        if connection is None or connection.is_closed:
            await self._start_embedded()
            connection = await open_home(self._location)
            if self._is_closed:
                connection.abort()
                self._check_open()
            home.follower = connection
        return connection

    async def close(self) -> None:
        """Closes the shared connections when the Calls under way are answered; cancelled, at once. Idempotent."""
        self._is_closed = True
        homes, self._homes, self._connection = self._homes, {}, None
        own: list[RawConnection] = []
        for loop, home in homes.items():
            if loop is running_loop():
                own = list(home.all())
                if home.follower is not None:
                    home.follower.abort()  # a read that blocks is not waited for
            else:
                for connection in home.all():
                    connection.abort_from_elsewhere()
        try:
            for connection in own:
                await connection.aclose()
        finally:
            for connection in own:
                connection.abort()
            embedded, self._embedded = self._embedded, None
            if embedded is not None:
                await undisturbed(lambda: anyio.to_thread.run_sync(embedded.release))

    @property
    def _patience_ms(self) -> int:
        """How long a connection is tried for where the server may be looked for."""
        return self._location.patience_ms if self._location.may_move else 0

    async def _connect(self, patience_ms: int) -> RawConnection:
        """The running loop's shared connection; opened once, however many tasks ask at the same time."""
        home = self._home()
        failures = home.failures
        async with home.opening:
            self._check_open()
            connection = home.connection
            if connection is not None and not connection.is_closed and connection.epoch != self._location.epoch:
                home.connection = None
                home.retire(connection)
                connection = self._arrived(home)
            if connection is None or connection.is_closed:
                if home.failures != failures and home.last_failure is not None:
                    # Whoever asked while an attempt failed shares its failure: a queue of waiters that each
                    # try in vain would keep the last one waiting for minutes. (One object raised in two tasks would
                    # mix up their tracebacks.)
                    raise copy(home.last_failure)
                try:
                    connection = home.connection = await self._open(patience_ms)
                except RedisConnectionError as error:
                    home.failures += 1
                    home.last_failure = error
                    raise
            self._connection = connection
        return connection

    def _arrived(self, home: _Home) -> RawConnection | None:
        """The connection to the node that was asked, if the queue is there now."""
        if home.asked is None or home.asked[0] != self._location.home or home.asked[1].is_closed:
            return None
        home.connection, home.asked = home.asked[1], None
        home.connection.epoch = self._location.epoch
        return home.connection

    async def _get(self, address: Address | None) -> RawConnection:
        """The shared connection to where the queue is, or to the node that is asked; one attempt to open it."""
        if address is None:
            return await self._connect(0)
        home = self._home()
        async with home.opening:
            self._check_open()
            if home.asked is None or home.asked[0] != address or home.asked[1].is_closed:
                if home.asked is not None:
                    home.retire(home.asked[1])
                    home.asked = None
                home.asked = (address, await open_raw(address, self._location.epoch))
            return home.asked[1]

    def _home(self) -> _Home:
        self._check_open()
        loop = running_loop()
        home = self._homes.get(loop)
        if home is None:
            self._forget_ended_loops()
            home = self._homes[loop] = _Home()
        return home

    def _forget_connection(self) -> None:
        """The queue has moved: whoever runs a Call next looks where to. Called from any thread."""
        self._connection = None

    async def _open(self, patience_ms: int) -> RawConnection:
        """A new connection; where the server is looked for, it is looked for until the patience is over."""
        await self._start_embedded()
        attempt, began = 1, time.monotonic()
        while True:
            try:
                connection = await open_home(self._location)
            except RedisConnectionError as error:
                left_ms = patience_ms - (time.monotonic() - began) * 1000
                delay_ms = connect_delay_ms(attempt, error, random.random(), left_ms)  # noqa: S311  jitter, not a secret
                if delay_ms is None:
                    raise
                await anyio.sleep(delay_ms / 1000)
                self._check_open()
                attempt += 1
            else:
                self.known_profile = connection.profile
                return connection

    async def _start_embedded(self) -> None:
        if not self._address.embedded or self._embedded is not None:
            return
        from chasquimq import embedded  # noqa: PLC0415  only who embeds a server pays for its imports

        await anyio.to_thread.run_sync(self._hold, embedded.acquire)

    def _hold(self, acquire: Callable[[str | None], EmbeddedServer]) -> None:
        """In a thread, which goes on when its caller is cancelled: what it starts is kept for ``close``."""
        acquired = acquire(self._address.embedded_directory)
        if self._embedded is None:
            self._embedded = acquired
            self._location.place(replace(self._address, unix_socket_path=str(acquired.socket_path)))
        if self._embedded is not acquired or self._is_closed:
            acquired.release()

    async def _answer(self, sent: _Sent[T], number: int) -> T:
        """The result of a Call of a stream; it is sent again if its connection broke and that is safe."""
        call = sent.call
        if sent.waiter is None:
            return await self.run(call)
        try:
            replies = await sent.waiter
            if type(replies) is not list:
                await self._follow(sent.connection, call, replies)
        except RedisConnectionError as error:
            self._location.lost(sent.connection.epoch)
            if not may_resend(call, error, 1):
                raise lost_call_error(call, error, f" (number {number} of the stream)") from error
            return await self.run(call, error)
        return call.parse(replies)

    def _forget_ended_loops(self) -> None:
        """Programs that call asyncio.run() again and again leave a loop behind each time."""
        for loop, home in list(self._homes.items()):
            if has_ended(loop):
                self._homes.pop(loop, None)
                for each in home.all():
                    each.abort_from_elsewhere()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("This object was closed; its connections are gone. Create a new one.")


@dataclass(frozen=True, slots=True)
class _Sent(Generic[T]):
    """A Call of a stream that is under way."""

    call: Call[T]
    connection: RawConnection
    waiter: Waiter | None
    """None: the connection turned out to be closed, so that nothing was sent."""


def _sent(call: Call[T], connection: RawConnection) -> _Sent[T]:
    try:
        return _Sent(call, connection, connection.submit(call.request, call.replies, call.blocks_ms))
    except RedisConnectionError:
        return _Sent(call, connection, None)
