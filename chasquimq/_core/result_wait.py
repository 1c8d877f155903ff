"""One wait for a stored result: when its key is looked at, and what ends it.

The first looks follow one another closely, and come at the interval later. While the events stream can tell of the job
they become rare; when it has told of its end they begin anew. Times are monotonic milliseconds; it never waits.
"""

from __future__ import annotations

from chasquimq.errors import AbortError, WaitForResultTimeoutError

__all__ = ["PATIENT_AFTER_MS", "RARE_LOOK_MS", "Wait"]

FIRST_PAUSE_MS = 2.0
PATIENT_AFTER_MS = 50.0
"""Polls find the results of short jobs as soon, for less."""
RARE_LOOK_MS = 5_000.0
"""The longest time between two looks for a job of which the stream can tell. Events are best effort: workers drop them
first when the server is full, and who takes a job over from a dead worker may write none."""


class Wait:
    """One call of ``wait_for_result``."""

    __slots__ = (
        "_budget_ms",
        "_pause_ms",
        "deadline_ms",
        "error",
        "interval_ms",
        "is_followed",
        "is_looked_for",
        "is_told",
        "job_id",
        "key",
        "looked_at_ms",
        "next_look_ms",
        "patient_at_ms",
        "rest_ms",
        "value",
    )

    def __init__(self, job_id: str, *, budget_ms: float, interval_ms: float, now_ms: float) -> None:
        self.job_id = job_id
        self.key = job_id.encode()
        self.interval_ms = max(interval_ms, 1.0)
        self.deadline_ms = now_ms + budget_ms
        self.patient_at_ms = now_ms + PATIENT_AFTER_MS
        self.looked_at_ms: float | None = None
        self.next_look_ms = now_ms
        self.rest_ms = 0.0
        """How long the rest is that ends with the next look."""
        self.is_looked_for = False
        """A look is under way that is for this wait."""
        self.is_followed = False
        """The stream can tell of this job."""
        self.is_told = False
        """The stream has told that the job is completed."""
        self.value: bytes | None = None
        self.error: Exception | None = None
        self._budget_ms = budget_ms
        self._pause_ms = FIRST_PAUSE_MS

    @property
    def is_over(self) -> bool:
        return self.value is not None or self.error is not None

    def missed(self, now_ms: float) -> None:
        """A look found nothing."""
        self.looked_at_ms = now_ms
        longest = max(self.interval_ms, RARE_LOOK_MS) if self.is_followed else self.interval_ms
        self.rest_ms = min(self._pause_ms, longest)
        self._pause_ms = 2 * self.rest_ms
        self.next_look_ms = min(now_ms + self.rest_ms, max(self.deadline_ms, now_ms))

    def told(self, now_ms: float) -> None:
        """The job is completed: its result is there, or will be in a moment, or never."""
        self.is_told = True
        self.is_followed = False
        self._pause_ms = FIRST_PAUSE_MS
        self.look_at(now_ms)

    def unfollow(self, now_ms: float) -> None:
        """The stream cannot tell of the job any more: it is polled as if there were none."""
        self.is_followed = False
        self._pause_ms = min(self._pause_ms, self.interval_ms)
        if self.next_look_ms > now_ms + self.interval_ms:
            self.look_at(now_ms + self.interval_ms)

    def look_at(self, at_ms: float) -> None:
        self.next_look_ms = at_ms
        self.rest_ms = 0.0

    def end_by_signal(self) -> None:
        self.error = AbortError(f"the wait for the result of job {self.job_id} was ended by its signal.")

    def end_by_time(self) -> None:
        self.error = WaitForResultTimeoutError(
            f"no result of job {self.job_id} within {self._budget_ms:.0f} ms. The job is not finished yet, it failed "
            "for good, its handler returned None, or its worker runs without store_results=True."
        )

    def outcome(self) -> bytes:
        """The stored value. Raises what ended the wait."""
        if self.value is not None:
            return self.value
        assert self.error is not None  # noqa: S101 - the wait is over
        raise self.error
