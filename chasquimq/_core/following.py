"""What is sent again when a server has turned commands away, where, after which pause, and when to give up.

The rules:

* Only commands that were turned away are sent again, in their order; none twice, because none has had an effect.
* One answer with MOVED is enough to know where all of them belong. ASK is for one command, with ASKING before it.
* TRYAGAIN and servers that do not serve are waited for, with pauses that double. A round that gets nowhere pauses,
  too; so two nodes that send us back and forth do not make us run.
* NOSCRIPT is one more way to be turned away: that command is sent again with the script's text, to the same server.
* When the patience is over the answers stay what they are: errors of exactly those commands that had no effect.

A generator: it yields ``Send`` and ``Pause``, is sent the replies (or thrown the error), and puts what it got in the
places of the answers that it began with. It must never wait, and never do I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import takewhile

import hiredis

from chasquimq._core.call import Reply
from chasquimq._core.clock import Clock
from chasquimq._core.location import Location
from chasquimq._core.redirect import Redirect, Turn, redirect_of
from chasquimq.address import Address
from chasquimq.errors import AuthenticationError, RedisConnectionError

__all__ = ["Following", "Pause", "Send", "follow", "split_commands"]

ASKING = b"*1\r\n$6\r\nASKING\r\n"
FIRST_PAUSE_MS = 20.0
LONGEST_PAUSE_MS = 400.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send these commands and come back with their answers. ``to`` None: to wherever the queue is now."""

    request: bytes
    replies: int
    to: Address | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait that long, and come back with no answers."""

    ms: float


Following = Generator[Send | Pause, list[Reply], None]

_SCRIPT = object()
"""Beside the redirects: the server does not know the script."""
_NOBODY_THERE = Redirect(Turn.LATER)
"""In the place of an answer: the server could not be connected to."""


def follow(
    location: Location,
    epoch: int,
    request: bytes,
    replies: list[Reply],
    *,
    eval_form: Callable[[int], bytes] | None,
    may_repeat: bool,
    patience_ms: float,
    clock: Clock,
    draw: Callable[[], float],
) -> Following:
    """Mends ``replies``, the answers to ``request`` on a connection of ``epoch``.

    ``eval_form``: as in a Call. ``may_repeat``: running a command twice is harmless. ``patience_ms``: after that time
    it pauses no more. ``draw`` gives random numbers in [0, 1). Raises ``RedisConnectionError`` and what connecting
    raises.
    """
    commands: list[bytes] | None = None
    with_text: set[int] = set()
    asked: Address | None = None
    fruitless = 0
    until = clock.monotonic_ms() + patience_ms

    def turned_away() -> dict[int, object]:
        return {
            position: turn
            for position, reply in enumerate(replies)
            if (turn := _turn(reply, eval_form is not None and position not in with_text, may_repeat)) is not None
        }

    turned = turned_away()
    while turned:
        moved = [turn.node for turn in turned.values() if isinstance(turn, Redirect) and turn.turn is Turn.MOVED]
        if moved and moved[-1] is not None:
            location.moved(moved[-1], epoch)
            group = list(turned)
            asked = None
            must_pause = fruitless > 1
        else:
            first = next(iter(turned.values()))
            group = _leading(turned)
            must_pause = fruitless > 2
            if isinstance(first, Redirect):
                if first.turn is Turn.ELSEWHERE and asked is None:
                    location.refused(epoch)
                asked = location.address_of(first.node) if first.node is not None else None
                must_pause = must_pause or asked is None
        if must_pause:
            if clock.monotonic_ms() >= until:
                return
            yield Pause(min(FIRST_PAUSE_MS * 2.0**fruitless, LONGEST_PAUSE_MS) * (0.5 + draw()))
        if commands is None:
            commands = split_commands(request)
        for position in group:
            if turned[position] is _SCRIPT and eval_form is not None:
                commands[position] = eval_form(position)
                with_text.add(position)
        epoch = location.epoch
        try:
            answers = yield _send([commands[position] for position in group], asked)
        except RedisConnectionError as error:
            if error.may_have_executed or isinstance(error, AuthenticationError) or clock.monotonic_ms() >= until:
                # Whatever becomes of those that were turned away, the others were executed before.
                error.may_have_executed = error.may_have_executed or len(turned) < len(replies)
                raise
            if asked is None:
                location.lost(epoch)
            fruitless += 1
            turned = dict.fromkeys(turned, _NOBODY_THERE)
            continue
        for position, answer in zip(group, answers[1::2] if asked else answers, strict=True):
            replies[position] = answer
        before, turned = len(turned), turned_away()
        fruitless = fruitless + 1 if len(turned) >= before else 0


def _turn(reply: Reply, has_text: bool, may_repeat: bool) -> object:
    if not isinstance(reply, hiredis.ReplyError):
        return None
    if has_text and str(reply).startswith("NOSCRIPT"):
        return _SCRIPT
    return redirect_of(reply, may_repeat=may_repeat)


def _leading(turned: dict[int, object]) -> list[int]:
    """The first commands that are turned away, as far as they belong to one place."""
    first = next(iter(turned.values()))
    return [position for position, _ in takewhile(lambda row: row[1] == first, turned.items())]


def _send(commands: list[bytes], asked: Address | None) -> Send:
    if asked is None:
        return Send(b"".join(commands), len(commands))
    return Send(b"".join([ASKING + command for command in commands]), 2 * len(commands), asked)


def split_commands(request: bytes) -> list[bytes]:
    """The commands of a request of ours, as bytes that can be sent again."""
    commands = []
    start = at = 0
    while at < len(request):
        line_end = request.index(b"\r\n", at)
        words = int(request[at + 1 : line_end])
        at = line_end + 2
        for _ in range(words):
            line_end = request.index(b"\r\n", at)
            at = line_end + 2 + int(request[at + 1 : line_end]) + 2
        commands.append(request[start:at])
        start = at
    return commands
