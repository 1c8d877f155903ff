"""The events of a queue as values: what QueueEvents yields and hands to listeners.

One class per event of the product page. Numbers are ints. ``event_id`` is the id in the events stream; give it as
``last_event_id`` to go on behind it. ``ts`` is the writer's clock, milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chasquimq._dataclass import dataclass

__all__ = [
    "Active",
    "Completed",
    "Delayed",
    "Dlq",
    "Drained",
    "Failed",
    "Gap",
    "QueueEvent",
    "RetriesExhausted",
    "RetryScheduled",
    "Unknown",
    "Waiting",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEvent:
    """What all events have."""

    event: ClassVar[str] = ""
    event_id: str
    ts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _JobEvent(QueueEvent):
    job_id: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(_JobEvent):
    """The job is in the stream: a producer added it (if it writes events) or it was promoted when it became due."""

    event: ClassVar[str] = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Active(_JobEvent):
    """A worker has started the job. ``attempt`` is 1 in the first run; ``prev`` is reserved."""

    event: ClassVar[str] = "active"
    attempt: int = 0
    prev: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(_JobEvent):
    """The handler returned. ``returnvalue`` is None unless the worker could write it into the event."""

    event: ClassVar[str] = "completed"
    attempt: int = 0
    returnvalue: Any = None
    duration_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_JobEvent):
    """The handler raised; a retry or the dead-letter queue follows."""

    event: ClassVar[str] = "failed"
    failed_reason: str = ""
    attempt: int = 0
    duration_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(_JobEvent):
    """The job waits for another run; ``attempt`` is the number of that run."""

    event: ClassVar[str] = "retry-scheduled"
    attempt: int = 0
    backoff_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed(_JobEvent):
    """A producer added the job with a delay (if it writes events)."""

    event: ClassVar[str] = "delayed"
    delay: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dlq(_JobEvent):
    """The job is in the dead-letter queue. ``job_id`` is empty for entries that could not be decoded."""

    event: ClassVar[str] = "dlq"
    reason: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriesExhausted(_JobEvent):
    """The same as Dlq under the product's other name; made by the subscriber, for listeners only."""

    event: ClassVar[str] = "retries-exhausted"
    attempts_made: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained(QueueEvent):
    """A worker found the queue empty after it had work."""

    event: ClassVar[str] = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(QueueEvent):
    """An event type that this version does not know."""

    event: ClassVar[str] = "unknown"
    event_name: str = ""
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(QueueEvent):
    """Events may be missing before this one: the stream was trimmed behind the last one that was read.

    ``after`` is that one's id; ``event_id`` is the first one that is there again. Made by the subscriber.
    """

    event: ClassVar[str] = "gap"
    after: str = ""
