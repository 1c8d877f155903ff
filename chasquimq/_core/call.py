"""The unit of work between deciding and waiting: an immutable ``Call``.

A Call carries a request as RESP bytes and knows how to read the answer. Whoever runs it only moves bytes. What
must be decided once for every frontend is decided here: which replies mean "repeat me as EVAL" and whether a
Call may be sent again after its connection broke. It must never do I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import hiredis

from chasquimq.errors import AuthenticationError, ServerReplyError

CHANGING_PASSWORDS = "Where passwords change, give a credential_provider, which is asked at every connect."

T = TypeVar("T")
U = TypeVar("U")

Reply = Any
"""What hiredis makes of one reply: bytes, int, None, list, or a ``hiredis.ReplyError`` *value*."""


class ReplyReader(Protocol):
    """What makes replies of received bytes: a ``hiredis.Reader``, or an ``EntryReader`` where a stream is read."""

    def feed(self, buffer: Any, offset: int, length: int, /) -> object: ...
    def gets(self) -> Any: ...
    def has_data(self) -> bool: ...


class RepliesWithErrors(list[Reply]):
    """Replies of which at least one is an error, or holds one.

    Connections tell them apart while they read, so that nobody has to look through replies without errors.
    """

    __slots__ = ()


class Call(Generic[T]):
    """One exchange with the server. Nobody changes a Call after it was made.

    ``name``: for errors and telemetry, for example ``queue.add``.
    ``request``: one or more complete RESP commands.
    ``parse``: makes the result of the replies; receives error replies as values.
    ``replies``: how many replies the request brings.
    ``idempotent``: sending these bytes twice is harmless, so they are sent again after a broken connection.
    ``repeatable``: the caller may repeat the operation, which makes new bytes; as ``idempotent`` if not said otherwise.
    ``eval_form``: for scripts: the command of the n-th reply with the script's text, for ``NOSCRIPT`` answers.
    ``blocks_ms``: how long the server may hold the answer back on purpose (BLOCK); a read deadline is added to it.
    """

    # Written out instead of a frozen dataclass, whose creation costs four times as much; there is one per add().
    __slots__ = ("blocks_ms", "eval_form", "idempotent", "name", "parse", "repeatable", "replies", "request")

    def __init__(
        self,
        name: str,
        request: bytes,
        parse: Callable[[list[Reply]], T],
        replies: int = 1,
        idempotent: bool = False,
        eval_form: Callable[[int], bytes] | None = None,
        blocks_ms: int = 0,
        repeatable: bool | None = None,
    ) -> None:
        self.name = name
        self.request = request
        self.parse = parse
        self.replies = replies
        self.idempotent = idempotent
        self.repeatable = idempotent if repeatable is None else repeatable
        self.eval_form = eval_form
        self.blocks_ms = blocks_ms

    def __repr__(self) -> str:
        return f"<Call {self.name} replies={self.replies}>"


def missing_scripts(call: Call[Any], replies: Sequence[Reply]) -> list[int]:
    """The numbers of the replies that say ``NOSCRIPT``: exactly these commands did nothing and are sent again."""
    if call.eval_form is None:
        return []
    return [
        number
        for number, reply in enumerate(replies)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
    ]


def reply_error(name: str, reply: hiredis.ReplyError) -> ServerReplyError | AuthenticationError:
    """The exception for an error reply."""
    text = str(reply)
    code = text.split(" ", 1)[0] if text else "ERR"
    if code == "ERR" and "ACL failure in script" in text:
        code = "NOPERM"  # what a script is not allowed to do comes wrapped in another error
    if code in ("NOAUTH", "WRONGPASS"):
        return AuthenticationError(
            f"{name}: the server refused the credentials ({text}). Check the username and password of the connection. "
            f"{CHANGING_PASSWORDS}"
        )
    return ServerReplyError(f"{name}: the server refused the command: {text.rstrip('.')}{_advice(code)}", code=code)


def single(name: str, convert: Callable[[Reply], T]) -> Callable[[list[Reply]], T]:
    """A ``parse`` for one reply: raises on an error reply, else converts."""

    def parse(replies: list[Reply]) -> T:
        reply = replies[0]
        if isinstance(reply, hiredis.ReplyError):
            raise reply_error(name, reply)
        return convert(reply)

    return parse


_ADVICE = {
    "OOM": "The server is at maxmemory and nothing was written. Free memory or raise maxmemory, then repeat.",
    "READONLY": "This server is a replica. Point the connection at the primary.",
    "NOPERM": "The ACL user lacks a right; docs/guides/deployment.md lists what is needed.",
    "WRONGTYPE": "Another program uses a key of this queue for something else.",
    "MISCONF": "The server cannot save its data and takes no writes until it can. Nothing was written; look at its log "
    "and its disk.",
    "LOADING": "The server is still loading its data; repeat in a moment.",
    "BUSY": "The server is running somebody's long script; repeat in a moment.",
    "TRYAGAIN": "The queue's slot is on its way to another node of the Cluster. Nothing was done; repeat in a moment.",
    "CLUSTERDOWN": "The Cluster does not serve the queue's slot. Nothing was done; look at CLUSTER INFO.",
    "MOVED": "The nodes of the Cluster do not agree on who serves the queue's slot; look at CLUSTER NODES.",
    "ASK": "The nodes of the Cluster do not agree on where the queue's slot goes; look at CLUSTER NODES.",
    "MASTERDOWN": "This server is a replica without its primary. Point the connection at the primary.",
    "NOREPLICAS": "The primary has fewer replicas than min-replicas-to-write. Nothing was written; repeat later.",
}


def _advice(code: str) -> str:
    return f". {_ADVICE[code]}" if code in _ADVICE else ""
