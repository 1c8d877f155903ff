"""What is in a queue, as values that a test can compare. It reads, and must never change anything."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from chasquimq._core.call import Call, Reply, single
from chasquimq._core.keys import QueueKeys
from chasquimq._dataclass import dataclass
from chasquimq._fast import decode_envelope, decode_member, decode_payload, pack_command
from chasquimq.errors import EnvelopeError, PayloadDecodeError

__all__ = ["ANYTHING", "EnqueuedJob", "content_steps", "matching", "unexpected"]


class _Anything:
    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING: Any = _Anything()
"""Stands for data that does not matter."""


@dataclass(frozen=True, slots=True)
class EnqueuedJob:
    """A job that is in a queue: waiting, running, or delayed."""

    id: str
    """The job's id."""
    name: str
    """The dispatch name; may be empty."""
    payload: bytes
    """The data as it travels."""
    created_at_ms: int
    """When it was added, milliseconds since the epoch."""
    due_ms: int | None
    """When a delayed job (or a retry) becomes due, milliseconds since the epoch; None: it is due."""
    failed_runs: int
    """How many runs of it have failed so far."""
    max_attempts: int | None
    """The total of runs that it allows itself; None: it leaves that to the worker."""

    @property
    def is_delayed(self) -> bool:
        """Whether it is not due yet."""
        return self.due_ms is not None

    @property
    def data(self) -> Any:
        """The decoded data. Raises PayloadDecodeError when it is not MessagePack."""
        return decode_payload(self.payload)

    def __str__(self) -> str:
        try:
            data = repr(self.data)
        except PayloadDecodeError:
            data = repr(self.payload)
        return f"{self.name!r} {data:.200}{' (delayed)' if self.is_delayed else ''}"


def content_steps(keys: QueueKeys) -> Generator[Call[list[EnqueuedJob]], list[EnqueuedJob], list[EnqueuedJob]]:
    """Everything in the queue: first what is due, in order, then what is delayed, the next one first."""
    due = yield _read([b"XRANGE", keys.stream, b"-", b"+"], _from_stream)
    delayed = yield _read([b"ZRANGE", keys.delayed, 0, -1, b"WITHSCORES"], _from_delayed)
    return due + delayed


def matching(
    jobs: list[EnqueuedJob], name: str | None, data: Any, job_id: str | None, is_delayed: bool | None
) -> list[EnqueuedJob]:
    """The jobs that are as asked for; None and ANYTHING fit all."""
    return [
        job
        for job in jobs
        if (name is None or job.name == name)
        and (job_id is None or job.id == job_id)
        and (is_delayed is None or job.is_delayed == is_delayed)
        and (data is ANYTHING or _has_data(job, data))
    ]


def unexpected(what: str, jobs: list[EnqueuedJob]) -> AssertionError:
    """The error that shows what is in the queue instead."""
    content = "".join(f"\n  {job}" for job in jobs) or " nothing"
    return AssertionError(f"{what}. In the queue:{content}")


def _has_data(job: EnqueuedJob, data: Any) -> bool:
    try:
        return bool(job.data == data)
    except PayloadDecodeError:
        return False


def _read(command: list[Any], convert: Callable[[Reply], list[EnqueuedJob]]) -> Call[list[EnqueuedJob]]:
    return Call("testing.enqueued", pack_command(command), single("testing.enqueued", convert), idempotent=True)


def _from_stream(reply: Reply) -> list[EnqueuedJob]:
    found = []
    for _, flat in reply:
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        found += _job(fields.get(b"n", b""), fields.get(b"d", b""), None)
    return found


def _from_delayed(reply: Reply) -> list[EnqueuedJob]:
    found = []
    for member, score in zip(reply[::2], reply[1::2], strict=True):
        try:
            name, envelope = decode_member(member)
        except EnvelopeError:
            continue
        found += _job(name, envelope, int(float(score)))
    return found


def _job(name: bytes, envelope: bytes, due_ms: int | None) -> list[EnqueuedJob]:
    """One job, or none where an entry is not one: a worker would bury it."""
    try:
        read = decode_envelope(envelope)
    except EnvelopeError:
        return []
    return [
        EnqueuedJob(
            id=read.job_id,
            name=name.decode("utf-8", "replace"),
            payload=read.payload,
            created_at_ms=read.created_at_ms,
            due_ms=due_ms,
            failed_runs=read.attempt,
            max_attempts=read.max_attempts,
        )
    ]
