"""Connections of the running event loop to wherever a queue is now.

The asynchronous twin of ``_net.following``: ``_core.location`` knows whom to ask for the primary, ``_core.following``
where a command belongs that a server turned away; this file only connects and waits. It starts no task.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio

from chasquimq._core.call import Reply, ReplyReader
from chasquimq._core.following import Following, Pause, follow
from chasquimq._core.location import Location
from chasquimq._core.log import logger_named
from chasquimq._core.profile import ServerProfile
from chasquimq._net.anyio_transport import AnyioConnection
from chasquimq._net.asyncio_transport import AsyncioConnection
from chasquimq._net.clock import SystemClock
from chasquimq._net.event_loop import is_asyncio
from chasquimq.address import Address
from chasquimq.errors import ChasquiError, RedisConnectionError

__all__ = ["FollowingConnection", "RawConnection", "confirm", "mend", "open_home", "open_raw"]

logger = logger_named("chasquimq")

OWNERS_PATIENCE_MS = 1_000
"""Owners of a connection of their own look after it in a loop, with pauses of theirs; they are to see trouble soon."""

RawConnection: TypeAlias = AsyncioConnection | AnyioConnection
Get: TypeAlias = Callable[[Address | None], Awaitable[RawConnection]]


async def open_raw(address: Address, epoch: int = 0) -> RawConnection:
    """A connection to one server, of the kind that the running loop wants."""
    if is_asyncio():
        return await AsyncioConnection.open(address, epoch)
    return await AnyioConnection.open(address, epoch)


async def open_home(location: Location) -> RawConnection:
    """Connects to where the queue is, and finds that out if need be. One attempt, nothing is tried again."""
    epoch = location.epoch
    try:
        address = location.home or await _find(location)
        epoch = location.epoch
        return await open_raw(address, epoch)
    except RedisConnectionError:
        location.lost(epoch)
        raise


async def confirm(location: Location) -> None:
    """Asks the sentinels, if it is time to, whether the primary is still the same; if not, connections move."""
    clock = SystemClock()
    if location.begins_to_doubt(clock.monotonic_ms()):
        try:
            await _find(location)
        except ChasquiError as error:
            logger.warning("the sentinels do not say whether the primary is still the same: %s", error)
            location.stays_in_doubt(clock.monotonic_ms())


async def _find(location: Location) -> Address:
    steps = location.find()
    try:
        question = next(steps)
        while True:
            try:
                connection = await open_raw(question.to)
                try:
                    replies = await connection.exchange(question.request)
                finally:
                    connection.abort()
            except ChasquiError as error:
                question = steps.throw(error)
            else:
                question = steps.send(replies)
    except StopIteration as end:
        found: Address = end.value
        return found


async def mend(
    location: Location,
    epoch: int,
    request: bytes,
    replies: list[Reply],
    get: Get,
    blocks_ms: int = 0,
    *,
    eval_form: Callable[[int], bytes] | None = None,
    may_repeat: bool = True,
    patience_ms: float,
) -> None:
    """Puts the right answers into ``replies``, which came to ``request`` on a connection of ``epoch``.

    ``get`` gives a connection to an address, or to where the queue is.
    """
    steps: Following = follow(
        location,
        epoch,
        request,
        replies,
        eval_form=eval_form,
        may_repeat=may_repeat,
        patience_ms=patience_ms,
        clock=SystemClock(),
        draw=random.random,
    )
    try:
        step = next(steps)
        while True:
            answers: list[Reply] = []
            try:
                if isinstance(step, Pause):
                    await anyio.sleep(step.ms / 1000)
                else:
                    connection = await get(step.to)
                    answers = await connection.exchange(step.request, step.replies, blocks_ms)
            except RedisConnectionError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answers)
    except StopIteration:
        return


class FollowingConnection:
    """A connection of one owner, for example a worker's reader, that goes where the queue goes."""

    def __init__(self, location: Location, connection: RawConnection) -> None:
        self._location = location
        self._home = connection
        self._asked: tuple[Address, RawConnection] | None = None
        self._wrap: Callable[[ReplyReader], ReplyReader] | None = None

    @property
    def profile(self) -> ServerProfile:
        return self._home.profile

    @property
    def client_id(self) -> int | None:
        """The server's name for this connection; None while it is not where the queue is."""
        is_at_home = self._asked is None and self._home.epoch == self._location.epoch
        return self._home.client_id if is_at_home else None

    @property
    def is_closed(self) -> bool:
        return self._home.is_closed

    async def submit(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> list[Reply]:
        """The ``replies`` answers, with commands that were turned away carried to where they belong.

        They may be run twice: it is for owners whose commands bear that. Raises ``RedisConnectionError``.
        """
        try:
            if self._location.is_watched:
                await confirm(self._location)
            home = self._home if self._home.epoch == self._location.epoch else await self._get_home()
            answers = await home.submit(request, replies, blocks_ms)
            if type(answers) is not list:
                await mend(
                    self._location, home.epoch, request, answers, self._get, blocks_ms, patience_ms=OWNERS_PATIENCE_MS
                )
        except RedisConnectionError:
            self._location.lost(self._home.epoch)
            self.abort()
            raise
        return answers

    exchange = submit

    def read_with(self, wrap: Callable[[ReplyReader], ReplyReader]) -> None:
        """``read_with`` of the connection, wherever the queue goes."""
        self._wrap = wrap
        self._home.read_with(wrap)

    def abort(self) -> None:
        """Closes at once; idempotent."""
        self._forget_asked()
        self._home.abort()

    async def aclose(self) -> None:
        """Waits for the answers under way, then closes."""
        self._forget_asked()
        await self._home.aclose()

    async def _get(self, address: Address | None) -> RawConnection:
        if address is None:
            return await self._get_home()
        if self._asked is None or self._asked[0] != address or self._asked[1].is_closed:
            self._forget_asked()
            self._asked = (address, await open_raw(address, self._location.epoch))
        return self._asked[1]

    async def _get_home(self) -> RawConnection:
        if self._home.is_closed or self._home.epoch != self._location.epoch:
            self._home.abort()
            asked = self._asked
            if asked is not None and asked[0] == self._location.home and not asked[1].is_closed:
                # The slot has arrived where it was asked for.
                self._asked = None
                self._home = asked[1]
                self._home.epoch = self._location.epoch
            else:
                self._home = await open_home(self._location)
            if self._wrap is not None:
                self._home.read_with(self._wrap)
        return self._home

    def _forget_asked(self) -> None:
        if self._asked is not None:
            self._asked[1].abort()
            self._asked = None
