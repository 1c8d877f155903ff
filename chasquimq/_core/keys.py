"""The table of keys: every name that this library uses in Redis is made here.

All keys of a queue carry the hash tag ``{chasqui:<queue>}``, so that they live in one Cluster slot and scripts
over several of them are legal (docs/wire-format.md, keys).
"""

from __future__ import annotations

from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError
from chasquimq.options import to_utf8

__all__ = ["EVENTS_MAX_LEN", "GROUP", "HANDED_BACK", "QueueKeys"]

GROUP = b"default"
"""The one consumer group of a queue; every language uses this name."""

HANDED_BACK = b"handed-back"
"""The consumer that owns entries which a stopping worker had read but not started. Nobody reads as it."""

EVENTS_MAX_LEN = 100_000
"""About how many events the events stream holds, whoever writes into it."""

_MAX_QUEUE_NAME_BYTES = 1024


class QueueKeys:
    """The keys of one queue as bytes."""

    __slots__ = (
        "delayed",
        "dlq",
        "events",
        "name",
        "promoter_lock",
        "repeat",
        "scheduler_lock",
        "scheduler_wake",
        "stream",
        "tag",
        "wake",
    )

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise InvalidOptionTypeError(f"the queue name is {type(name).__name__}; expected a text.")
        if not name.strip():
            raise InvalidOptionError("the queue name is blank. Name the queue, for example 'emails'.")
        encoded = to_utf8("the queue name", name)
        if len(encoded) > _MAX_QUEUE_NAME_BYTES:
            raise InvalidOptionError(
                f"the queue name has {len(encoded)} bytes; at most {_MAX_QUEUE_NAME_BYTES} are accepted."
            )
        self.name = name
        self.tag = b"{chasqui:" + encoded + b"}:"
        self.stream = self.tag + b"stream"
        self.delayed = self.tag + b"delayed"
        self.dlq = self.tag + b"dlq"
        self.events = self.tag + b"events"
        self.repeat = self.tag + b"repeat"
        self.promoter_lock = self.tag + b"promoter:lock"
        self.scheduler_lock = self.tag + b"scheduler:lock"
        self.wake = self.tag + b"wake"
        """A list of at most one token, pushed when a delayed job becomes the earliest; the promoter waits on it."""
        self.scheduler_wake = self.tag + b"wake:scheduler"
        """The same for repeatable specs and the scheduler."""

    def dedup_marker(self, job_id: str) -> bytes:
        return self.tag + b"dlid:" + job_id.encode()

    def delayed_index(self, job_id: str) -> bytes:
        return self.tag + b"didx:" + job_id.encode()

    def result(self, job_id: str) -> bytes:
        return self.tag + b"result:" + job_id.encode()

    def repeat_spec(self, spec_key: str) -> bytes:
        return self.tag + b"repeat:spec:" + spec_key.encode()
