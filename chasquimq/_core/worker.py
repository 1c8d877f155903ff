"""The worker without its waiting: what arrives, what starts, how it ends, what is written.

The life of an entry in a worker::

    arrived -> ready (waiting in the worker, leased) -> started -> completed | failed -> settled

A frontend moves entries along this line with threads or tasks and asks here at every step. Nothing in this module
waits, reads a socket or looks at a clock other than the one that it is given; all methods may be called from any
thread, because every change of shared state is one atomic operation on a deque, a dict or a counter.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Container
from typing import Any, Generic, TypeVar

from chasquimq._core.call import Call, single
from chasquimq._core.clock import Clock
from chasquimq._core.keys import GROUP, HANDED_BACK, QueueKeys
from chasquimq._core.leases import LeaseBook
from chasquimq._core.log import logger_named
from chasquimq._core.outcome import DeadLetter, admit, after_failure, error_text
from chasquimq._core.profile import ServerProfile
from chasquimq._core.promoter import Promoter
from chasquimq._core.reading import Intake, Reading
from chasquimq._core.scheduler import Scheduling
from chasquimq._core.scripts import Argument, load_script
from chasquimq._core.settlement import Batch, Failure, Settlement, SettlementSettings
from chasquimq._core.worker_settings import WorkerSettings
from chasquimq._fast import Entry, JobState, Runs, decode_payload, encode_payload, end_job, take_in
from chasquimq.errors import LeaseLostError

__all__ = ["REAP_INTERVAL_MS", "WorkerCore"]

logger = logger_named("chasquimq.worker")

DEAD_CONSUMER_MS = 600_000
"""A living worker that holds no entry asks for some every few seconds; one that holds some is never touched."""
REAP_INTERVAL_MS = 300_000
MAX_EVENT_VALUE_CHARACTERS = 1_000
"""A longer return value is not written into the events stream; ``store_results`` keeps it."""
HANDED_BACK_IDLE_MS = 86_400_000
"""Longer than any worker's lease: an entry that is handed back can be taken at once."""

JobT = TypeVar("JobT", bound=JobState)

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class WorkerCore(Generic[JobT]):
    """The state of one running worker."""

    def __init__(
        self,
        keys: QueueKeys,
        settings: WorkerSettings,
        job_class: type[JobT],
        *,
        clock: Clock,
        draw: Callable[[], float],
        emit: Callable[..., None],
        listened: Container[str],
    ) -> None:
        """``draw`` gives random numbers in [0, 1); ``emit`` reaches the user's listeners, ``listened`` names the events
        that have some, at any time."""
        self.keys = keys
        self.settings = settings
        self.ready: deque[Entry] = deque()
        """Entries that wait in this worker for a consumer."""
        self.book = LeaseBook(settings.lease_ms)
        self.intake = Intake(settings.concurrency)
        self.reading = Reading(
            keys,
            GROUP,
            settings.consumer,
            lease_ms=settings.lease_ms,
            block_ms=settings.block_ms,
            max_payload_bytes=settings.max_payload_bytes,
        )
        self.promoter = Promoter(keys, settings.consumer, events=settings.events)
        self.scheduling: Scheduling | None = None
        if settings.run_scheduler:
            self.scheduling = Scheduling(keys, b"s-" + settings.consumer, tick_ms=settings.scheduler_tick_ms)
        self.settlement = Settlement(
            keys,
            SettlementSettings(
                group=GROUP,
                consumer=settings.consumer,
                events=settings.events,
                result_ttl_s=settings.result_ttl_s,
            ),
            self.book,
        )
        self._runs = Runs(
            self,
            job_class,
            clock=clock,
            decode=self._decode,
            listened=listened,
            started=self.settlement.starts,
            completed=self.settlement.completions,
            keeps_values=settings.store_results or settings.events,
        )
        self.start: Callable[[Entry], JobT | None] = self._runs.start
        """The job to run, or None when it must not or cannot be run (that is noted already)."""
        self.complete: Callable[[JobT, Any], None] = self._runs.complete
        """The handler returned this value."""
        self._clock = clock
        self._draw = draw
        self._emit = emit
        self._listened = listened
        self._gathers = not (settings.ack_each or settings.store_results)
        self._has_work = False
        self._given_up: list[bytes] = []

    # -- reading ---------------------------------------------------------------------------------------------------

    def wanted(self) -> int:
        """How many entries to read now; 0 = wait until some have ended."""
        return self.intake.wanted(len(self.book), self._runs.ended, self._clock.monotonic_ms())

    def read(self, count: int, profile: ServerProfile) -> Call[list[Entry]]:
        return self.reading.read(count, profile)

    def arrived(self, entries: list[Entry], sent_at_ms: float) -> int:
        """Takes in the entries of a read that was sent at this (monotonic) time; returns how many may run."""
        if not entries:
            if self._has_work:
                self._has_work = False
                self.settlement.drained(self._clock.wall_ms())
            return 0
        self._has_work = True
        if self._clock.monotonic_ms() >= sent_at_ms + self.settings.lease_ms:
            # This process stood still for longer than the lease (suspended, stopped): others may have these by now.
            # They are not run here; whoever reads next takes over those that nobody has.
            logger.warning("dropped %d entries that arrived later than their lease allows", len(entries))
            return 0
        ready = self.ready
        lease_until = self.book.lease_from(sent_at_ms)
        retry = self.settings.retry
        admitted, refused = take_in(entries, self.book.held, ready, lease_until, retry.max_attempts)
        for entry in refused:
            refusal = admit(entry, retry)
            if refusal is not None:
                self._refuse(entry, refusal)
        return admitted

    def _refuse(self, entry: Entry, end: DeadLetter) -> None:
        logger.warning("entry %s goes to the dead-letter queue: %s (%s)", entry.entry_id, end.reason, end.detail)
        self.settlement.failed(Failure(entry, end, None))

    def leave_to_parent(self) -> None:
        """In a forked child: the entries are the parent's, which runs them and writes their ends."""
        self.ready.clear()
        self.book.held.clear()
        self.settlement.leave_to_parent()

    # -- running ---------------------------------------------------------------------------------------------------

    _decode: Callable[[bytes], Any] = staticmethod(decode_payload)
    """What the job's payload is for its handler; ValueError when it cannot be decoded."""
    _encode: Callable[[Any], bytes] = staticmethod(encode_payload)
    """What is stored of a return value."""

    def doubted(self, entry: Entry) -> None:
        """An entry must not be started: somebody else may run it already."""
        self.book.drop(entry.entry_id)

    def undecodable(self, job: JobT, error: ValueError) -> None:
        """A newer producer may know more than this worker: it counts as a failed run and is tried again later."""
        job.data = None
        self.fail(job, error)

    def tell_active(self, job: JobT) -> None:
        self._emit("active", job, "")

    def complete_in_full(self, job: JobT, entry: Entry) -> None:
        """A run has ended well, and somebody wants to hear of it or to keep its value."""
        result = job.returnvalue
        if result is not None and self.settings.store_results:
            entry.result = self._encode_result(job, result)
        if result is not None and self.settings.events:
            entry.shown = _shown(result)
        if "completed" in self._listened:
            self._emit("completed", job, result, "")
        self.settlement.completions.append(entry)

    def _encode_result(self, job: JobT, result: Any) -> bytes | None:
        try:
            return self._encode(result)
        except Exception as error:  # noqa: BLE001  a value of the user's may raise anything when it is looked into
            # The work is done; running it again would not make its result storable.
            error.add_note(f"Job {job.id} ({job.name!r}) is completed; its return value is not stored.")
            logger.warning("job %s is completed, but its return value cannot be stored: %s", job.id, error)
            self._emit("error", error)
            return None

    def fail(self, job: JobT, error: BaseException) -> None:
        """The handler raised."""
        entry = end_job(job, self._clock.monotonic_ms())
        job.failed_reason = reason = error_text(error)
        end = after_failure(entry, error, self.settings.retry, self._draw())
        if isinstance(end, DeadLetter):
            logger.warning(
                "job %s (%r) goes to the dead-letter queue after run %d: %s: %s",
                job.id,
                job.name,
                job.attempts_made,
                end.reason,
                reason,
            )
        else:
            logger.info("job %s (%r) failed and runs again in %d ms: %s", job.id, job.name, end.wait_ms, reason)
        if "failed" in self._listened:
            self._emit("failed", job, error, "")
        self.settlement.failed(Failure(entry, end, reason))
        self._runs.count_end()

    def progressed(self, job: JobT, progress: Any) -> None:
        """The handler reported progress."""
        self._emit("progress", job, progress)

    # -- settling --------------------------------------------------------------------------------------------------

    @property
    def gathering_ms(self) -> float:
        """How long the ends of jobs may gather before they are written; 0: write what there is.

        Whoever stores results has somebody waiting for them.
        """
        return self.intake.gathering_ms if self._gathers else 0.0

    def take_batch(self, profile: ServerProfile) -> tuple[Batch, list[Call[Any]]] | None:
        """What is to be written now, or None."""
        batch = self.settlement.take()
        if batch is None:
            return None
        return batch, self.settlement.calls(batch, profile, self._clock.monotonic_ms())

    def settled(self, batch: Batch) -> None:
        """The answers to a batch are booked; what went wrong is told."""
        self.settlement.booked(batch)
        for entry in batch.lost:
            self.lease_lost(entry, "its end was refused: another worker has it or had it")
        for entry in batch.unstored:
            logger.warning("job %s is completed, but the server had no room for its result", entry.job_id)
        for error in batch.refusals:
            logger.error("settling failed and is repeated: %s", error)
            self._emit("error", error)

    def lease_lost(self, entry: Entry, why: str) -> None:
        """Tells log and listeners that an entry is not ours any more."""
        logger.warning("job %s (%r) lost its lease: %s", entry.job_id, entry.name, why)
        self._emit(
            "error",
            LeaseLostError(
                f"job {entry.job_id} ({entry.name!r}) lost its lease: {why}. It may run twice. Lengthen lease_ms, or "
                "keep the handler from stopping the whole process."
            ),
        )

    # -- leaving ---------------------------------------------------------------------------------------------------

    def drop_ready(self) -> int:
        """Forgets the entries that wait in this worker, so that they can be handed back; returns how many."""
        count = 0
        while self.ready:
            try:
                entry = self.ready.popleft()
            except IndexError:  # a consumer was faster
                break
            self.book.drop(entry.entry_id)
            count += 1
        return count

    def broke(self, entry: Entry, error: Exception) -> None:
        """Something of ours failed around a run: the job is let go, and runs again when its lease is over."""
        logger.error("a fault in the worker around job %s; it will run again", entry.job_id, exc_info=error)
        self.book.drop(entry.entry_id)
        self._emit("error", error)

    def give_up(self, entry: Entry) -> None:
        """A run was ended before its time: the job can be handed back, and this delivery counts."""
        self._given_up.append(entry.entry_id)
        self.book.drop(entry.entry_id)

    def reap(self, profile: ServerProfile) -> Call[int]:
        """Deletes the consumers of workers that died long ago; the result is how many."""
        script = load_script("reap_consumers", profile)
        keys = [self.keys.stream]
        arguments: list[Argument] = [GROUP, self.settings.consumer, HANDED_BACK, DEAD_CONSUMER_MS]
        return Call(
            "worker.reap",
            script.evalsha(keys, arguments),
            single("worker.reap", int),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )

    def release_locks(self, profile: ServerProfile) -> list[Call[int]]:
        """Gives the leader locks up, so that another worker leads at once."""
        releases = [self.promoter.release(profile)]
        if self.scheduling is not None:
            releases.append(self.scheduling.release(profile))
        return releases

    def release(self, profile: ServerProfile) -> Call[list[int]]:
        """Hands back everything that this worker owns and does not hold; deletes the consumer if that was all."""
        script = load_script("release_consumer", profile)
        keys = [self.keys.stream]
        stay = self.book.ids()
        arguments: list[Argument] = [GROUP, self.settings.consumer, HANDED_BACK, HANDED_BACK_IDLE_MS, len(stay), *stay]
        arguments += self._given_up
        return Call(
            "worker.release",
            script.evalsha(keys, arguments),
            single("worker.release", list),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )


def _shown(result: Any) -> str | None:
    """The return value as the ``completed`` event shows it: JSON text, if it has that form and is short."""
    try:
        if len(result) > MAX_EVENT_VALUE_CHARACTERS:
            return None  # not worth writing only to see that it is too long
    except Exception:  # noqa: BLE001, S110  as below
        pass  # a value without a length is short
    try:
        text = _to_json(result)
    except Exception:  # noqa: BLE001  a value of the user's may raise anything; its job is completed all the same
        return None
    return text if len(text) <= MAX_EVENT_VALUE_CHARACTERS else None
