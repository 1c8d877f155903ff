"""What a job is made of, in the form that costs least to make: one is made for every run and every add.

Holds values only. The properties and methods that users know are added by ``chasquimq.job`` and the frontends.
"""

from __future__ import annotations

from typing import Any, Self

from chasquimq._fast._pure.entries import Entry

__all__ = ["JobState"]


class JobState:
    """The fields of a job; ``chasquimq.job.BaseJob`` says what they mean."""

    id: str
    name: str
    data: Any
    timestamp: int
    attempts_made: int
    deliveries: int
    delay: int
    progress: Any
    returnvalue: Any
    failed_reason: str | None
    processed_on: int | None
    finished_on: int | None
    queue: Any
    is_duplicate: bool
    _opts: Any
    _entry: Entry | None
    _progress_sink: Any
    _started_ms: float

    def __new__(cls, *_args: object, **_keywords: object) -> Self:
        self = super().__new__(cls)
        self.id = self.name = ""
        self.data = None
        self.timestamp = self.attempts_made = self.deliveries = self.delay = 0
        self.progress = 0
        self.returnvalue = self.failed_reason = self.processed_on = self.finished_on = self.queue = None
        self.is_duplicate = False
        self._opts = self._entry = self._progress_sink = None
        self._started_ms = 0.0
        return self
