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
from itertools import takewhile

from chasquimq._core.call import Reply
from chasquimq._core.clock import Clock
from chasquimq._core.location import Location
from chasquimq._core.redirect import Redirect, Turn, redirect_of
from chasquimq._dataclass import dataclass
from chasquimq.address import Address
from chasquimq.errors import AuthenticationError, RedisConnectionError

__all__ = ["Following", "Pause", "Send", "follow", "split_commands"]

ASKING = b"*1\r\n$6\r\nASKING\r\n"
FIRST_PAUSE_MS = 20.0
LONGEST_PAUSE_MS = 400.0
FREE_ROUNDS = 2
"""So many rounds that got nowhere are not followed by a pause, if the answers say where to go."""


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
    has_text: set[int] = set()

    def turned_away() -> dict[int, Redirect]:
        found = {}
        for position, reply in enumerate(replies):
            is_script = eval_form is not None and position not in has_text
            if (redirect := redirect_of(reply, is_script=is_script, may_repeat=may_repeat)) is not None:
                found[position] = redirect
        return found

    asked: Address | None = None
    fruitless = 0
    until = clock.monotonic_ms() + patience_ms
    turned = turned_away()
    while turned:
        group, asked, must_pause = _next_stop(turned, location, epoch, asked)
        if must_pause or fruitless > FREE_ROUNDS:
            if clock.monotonic_ms() >= until:
                return
            yield Pause(min(FIRST_PAUSE_MS * 2.0**fruitless, LONGEST_PAUSE_MS) * (0.5 + draw()))
        if commands is None:
            commands = split_commands(request)
        for position in group:
            if turned[position].turn is Turn.WITH_TEXT and eval_form is not None:
                commands[position] = eval_form(position)
                has_text.add(position)
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


def _next_stop(
    turned: dict[int, Redirect], location: Location, epoch: int, asked: Address | None
) -> tuple[list[int], Address | None, bool]:
    """Which commands go next, whom to ask for them (None: the server that has the queue), and whether to pause before.

    ``asked``: who gave the last answers.
    """
    moved = [redirect.node for redirect in turned.values() if redirect.turn is Turn.MOVED and redirect.node]
    if moved:
        location.moved(moved[-1], epoch)
        return list(turned), None, False
    first = next(iter(turned.values()))
    group = [position for position, _ in takewhile(lambda row: row[1] == first, turned.items())]
    if first.turn is Turn.WITH_TEXT:
        return group, asked, False
    if first.node is not None:
        return group, location.address_of(first.node), False
    if first.turn is Turn.ELSEWHERE and asked is None:
        location.refused(epoch)
    return group, None, True


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
