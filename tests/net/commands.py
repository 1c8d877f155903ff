"""Requests for the tests of connections, packed by hand: independent of the code under test."""

from typing import Any

import hiredis

from chasquimq._core.call import Call, single

HELLO_REPLY = (
    b"*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$2\r\nid\r\n:7\r\n"
    b"*4\r\n*-1\r\n*-1\r\n*-1\r\n*-1\r\n"
)
"""What a Redis 7.2 says to HELLO and COMMAND INFO."""


def pack(*words: str | bytes | int) -> bytes:
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


def call(*words: str | bytes | int, idempotent: bool = False, **options: Any) -> Call[Any]:
    name = f"test.{words[0]!s}".lower()
    return Call(name, pack(*words), single(name, lambda reply: reply), idempotent=idempotent, **options)


def echo(token: str) -> Call[Any]:
    return call("ECHO", token, idempotent=True)


def script(text: str, *arguments: str) -> Call[Any]:
    """A script of which the server knows nothing yet, unless an EVAL has told it."""
    from hashlib import sha1

    digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return call("EVALSHA", digest, 0, *arguments, eval_form=lambda number: pack("EVAL", text, 0, *arguments))


def pipeline(*requests: bytes, eval_forms: dict[int, bytes] | None = None, **options: Any) -> Call[list[Any]]:
    """Several commands as one Call; the result is the replies, errors as their text."""

    def parse(replies: list[Any]) -> list[Any]:
        return [str(reply) if isinstance(reply, hiredis.ReplyError) else reply for reply in replies]

    forms = eval_forms or {}
    return Call("test.pipeline", b"".join(requests), parse, len(requests), eval_form=forms.__getitem__, **options)
