"""Runs Calls on connections of the running event loop: where the async form waits for the server.

Decides which connection a Call takes and how failures are survived (with the policy of
``_core.reconnect``). All tasks of an event loop share one connection, so that concurrent Calls become one
pipeline. It must never use a connection of another loop or process, and it starts no task.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.to_thread

from chasquimq._core.call import Call, Reply, missing_scripts
from chasquimq._core.profile import ServerProfile
from chasquimq._core.reconnect import connect_delay_ms, eval_request, lost_call_error, may_resend, splice
from chasquimq._dataclass import dataclass, field, replace
from chasquimq._net.anyio_transport import AnyioConnection, AnyioSlot
from chasquimq._net.asyncio_transport import AsyncioConnection
from chasquimq._net.event_loop import has_ended, is_asyncio, running_loop
from chasquimq.address import Address
from chasquimq.errors import ClosedError, RedisConnectionError

if TYPE_CHECKING:
    from chasquimq.embedded import EmbeddedServer

__all__ = ["Client", "Connection"]

T = TypeVar("T")

Connection = AsyncioConnection | AnyioConnection
Waiter = asyncio.Future[list[Reply]] | AnyioSlot


def _new_lock() -> asyncio.Lock | anyio.Lock:
    """A lock of the running loop. Without need, anyio's takes longer to load than all else before the first job."""
    return asyncio.Lock() if is_asyncio() else anyio.Lock()


@dataclass(slots=True)
class _Home:
    """What belongs to one event loop: its shared connection, and the lock under which it is opened."""

    connection: Connection | None = None
    opening: asyncio.Lock | anyio.Lock = field(default_factory=_new_lock)
    failures: int = 0
    last_failure: Exception | None = None


class Client:
    """One shared connection per event loop. Lazy: opens nothing before the first Call."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._profile: ServerProfile | None = None
        self._embedded: EmbeddedServer | None = None
        self._is_closed = False
        self._connection: Connection | None = None
        self._homes: dict[object, _Home] = {}

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    async def run(self, call: Call[T]) -> T:
        """Sends ``call`` and returns its result.

        Raises what ``call.parse`` raises, ``ClosedError``, ``RedisConnectionError`` (see its
        ``may_have_executed``) and what opening a connection raises. A cancelled Call may have been executed.
        """
        attempt = 1
        failure: RedisConnectionError | None = None
        while True:
            connection = self._connection
            if connection is None or connection.is_closed or not connection.belongs_here:
                connection = await self._connect_for(call, failure)
            try:
                replies = await connection.submit(call.request, call.replies, call.blocks_ms)
                if missing := missing_scripts(call, replies):
                    await _repeat_as_eval(connection, call, replies, missing)
            except RedisConnectionError as error:
                if not may_resend(call, error, attempt):
                    raise lost_call_error(call, error) from error
                attempt += 1
                failure = error
            else:
                return call.parse(replies)

    async def _connect_for(self, call: Call[Any], failure: RedisConnectionError | None) -> Connection:
        """A connection to send the Call. If there is none, what became of an earlier sending is still told."""
        try:
            return await self._connect()
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
                connection = await self._connect()
                while len(under_way) < window and not connection.is_closed and (call := next(source, None)) is not None:
                    waiter = connection.submit(call.request, call.replies, call.blocks_ms)
                    under_way.append(_Sent(call, connection, waiter))
                if not under_way:
                    break
                sent = under_way.popleft()
                yield await self._answer(sent, number)
                number += 1
        finally:
            for sent in under_way:
                sent.waiter.cancel()

    async def profile(self) -> ServerProfile:
        """What the server can do. Connects if nothing has connected yet."""
        if self._profile is None:
            return (await self._connect()).profile
        return self._profile

    async def dedicated(self) -> Connection:
        """A connection for one owner, for example a worker's blocking reads; the owner closes it."""
        self._check_open()
        return await self._open()

    async def close(self) -> None:
        """Closes the shared connections when the Calls under way are answered. Idempotent."""
        self._is_closed = True
        homes, self._homes, self._connection = self._homes, {}, None
        try:
            for loop, home in homes.items():
                connection, home.connection = home.connection, None
                if connection is None or connection.pid != os.getpid():
                    continue
                if loop is running_loop():
                    await connection.aclose()
                else:
                    connection.abort_from_elsewhere()
        finally:
            embedded, self._embedded = self._embedded, None
            if embedded is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(embedded.release)

    async def _connect(self) -> Connection:
        """The running loop's shared connection; opened once, however many tasks ask at the same time."""
        self._check_open()
        loop = running_loop()
        home = self._homes.get(loop)
        if home is None:
            self._forget_ended_loops()
            home = self._homes[loop] = _Home()
        failures = home.failures
        async with home.opening:
            self._check_open()
            connection = home.connection
            if connection is None or connection.is_closed or connection.pid != os.getpid():
                if home.failures != failures and home.last_failure is not None:
                    # Whoever asked while an attempt failed shares its failure: a queue of waiters that each
                    # try in vain would keep the last one waiting for minutes.
                    raise _again(home.last_failure)
                try:
                    connection = home.connection = await self._open()
                except RedisConnectionError as error:
                    home.failures += 1
                    home.last_failure = error
                    raise
        self._connection = connection
        return connection

    async def _open(self) -> Connection:
        address = await self.reachable_address()
        attempt = 1
        while True:
            try:
                connection: Connection
                if is_asyncio():
                    connection = await AsyncioConnection.open(address)
                else:
                    connection = await AnyioConnection.open(address)
            except RedisConnectionError as error:
                delay_ms = connect_delay_ms(attempt, error, random.random())  # noqa: S311  jitter, not a secret
                if delay_ms is None:
                    raise
                await anyio.sleep(delay_ms / 1000)
                attempt += 1
            else:
                self._profile = connection.profile
                return connection

    async def reachable_address(self) -> Address:
        if not self._address.embedded:
            return self._address
        if self._embedded is None:
            from chasquimq import embedded  # noqa: PLC0415  only who embeds a server pays for its imports

            acquired = await anyio.to_thread.run_sync(embedded.acquire, self._address.embedded_directory)
            if self._embedded is None:
                self._embedded = acquired
            else:
                acquired.release()
        return replace(self._address, unix_socket_path=self._embedded.socket_path)

    async def _answer(self, sent: _Sent[T], number: int) -> T:
        """The result of a Call of a stream; it is sent again if its connection broke and that is safe."""
        call = sent.call
        try:
            replies = await sent.waiter
            if missing := missing_scripts(call, replies):
                await _repeat_as_eval(sent.connection, call, replies, missing)
        except RedisConnectionError as error:
            if not may_resend(call, error, 1):
                raise lost_call_error(call, error, f" (number {number} of the stream)") from error
        else:
            return call.parse(replies)
        return await self.run(call)

    def _forget_ended_loops(self) -> None:
        """Programs that call asyncio.run() again and again leave a loop behind each time."""
        for loop, home in list(self._homes.items()):
            connection = home.connection
            if has_ended(loop) or (connection is not None and connection.pid != os.getpid()):
                self._homes.pop(loop, None)
                if connection is not None:
                    connection.abort_from_elsewhere()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("This object was closed; its connections are gone. Create a new one.")


@dataclass(frozen=True, slots=True)
class _Sent(Generic[T]):
    """A Call of a stream that is under way."""

    call: Call[T]
    connection: Connection
    waiter: Waiter


async def _repeat_as_eval(
    connection: Connection, call: Call[Any], replies: list[Reply], missing: Sequence[int]
) -> None:
    try:
        splice(replies, missing, await connection.submit(eval_request(call, missing), len(missing)))
    except RedisConnectionError as error:
        # Whatever became of the repeated commands, the Call's other ones were executed before.
        error.may_have_executed = True
        raise


def _again(error: Exception) -> Exception:
    """The same error for another task: one object raised in two tasks would mix up their tracebacks."""
    return copy(error)
