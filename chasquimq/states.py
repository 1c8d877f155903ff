"""The product's words for where a job is, as types (product page, JobState, JobType, JobProgress).

They are for programs that keep such states themselves: no state per job is kept in Redis. The events of a queue bear
some of these names.
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["JobProgress", "JobState", "JobType"]

JobState = Literal["waiting", "active", "completed", "failed", "delayed", "unknown"]
"""Where a job is."""

JobType = JobState | Literal["paused", "prioritized", "waiting-children"]
"""Where a job is, with the states that this product does not have."""

JobProgress = Any
"""What a handler reports with ``Job.update_progress``: a number, or whatever says more than one."""
