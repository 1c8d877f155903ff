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
    """What all events have.

    ``event``: the kind. ``event_id``: its id in the events stream. ``ts``: when it was written, by the writer's clock,
    milliseconds since the epoch.

    Events of a job have ``job_id`` and ``name``, the dispatch name, too.
    """

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
    """The handler returned.

    ``attempt``: which run it was, 1 in the first. ``returnvalue``: None unless the worker could write it into the
    event, as JSON of up to 1,000 characters. ``duration_us``: how long the handler ran, in microseconds.
    """

    event: ClassVar[str] = "completed"
    attempt: int = 0
    returnvalue: Any = None
    duration_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_JobEvent):
    """The handler raised; a retry or the dead-letter queue follows.

    ``failed_reason``: the error's text. ``attempt``: which run it was, 1 in the first. ``duration_us``: how long the
    handler ran, in microseconds.
    """

    event: ClassVar[str] = "failed"
    failed_reason: str = ""
    attempt: int = 0
    duration_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(_JobEvent):
    """The job waits for another run.

    ``attempt``: the number of that run. ``backoff_ms``: how long it waits.
    """

    event: ClassVar[str] = "retry-scheduled"
    attempt: int = 0
    backoff_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed(_JobEvent):
    """A producer added the job with a delay (if it writes events). ``delay`` is in milliseconds."""

    event: ClassVar[str] = "delayed"
    delay: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dlq(_JobEvent):
    """The job is in the dead-letter queue. ``job_id`` is empty for entries that could not be decoded.

    ``reason``: as in DlqEntry. ``attempt``: the run that failed.
    """

    event: ClassVar[str] = "dlq"
    reason: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriesExhausted(_JobEvent):
    """The same as Dlq under the product's other name; made by the subscriber, for listeners only.

    ``attempts_made``: the run that failed. ``reason``: as in DlqEntry.
    """

    event: ClassVar[str] = "retries-exhausted"
    attempts_made: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained(QueueEvent):
    """A worker found the queue empty after it had work."""

    event: ClassVar[str] = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(QueueEvent):
    """An event type that this version does not know: its ``event_name``, and its ``fields`` as texts."""

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
