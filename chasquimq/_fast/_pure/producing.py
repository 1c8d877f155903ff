"""Plain jobs into requests, for ``add`` and ``add_bulk``.

A plain job has a known name and data that needs no explanation; it travels as one XADD with a fresh id
(docs/wire-format.md, immediate add). Decides only whether a job is plain: whoever calls knows the other forms,
the options and the error messages, and gets back everything that this module does not take. It must never refuse a
job or write half of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from chasquimq._fast._pure.envelope import encode_envelope
from chasquimq._fast._pure.frames import FrameBuffer, JobHead, frame_job
from chasquimq._fast._pure.job_state import JobState
from chasquimq._fast._pure.payload import encode_payload
from chasquimq._fast._pure.ulid import mint_ulid
from chasquimq.errors import PayloadEncodeError

__all__ = ["END", "FULL", "PlainJobs", "PlainRows", "new_job"]

JobT = TypeVar("JobT", bound=JobState)


class _Stop(Enum):
    FULL = "full"
    END = "end"


FULL: Final = _Stop.FULL
"""The buffer holds enough; there may be more rows."""
END: Final = _Stop.END
"""There are no more rows."""


def new_job(job_class: type[JobT], queue: Any, job_id: str, name: str, data: Any, timestamp: int) -> JobT:
    """The job that an add returns: ``job_class`` is a ``JobState``, ``queue`` what added it."""
    job = job_class.__new__(job_class)
    job.id = job_id
    job.name = name
    job.data = data
    job.timestamp = timestamp
    job.queue = queue
    return job


class PlainJobs:
    """Makes single plain jobs: the request and the job of an ``add`` without options. Thread-safe.

    ``names`` holds the known names, checked and encoded.
    """

    def __init__(self, head: JobHead, names: dict[str, bytes], envelope_limit: int, now_ms: Callable[[], int]) -> None:
        self._head = head
        self._names = names
        self._envelope_limit = envelope_limit
        self._now_ms = now_ms

    def make(self, job_class: type[JobT], queue: Any, name: str, data: Any) -> tuple[bytes, JobT] | None:
        """The complete XADD and the job that the add returns; None when this is no plain job."""
        now = self._now_ms()
        plain = self._encoded(name, data, now)
        if plain is None:
            return None
        encoded, payload, job_id = plain
        request = frame_job(self._head, job_id, payload, now, encoded, b"")
        return request, new_job(job_class, queue, job_id, name, data, now)

    def _encoded(self, name: Any, data: Any, now: int) -> tuple[bytes, bytes, str] | None:
        """Name, payload and a fresh id; None when this is no plain job."""
        encoded = self._names.get(name) if type(name) is str else None
        if encoded is None:
            return None
        try:
            payload = encode_payload(data)
        except PayloadEncodeError:
            return None
        job_id = mint_ulid()
        if len(encode_envelope(job_id, payload, now, 0, b"")) > self._envelope_limit:
            return None
        return encoded, payload, job_id


class PlainRows(PlainJobs, Generic[JobT]):
    """Frames the rows of one ``add_bulk`` and, given a ``job_class``, adds their jobs to ``jobs``.

    For one thread at a time.
    """

    def __init__(
        self,
        head: JobHead,
        names: dict[str, bytes],
        envelope_limit: int,
        now_ms: Callable[[], int],
        job_class: type[JobT] | None,
        queue: Any,
        jobs: list[JobT | None],
    ) -> None:
        super().__init__(head, names, envelope_limit, now_ms)
        self._job_class = job_class
        self._queue = queue
        self._jobs = jobs

    def fill(self, rows: Iterator[Any], frames: FrameBuffer, most_commands: int, most_bytes: int) -> Any:
        """Frames rows of an iterator until the buffer is full; the first row of another kind, or FULL or END."""
        while frames.commands < most_commands and frames.size < most_bytes:
            row = next(rows, END)
            if row is END or not self._frame(row, frames):
                return row
        return FULL

    def _frame(self, row: Any, frames: FrameBuffer) -> bool:
        if type(row) is not tuple or len(row) != 2:
            return False
        name, data = row
        now = self._now_ms()
        plain = self._encoded(name, data, now)
        if plain is None:
            return False
        encoded, payload, job_id = plain
        frames.job(self._head, job_id, payload, now, encoded, b"")
        if self._job_class is not None:
            self._jobs.append(new_job(self._job_class, self._queue, job_id, name, data, now))
        return True
