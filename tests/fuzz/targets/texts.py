"""Texts: the events that anybody may write into the events stream, and the URLs that users hand in."""

from __future__ import annotations

import traceback

from chasquimq import events
from chasquimq._core.subscription import aliases, parse_event
from chasquimq.address import resolve_address
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError
from tests.fuzz.source import Source

SECRET = "s3cr3t"
_SCHEMES = (
    *("redis", "rediss", "valkey", "valkeys", "unix", "embedded", "redis+sentinel", "rediss+sentinel"),
    *("redis+cluster", "valkeys+cluster", "REDIS", "http", "", "redis+", "+sentinel"),
)
_NAMES = (
    "e",
    "id",
    "ts",
    "n",
    "attempt",
    "duration_us",
    "returnvalue",
    "reason",
    "backoff_ms",
    "delay_ms",
    "prev",
    "x",
)
_KINDS = ("waiting", "active", "completed", "failed", "retry-scheduled", "delayed", "dlq", "drained", "")


def event(data: bytes) -> None:
    """Whatever is in the stream, an event comes of it, with numbers where numbers are promised."""
    source = Source(data)
    flat: list[bytes] = [b"e", source.choice(_KINDS).encode()]
    while source and len(flat) < 40:
        flat.append(source.choice(_NAMES).encode() if source.byte() % 4 else source.binary())
        flat.append(source.binary())
    if source.byte() % 8 == 1:
        flat.pop()
    found = parse_event("1-0", flat)
    assert isinstance(found, events.QueueEvent)
    assert type(found.ts) is int
    for name in ("attempt", "duration_us", "backoff_ms", "delay"):
        assert type(getattr(found, name, 0)) is int
    for each in [found, *aliases(found)]:
        assert isinstance(each.event, str)


def url(data: bytes) -> None:
    """A URL is an address or refused with an error of ours, and nothing that is shown holds the password."""
    source = Source(data)
    scheme, user = source.choice(_SCHEMES), source.text()
    password = SECRET + source.text()
    has_password = source.byte() % 4 > 0
    rest = source.rest().decode("utf-8", "surrogateescape")
    # Behind embedded:// and unix:/// stands the name of a file and no login.
    is_file = scheme == "embedded" or (scheme == "unix" and user.startswith("/"))
    login = f"{user}:{password}@" if has_password and not is_file else user
    try:
        address = resolve_address(f"{scheme}://{login}{rest}")
    except (InvalidOptionError, InvalidOptionTypeError) as error:
        shown = "".join(traceback.format_exception(error))
        # The lines of source code that a traceback quotes are not ours to judge.
        assert SECRET not in shown.replace("password = SECRET", ""), "an error shows the password"
        return
    assert SECRET not in f"{address!r}{address.display}".replace(user, ""), "an address shows the password"
    assert 1 <= address.port <= 65_535
