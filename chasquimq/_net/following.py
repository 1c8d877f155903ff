"""Blocking connections to wherever a queue is now.

Opening one finds the primary first, where it has to be found (``_core.location`` knows whom to ask), and a command
that a server turns away is carried to where it belongs (``_core.following`` knows the way). This file only connects
and waits. What is said about one ``BlockingConnection`` holds here too: one thread at a time, only ``interrupt`` from
another one, and no use after an exchange that did not end.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Self

from chasquimq._core.call import Reply, ReplyReader
from chasquimq._core.following import Following, Pause, Send, follow
from chasquimq._core.location import Location
from chasquimq._core.log import logger_named
from chasquimq._core.profile import ServerProfile
from chasquimq._core.redirect import Turn, redirect_of
from chasquimq._net.blocking import BlockingConnection
from chasquimq._net.clock import SystemClock
from chasquimq.address import Address
from chasquimq.errors import ChasquiError, RedisConnectionError

__all__ = ["FollowingConnection", "Journey", "confirm", "open_home"]

logger = logger_named("chasquimq")

OWNERS_PATIENCE_MS = 1_000
"""Owners of a connection of their own look after it in a loop, with pauses of theirs; they are to see trouble soon."""


def open_home(location: Location) -> BlockingConnection:
    """Connects to where the queue is, and finds that out if need be. One attempt, nothing is tried again."""
    epoch = location.epoch
    try:
        address = location.home or _find(location)
        epoch = location.epoch
        return BlockingConnection.open(address, epoch)
    except RedisConnectionError:
        location.lost(epoch)
        raise


def confirm(location: Location) -> None:
    """Asks the sentinels, if it is time to, whether the primary is still the same; if not, connections move."""
    clock = SystemClock()
    if location.begins_to_doubt(clock.monotonic_ms()):
        try:
            _find(location)
        except ChasquiError as error:
            logger.warning("the sentinels do not say whether the primary is still the same: %s", error)
            location.stays_in_doubt(clock.monotonic_ms())


def _find(location: Location) -> Address:
    steps = location.find()
    try:
        question = next(steps)
        while True:
            try:
                with contextlib.closing(BlockingConnection.open(question.to)) as connection:
                    replies = connection.exchange(question.request)
            except ChasquiError as error:
                question = steps.throw(error)
            else:
                question = steps.send(replies)
    except StopIteration as end:
        found: Address = end.value
        return found


class Journey:
    """The connections that one owner needs while its commands are carried to where they belong.

    ``home`` is the one that is kept; beside it, while a slot moves, there may be one to the node that is asked.
    """

    def __init__(
        self,
        location: Location,
        home: BlockingConnection,
        reopen: Callable[[], BlockingConnection],
        rest: Callable[[float], object],
    ) -> None:
        """``reopen`` gives a connection to where the queue is; ``rest`` waits for so many seconds (also for none), and
        raises where the owner wants no more."""
        self.location = location
        self.home = home
        self._reopen = reopen
        self._rest = rest
        self._asked: tuple[Address, BlockingConnection] | None = None
        self._wrap: Callable[[ReplyReader], ReplyReader] | None = None

    def read_with(self, wrap: Callable[[ReplyReader], ReplyReader]) -> None:
        """``BlockingConnection.read_with`` for ``home``, whichever it is."""
        self._wrap = wrap
        self.home.read_with(wrap)

    @property
    def is_at_home(self) -> bool:
        """Whether all that is under way is on ``home``, and that is where the queue is."""
        return self._asked is None and self.home.epoch == self.location.epoch

    def mend(
        self,
        request: bytes,
        replies: list[Reply],
        blocks_ms: int = 0,
        *,
        eval_form: Callable[[int], bytes] | None = None,
        may_repeat: bool = True,
        patience_ms: float,
    ) -> None:
        """Puts the right answers into ``replies``, which came to ``request`` on ``home``."""
        steps: Following = follow(
            self.location,
            self.home.epoch,
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
                try:
                    answers = self._take(step, blocks_ms)
                except RedisConnectionError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answers)
        except StopIteration:
            return

    def go_home(self) -> BlockingConnection:
        """``home``, to where the queue is now."""
        if self.location.is_watched:
            confirm(self.location)
        return self.home if self.home.epoch == self.location.epoch else self._at_home()

    def _take(self, step: Send | Pause, blocks_ms: int) -> list[Reply]:
        if isinstance(step, Pause):
            self._rest(step.ms / 1000)
            return []
        connection = self._at_home() if step.to is None else self._at(step.to)
        self._rest(0)  # an interruption that came while it was opened did not reach it
        return connection.exchange(step.request, step.replies, blocks_ms)

    def _at_home(self) -> BlockingConnection:
        if self.home.is_closed or self.home.epoch != self.location.epoch:
            self.home.close()
            asked = self._asked
            if asked is not None and asked[0] == self.location.home and not asked[1].is_closed:
                # The slot has arrived where it was asked for.
                self._asked = None
                self.home = asked[1]
                self.home.epoch = self.location.epoch
            else:
                self.home = self._reopen()
            if self._wrap is not None:
                self.home.read_with(self._wrap)
        return self.home

    def _at(self, address: Address) -> BlockingConnection:
        if self._asked is None or self._asked[0] != address or self._asked[1].is_closed:
            self.forget_asked()
            self._asked = (address, BlockingConnection.open(address, self.location.epoch))
        return self._asked[1]

    def forget_asked(self) -> None:
        """Closes what is not ``home``."""
        if self._asked is not None:
            self._asked[1].close()
            self._asked = None

    def interrupt(self) -> None:
        """``BlockingConnection.interrupt`` for all of them."""
        self.home.interrupt()
        if (asked := self._asked) is not None:
            asked[1].interrupt()


class FollowingConnection:
    """A connection of one owner, for example a worker's reader, that goes where the queue goes."""

    def __init__(self, location: Location, connection: BlockingConnection) -> None:
        interrupted = self._is_interrupted = threading.Event()
        # Neither function knows this object: in a circle, the sockets of one that an interrupt has dropped would stay
        # open until the garbage collector comes.
        self._journey = Journey(
            location, connection, partial(_reopen, location, interrupted), partial(_pause, interrupted)
        )

    @classmethod
    def open(cls, location: Location) -> Self:
        """Connects in one attempt; raises what ``BlockingConnection.open`` raises."""
        return cls(location, open_home(location))

    @property
    def profile(self) -> ServerProfile:
        return self._journey.home.profile

    @property
    def display(self) -> str:
        """The server that it leads to, for messages."""
        return self._journey.home.display

    @property
    def client_id(self) -> int | None:
        """The server's name for this connection; None while it is not where the queue is."""
        return self._journey.home.client_id if self._journey.is_at_home else None

    @property
    def is_closed(self) -> bool:
        return self._journey.home.is_closed

    def exchange(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> list[Reply]:
        """``BlockingConnection.exchange``, with commands that were turned away carried to where they belong.

        They may be run twice: it is for owners whose commands bear that.
        """
        try:
            answers = self._journey.go_home().exchange(request, replies, blocks_ms)
            if type(answers) is not list:
                self._journey.mend(request, answers, blocks_ms, patience_ms=OWNERS_PATIENCE_MS)
        except BaseException as error:
            if isinstance(error, RedisConnectionError):
                self._journey.location.lost(self._journey.home.epoch)
            self.close()
            raise
        return answers

    def read_with(self, wrap: Callable[[ReplyReader], ReplyReader]) -> None:
        """``BlockingConnection.read_with``, wherever the queue goes."""
        self._journey.read_with(wrap)

    def send(self, request: bytes) -> None:
        """Sends without waiting for the answers; ``receive`` must take exactly those."""
        self._journey.home.send(request)

    def receive(self, replies: int = 1, blocks_ms: int = 0) -> list[Reply]:
        """The answers to what ``send`` has sent. If one says that the queue is elsewhere, this connection closes."""
        journey = self._journey
        answers = journey.home.receive(replies, blocks_ms)
        if type(answers) is not list and (redirects := [turn for reply in answers if (turn := redirect_of(reply))]):
            for redirect in redirects:
                if redirect.turn is Turn.MOVED and redirect.node is not None:
                    journey.location.moved(redirect.node, journey.home.epoch)
                elif redirect.turn is Turn.ELSEWHERE:
                    journey.location.refused(journey.home.epoch)
            self.close()
        return answers

    def can_read(self, timeout_ms: float) -> bool:
        """Waits up to ``timeout_ms`` for something to read: an answer, or the connection's end."""
        return self._journey.home.can_read(timeout_ms)

    def interrupt(self) -> None:
        """Ends a read, write or pause of another thread at once; it raises ``RedisConnectionError``."""
        self._is_interrupted.set()
        self._journey.interrupt()

    def close(self) -> None:
        """Closes the sockets; idempotent."""
        self._journey.forget_asked()
        self._journey.home.close()


def _reopen(location: Location, interrupted: threading.Event) -> BlockingConnection:
    _check(interrupted)
    return open_home(location)


def _pause(interrupted: threading.Event, seconds: float) -> None:
    interrupted.wait(seconds)
    _check(interrupted)


def _check(interrupted: threading.Event) -> None:
    if interrupted.is_set():
        raise RedisConnectionError("The connection was ended from this side while the queue was looked for.")
