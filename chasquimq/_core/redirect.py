"""Answers that turn a command away: not executed here, or not now. What they say, and nothing else.

None of these commands has had an effect, so each may be sent again, wherever it belongs (``following`` decides).
"""

from __future__ import annotations

from enum import Enum

import hiredis

from chasquimq._core.call import Reply
from chasquimq._dataclass import dataclass
from chasquimq.address import Node

__all__ = ["Redirect", "Turn", "redirect_of"]


class Turn(Enum):
    """Where a command that was turned away belongs."""

    MOVED = "the slot is another node's now"
    ASK = "the key has moved to another node already, the slot has not yet"
    LATER = "some of the keys have moved and some have not"
    WITH_TEXT = "this server does not know the script"
    ELSEWHERE = "this server does not serve the queue (any more): a replica, or one that is cut off or loads its data"


@dataclass(frozen=True, slots=True)
class Redirect:
    """One such answer. ``node`` comes with MOVED and ASK; its host is empty where the answering node's is meant."""

    turn: Turn
    node: Node | None = None


_TURNS = {
    "TRYAGAIN": Turn.LATER,
    "CLUSTERDOWN": Turn.ELSEWHERE,
    "READONLY": Turn.ELSEWHERE,
    "MASTERDOWN": Turn.ELSEWHERE,
    "LOADING": Turn.ELSEWHERE,
    "NOREPLICAS": Turn.ELSEWHERE,
}


def redirect_of(reply: Reply, *, is_script: bool = False, may_repeat: bool = False) -> Redirect | None:
    """What ``reply`` says about where the command belongs; None for every other reply.

    ``is_script``: the command can be sent with a script's text, if the server asks for that. ``may_repeat``: running
    the command twice is harmless. Then an error counts, too, that a script meets half-way when a key that it has just
    deleted is missed in a slot that moves.
    """
    if not isinstance(reply, hiredis.ReplyError):
        return None
    text = str(reply)
    code = text.partition(" ")[0]
    if code in ("MOVED", "ASK"):
        node = _node(text)
        return None if node is None else Redirect(Turn[code], node)
    if code == "UNBLOCKED":  # CLIENT UNBLOCK says so, too
        if "instance state changed" in text:
            return Redirect(Turn.ELSEWHERE)
        return Redirect(Turn.LATER) if "no longer exists" in text else None  # deleted, or moved to another node
    if code == "NOSCRIPT":
        return Redirect(Turn.WITH_TEXT) if is_script else None
    if may_repeat and "non local key in a cluster node" in text:
        return Redirect(Turn.LATER)
    turn = _TURNS.get(code)
    return None if turn is None else Redirect(turn)


def _node(text: str) -> Node | None:
    """``MOVED 3999 127.0.0.1:6381``; the host may be an IPv6 address, a name, or empty."""
    host, _, port = text.rsplit(" ", maxsplit=1)[-1].rpartition(":")
    # The length is bounded because reading a number of thousands of digits is an error of its own.
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        return None
    return host.strip("[]"), int(port)
