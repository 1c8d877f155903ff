"""Running a queue's jobs one after the other, as steps: the engine's core without its threads and tasks.

It decides in which order a test's jobs run and when there are none left. What becomes of each job is decided where it
always is, in ``_core``; whoever drives the steps runs the Calls and the handler. It must never wait: what is not due
stays, or its time is moved.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from typing import Any, Generic, TypeVar

from chasquimq._core.call import Call
from chasquimq._core.clock import Clock
from chasquimq._core.keys import QueueKeys
from chasquimq._core.opaque import OpaqueCore, RawJob
from chasquimq._core.outcome import DeadLetter
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scheduling_round import scheduling_round
from chasquimq._core.worker import WorkerCore
from chasquimq._core.worker_settings import worker_settings
from chasquimq._dataclass import dataclass, field
from chasquimq._fast import Entry
from chasquimq._net.unique_name import unique_name
from chasquimq.options import WorkerOptions, merge
from chasquimq.testing._time import shift_delayed

__all__ = ["Drained", "FailedRun", "RunHandler", "drain_steps", "leave_steps", "make_core"]

JobT = TypeVar("JobT")


@dataclass(frozen=True, slots=True)
class FailedRun(Generic[JobT]):
    """A run whose handler raised."""

    job: JobT
    """The job as the handler saw it; ``attempts_made`` says which run it was."""
    error: Exception
    """What the handler raised."""


@dataclass(slots=True)
class Drained(Generic[JobT]):
    """What a ``drain`` did."""

    completed: list[JobT] = field(default_factory=list)
    """The jobs that are done, in order; ``returnvalue`` is what the handler returned."""
    failed: list[FailedRun[JobT]] = field(default_factory=list)
    """The runs that failed, in order; a job that is tried again is here once for each of them."""
    dead_letters: int = 0
    """How many jobs went to the dead-letter queue."""

    @property
    def runs(self) -> int:
        """How often the handler was called."""
        return len(self.completed) + len(self.failed)


@dataclass(frozen=True, slots=True)
class RunHandler:
    """A step: call the handler with this job, send its result back or throw its error in."""

    job: Any


Steps = Generator[Call[Any] | RunHandler, Any, Any]


def make_core(keys: QueueKeys, job_class: type[Any], opts: object, clock: Clock) -> WorkerCore[Any]:
    """A worker's core with the options of a Worker, and nobody who listens."""
    settings = worker_settings(merge(WorkerOptions, opts, {}), f"drain-{unique_name()}")
    core_class: type[WorkerCore[Any]] = OpaqueCore if issubclass(job_class, RawJob) else WorkerCore
    return core_class(keys, settings, job_class, clock=clock, draw=random.random, emit=_nobody_hears, listened=())


def drain_steps(
    core: WorkerCore[Any],
    profile: ServerProfile,
    clock: Clock,
    report: Drained[Any],
    *,
    fast_forward: bool,
    raise_errors: bool,
    limit: int | None,
) -> Steps:
    """Runs what is due until nothing is, or the limit of runs is reached."""
    yield core.reading.create_group(profile)
    while limit is None or report.runs < limit:
        sent_at = clock.monotonic_ms()
        entries: list[Entry] = yield core.reading.read(1, profile, block=False)
        if not entries and not profile.has_claim:
            entries = yield core.reading.claim(1, profile, sent_at)
        core.arrived(entries, sent_at)
        error: Exception | None = None
        while core.ready:
            error = yield from _run(core, core.ready.popleft(), report)
        yield from _settle(core, profile, report)
        if error is not None and raise_errors:
            raise error
        if not entries and not (yield from _bring_due(core, profile, clock, fast_forward)):
            return


def leave_steps(core: WorkerCore[Any], profile: ServerProfile) -> Steps:
    """Hands back what was not finished and gives the locks up."""
    for entry in list(core.book.held.values()):
        core.give_up(entry)
    yield core.release(profile)
    yield from _each(core.release_locks(profile))


def _run(core: WorkerCore[Any], entry: Entry, report: Drained[Any]) -> Generator[RunHandler, Any, Exception | None]:
    job = core.start(entry)
    if job is None:
        return None
    try:
        result = yield RunHandler(job)
    except Exception as error:  # noqa: BLE001 - a handler's error is what becomes of its job
        core.fail(job, error)
        report.failed.append(FailedRun(job, error))
        return error
    core.complete(job, result)
    report.completed.append(job)
    return None


def _settle(core: WorkerCore[Any], profile: ServerProfile, report: Drained[Any]) -> Steps:
    taken = core.take_batch(profile)
    if taken is None:
        return
    batch, calls = taken
    yield from _each(calls)
    core.settled(batch)
    report.dead_letters += sum(isinstance(failure.end, DeadLetter) for failure in batch.failures)


def _each(calls: Iterable[Call[Any]]) -> Steps:
    for call in calls:  # noqa: UP028 - not ``yield from``: a list takes no results
        yield call


def _bring_due(
    core: WorkerCore[Any], profile: ServerProfile, clock: Clock, fast_forward: bool
) -> Generator[Call[Any], Any, bool]:
    """Promotes and fires; with ``fast_forward`` also what is not due yet. Whether there is something to run now."""
    promoter = core.promoter
    promoted = yield promoter.promote(profile)
    promoter.promoted(promoted, clock.monotonic_ms())
    follow_up = promoter.follow_up(promoted)
    if follow_up is not None:
        yield follow_up
    fired = 0
    if core.scheduling is not None:
        core.scheduling.is_idle = False
        fired = yield from scheduling_round(core.scheduling, profile, clock, _nobody_hears)
    if promoted.job_ids or promoted.set_aside or fired:
        return True
    if fast_forward and promoted.next_due_ms >= 0:
        yield shift_delayed(core.keys, max(1, promoted.next_due_ms - promoted.server_now_ms))
        return True
    return False


def _nobody_hears(*_arguments: Any) -> None:
    pass
