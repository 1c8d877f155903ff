"""Reading the events stream: what to ask, what the answers mean, and whether something was missed.

It keeps the place: the id of the last event that was read, resolved once from ``$``, so that nothing is lost between
two reads or over a reconnect. If the stream may have been trimmed behind that place, the reader is told by a Gap
(docs/wire-format.md, events stream). Nothing here waits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from chasquimq import events
from chasquimq._core.call import Call, Reply, single
from chasquimq._core.keys import QueueKeys
from chasquimq._fast import pack_command
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError
from chasquimq.options import QueueEventsOptions
from chasquimq.times import duration_ms

__all__ = ["Subscription", "parse_event"]

COUNT = 256
_EVENT_ID = re.compile(r"\$|\d{1,20}(-\d{1,20})?")


class _Read(Protocol):
    @property
    def event_id(self) -> str: ...


EventT = TypeVar("EventT", bound=_Read)


class Subscription(Generic[EventT]):
    """One reader's place in the events stream of a queue."""

    def __init__(
        self, keys: QueueKeys, options: QueueEventsOptions, parse: Callable[[str, list[bytes]], EventT]
    ) -> None:
        """``parse`` makes an event of an entry's id and its fields; see ``parse_event``."""
        last = "$" if options.last_event_id is None else options.last_event_id
        if not isinstance(last, str):
            raise InvalidOptionTypeError(f"last_event_id is {type(last).__name__}; expected a text.")
        if not _EVENT_ID.fullmatch(last):
            raise InvalidOptionError(
                f"last_event_id is {last!r}; expected '$' (from now on), '0' (everything that is there) or the "
                "event_id of an event."
            )
        timeout = options.blocking_timeout
        self._block_ms = 10_000 if timeout is None else max(1, duration_ms("blocking_timeout", timeout))
        self._stream = keys.events
        self._parse = parse
        self.last_id = last
        # Whoever goes on behind an event that was read before may come back after it was trimmed.
        self._may_have_gap = last not in ("$", "0", "0-0")

    @property
    def is_placed(self) -> bool:
        """Whether the place is a real id; before, ``place`` must be run."""
        return self.last_id != "$"

    def place(self, look_back: int = 1) -> Call[list[EventT]]:
        """Turns ``$`` into the id of the last event that exists now; the result are the last events, in order."""
        request = pack_command([b"XREVRANGE", self._stream, b"+", b"-", b"COUNT", look_back])

        def convert(reply: Reply) -> list[EventT]:
            found = [self._parse(entry_id.decode(), fields) for entry_id, fields in reversed(reply)]
            self.last_id = found[-1].event_id if found else "0-0"
            return found

        return Call("events.place", request, single("events.place", convert), idempotent=True)

    def was_interrupted(self) -> None:
        """The connection broke: more events than a trimmed stream holds may have come meanwhile."""
        self._may_have_gap = True

    def read(self) -> Call[list[EventT]]:
        """Waits for events behind the place and moves it."""
        request = pack_command(
            [b"XREAD", b"COUNT", COUNT, b"BLOCK", self._block_ms, b"STREAMS", self._stream, self.last_id]
        )
        return Call(
            "events.read", request, single("events.read", self._events), idempotent=True, blocks_ms=self._block_ms
        )

    def check(self, found: Sequence[EventT]) -> Call[events.Gap | None] | None:
        """After a read: the Call that finds out whether events before ``found`` were trimmed unread, if they may be.

        Trimming takes the oldest first: as long as the last event that was read is still there, nothing behind it
        is gone.
        """
        suspicious = self._may_have_gap or len(found) >= COUNT
        if not found or not suspicious or self._before in ("0", "0-0"):
            return None
        self._may_have_gap = False
        before, first = self._before, found[0].event_id
        request = pack_command([b"XRANGE", self._stream, before, before])

        def convert(reply: Reply) -> events.Gap | None:
            return None if reply else events.Gap(event_id=first, after=before)

        return Call("events.check", request, single("events.check", convert), idempotent=True)

    def _events(self, reply: Reply) -> list[EventT]:
        self._before = self.last_id
        if not reply:
            return []
        rows = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
        found = [self._parse(entry_id.decode(), fields) for entry_id, fields in rows]
        self.last_id = found[-1].event_id
        return found

    _before = "0-0"
    """The place before the last read."""


def parse_event(event_id: str, flat: list[bytes]) -> events.QueueEvent:
    """The event in an entry of the stream. Whatever it holds, an event comes out."""
    texts = [part.decode("utf-8", "replace") for part in flat]
    fields = dict(zip(texts[::2], texts[1::2], strict=False))
    make = _MAKERS.get(fields.get("e", ""))
    if make is None:
        name = fields.pop("e", "")
        return events.Unknown(event_id=event_id, ts=_number(fields, "ts"), event_name=name, fields=fields)
    return make(event_id, fields)


def aliases(event: events.QueueEvent) -> list[events.QueueEvent]:
    """What listeners hear besides: ``retries-exhausted`` for every ``dlq``."""
    if not isinstance(event, events.Dlq):
        return []
    return [
        events.RetriesExhausted(
            event_id=event.event_id,
            ts=event.ts,
            job_id=event.job_id,
            name=event.name,
            attempts_made=event.attempt,
            reason=event.reason,
        )
    ]


Fields = dict[str, str]


def _number(fields: Fields, name: str) -> int:
    try:
        return int(fields.get(name, "0"))
    except ValueError:
        return 0


def _job(event_id: str, fields: Fields) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "ts": _number(fields, "ts"),
        "job_id": fields.get("id", ""),
        "name": fields.get("n", ""),
    }


def _active(event_id: str, fields: Fields) -> events.QueueEvent:
    return events.Active(**_job(event_id, fields), attempt=_number(fields, "attempt"), prev=fields.get("prev", ""))


def _completed(event_id: str, fields: Fields) -> events.QueueEvent:
    return events.Completed(
        **_job(event_id, fields),
        attempt=_number(fields, "attempt"),
        duration_us=_number(fields, "duration_us"),
        returnvalue=_json(fields.get("returnvalue")),
    )


def _failed(event_id: str, fields: Fields) -> events.QueueEvent:
    return events.Failed(
        **_job(event_id, fields),
        failed_reason=fields.get("reason", ""),
        attempt=_number(fields, "attempt"),
        duration_us=_number(fields, "duration_us"),
    )


def _retry_scheduled(event_id: str, fields: Fields) -> events.QueueEvent:
    return events.RetryScheduled(
        **_job(event_id, fields), attempt=_number(fields, "attempt"), backoff_ms=_number(fields, "backoff_ms")
    )


def _dlq(event_id: str, fields: Fields) -> events.QueueEvent:
    return events.Dlq(**_job(event_id, fields), reason=fields.get("reason", ""), attempt=_number(fields, "attempt"))


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


_MAKERS: dict[str, Callable[[str, Fields], events.QueueEvent]] = {
    "waiting": lambda event_id, fields: events.Waiting(**_job(event_id, fields)),
    "active": _active,
    "completed": _completed,
    "failed": _failed,
    "retry-scheduled": _retry_scheduled,
    "delayed": lambda event_id, fields: events.Delayed(**_job(event_id, fields), delay=_number(fields, "delay_ms")),
    "dlq": _dlq,
    "drained": lambda event_id, fields: events.Drained(event_id=event_id, ts=_number(fields, "ts")),
}
