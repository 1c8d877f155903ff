"""The events of a producer: ``waiting`` for an immediate add, ``delayed`` for a delayed one.

Each is written by the script that adds its job, so that there is never one without the other's being there, and none
for a job that was a duplicate or was refused. Decides their fields and what the script is given (docs/wire-format.md,
events stream). A queue that does not tell of its adds never comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chasquimq._core.keys import EVENTS_MAX_LEN, QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, Script, load_script
from chasquimq._fast import encode_envelope

if TYPE_CHECKING:
    from chasquimq._core.producer import NewJob

__all__ = ["TOLD_JOB_OVERHEAD", "event_arguments", "told_adds", "told_job"]

TOLD_JOB_OVERHEAD = 64
"""More bytes than the id and the three headers of one job take among the arguments."""


def event_arguments(job: NewJob, ts_ms: int) -> list[Argument]:
    """What a script that adds one job is given for its event: the length of the stream, and the fields."""
    kind = b"delayed" if job.delay_ms > 0 else b"waiting"
    arguments: list[Argument] = [EVENTS_MAX_LEN, b"e", kind, b"id", job.job_id, b"ts", ts_ms]
    if job.name:
        arguments += [b"n", job.name]
    if job.delay_ms > 0:
        arguments += [b"delay_ms", job.delay_ms]
    return arguments


def told_job(job: NewJob) -> list[Argument]:
    """One job among the arguments of ``told_adds``."""
    return [job.job_id, encode_envelope(job.job_id, job.payload, job.created_at_ms, 0, job.retry), job.name]


def told_adds(
    keys: QueueKeys, profile: ServerProfile, ts_ms: int, producer_id: str, jobs: Sequence[Argument]
) -> tuple[Script, list[bytes], list[Argument]]:
    """The script that adds ``jobs`` (of ``told_job``) at once and tells of each; a producer id makes it repeatable."""
    return (
        load_script("add_jobs", profile),
        [keys.stream, keys.events],
        [EVENTS_MAX_LEN, ts_ms, producer_id, *jobs],
    )
