"""Producing: from a user's name, data and options to the Call that puts the job into Redis.

It decides how a job travels: straight into the stream, through a deduplication marker, or through the delayed
set (docs/wire-format.md, immediate add, delayed set, deduplication). It never reads a socket; the clock and the
server's profile are given to it. Every check of an argument happens here, before a Call exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import hiredis

from chasquimq._core.call import Call, Reply, reply_error
from chasquimq._core.keys import QueueKeys
from chasquimq._core.producer_events import event_arguments, told_adds, told_job
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, Script, load_script
from chasquimq._dataclass import dataclass, replace
from chasquimq._fast import (
    BackoffTuple,
    JobHead,
    JobState,
    PlainJobs,
    PlainRows,
    encode_envelope,
    encode_member,
    encode_payload,
    encode_retry,
    frame_job,
    mint_ulid,
    new_job,
)
from chasquimq.errors import InvalidOptionError, NotSupportedError, PayloadTooLargeError
from chasquimq.options import (
    MAX_ATTEMPTS,
    JobsOptions,
    QueueOptions,
    check_job_id,
    check_name,
    flag,
    merge,
    to_backoff,
    whole_number,
)
from chasquimq.times import duration_ms, instant_ms

if TYPE_CHECKING:
    from chasquimq._core.repeat import RepeatSpec

__all__ = ["NewJob", "ProducerSettings", "Producing", "made_job", "producer_settings"]

JobT = TypeVar("JobT", bound=JobState)

RESEND_HORIZON_MS = 10_000
"""A delayed job that is due later than that is still in the delayed set when its add is sent again."""
_ENVELOPE_OVERHEAD = 64
"""More bytes than the headers, the time and the attempt of any envelope take."""


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """What a producer is configured with, checked and in plain units."""

    max_payload_bytes: int = 1_048_576
    max_delay_ms: int = 2_592_000_000
    dedup_window_ms: int = 3_600_000
    defaults: JobsOptions | None = None
    events: bool = False


def producer_settings(options: QueueOptions) -> ProducerSettings:
    """Checks the options of a Queue."""
    settings = ProducerSettings()
    changes: dict[str, Any] = {"events": flag("events", options.events, default=settings.events)}
    if options.max_payload_bytes is not None:
        limit = whole_number("max_payload_bytes", options.max_payload_bytes, minimum=1)
        changes["max_payload_bytes"] = limit
    if options.max_delay_ms is not None:
        changes["max_delay_ms"] = duration_ms("max_delay_ms", options.max_delay_ms)
    if options.dedup_window_ms is not None:
        changes["dedup_window_ms"] = duration_ms("dedup_window_ms", options.dedup_window_ms)
    if options.default_job_options is not None:
        changes["defaults"] = merge(JobsOptions, options.default_job_options, {})
    return replace(settings, **changes)


class NewJob:
    """A checked and encoded job on its way out."""

    __slots__ = (
        "created_at_ms",
        "delay_ms",
        "due_ms",
        "has_caller_id",
        "job_id",
        "name",
        "options",
        "payload",
        "retry",
    )

    def __init__(self, job_id: str, name: bytes, payload: bytes, created_at_ms: int) -> None:
        self.job_id = job_id
        self.name = name
        self.payload = payload
        self.created_at_ms = created_at_ms
        self.retry = b""
        self.has_caller_id = False
        self.delay_ms = 0
        self.due_ms: int | None = None
        """Set when an instant was given; then ``delay_ms`` is the distance from the producer's clock."""
        self.options: JobsOptions | None = None


def made_job(job_class: type[JobT], queue: Any, new: NewJob, name: str, data: Any) -> JobT:
    """What ``add`` returns: the job as this process knows it."""
    job = new_job(job_class, queue, new.job_id, name, data, new.created_at_ms)
    if new.options is not None:
        job.delay = new.delay_ms
        job._opts = new.options
    return job


class Producing:
    """The decisions of one producer (one per Queue object)."""

    def __init__(
        self,
        keys: QueueKeys,
        settings: ProducerSettings,
        *,
        now_ms: Callable[[], int],
        producer_id: str,
    ) -> None:
        self.keys = keys
        self.settings = settings
        self._now_ms = now_ms
        self._plain_head = JobHead(keys.stream, None)
        self._producer_id = producer_id
        self._retry_safe_head = JobHead(keys.stream, producer_id.encode())
        self._names: dict[str, bytes] = {}
        limit = settings.max_payload_bytes
        self._plain_jobs = PlainJobs(self._plain_head, self._names, limit, now_ms)
        self._retry_safe_jobs = PlainJobs(self._retry_safe_head, self._names, limit, now_ms)
        self._scripts_sent: set[bytes] = set()

    # -- from arguments to a NewJob ---------------------------------------------------------------------------

    def options(self, opts: object, given: Mapping[str, Any]) -> JobsOptions | None:
        """The job's options: defaults of the queue, then ``opts``, then keywords; None when nothing is set."""
        defaults = self.settings.defaults
        if opts is None and not given:
            return defaults
        if defaults is None:
            return merge(JobsOptions, opts, given)
        merged = merge(JobsOptions, opts, given)
        set_here = {name: value for name in JobsOptions.__slots__ if (value := getattr(merged, name)) is not None}
        return merge(JobsOptions, defaults, set_here)

    def encode_name(self, name: str) -> bytes:
        try:
            encoded = self._names.get(name)
        except TypeError:  # what cannot be a key is no text
            encoded = None
        if encoded is None:
            encoded = check_name(name).encode()
            if len(self._names) < 1024:  # names are few; whoever makes them up per job pays for the encoding
                self._names[name] = encoded
        return encoded

    def new_job(self, name: str, data: object, options: JobsOptions | None) -> NewJob:
        """Checks everything and encodes the payload."""
        return self.new_opaque_job(self.encode_name(name), encode_payload(data), options)

    def new_opaque_job(self, name: bytes, payload: bytes, options: JobsOptions | None) -> NewJob:
        """The same for a payload that is bytes already."""
        if options is None:
            job = NewJob(mint_ulid(), name, payload, self._now_ms())
        else:
            job = self._with_options(name, payload, options)
        if len(payload) > self.settings.max_payload_bytes - _ENVELOPE_OVERHEAD - 4 * len(job.job_id) - len(job.retry):
            self._check_size(job)
        return job

    def _with_options(self, name: bytes, payload: bytes, options: JobsOptions) -> NewJob:
        now = self._now_ms()
        created = now if options.timestamp is None else instant_ms("timestamp", options.timestamp)
        job_id = mint_ulid() if options.job_id is None else check_job_id(options.job_id)
        job = NewJob(job_id, name, payload, created)
        job.has_caller_id = options.job_id is not None
        job.options = options
        job.retry = encode_retry(*_retry_override(options))
        if options.delay is not None:
            self._set_delay(job, options.delay, now)
        return job

    def repeat_spec(self, name: str, data: object, options: JobsOptions) -> RepeatSpec:
        """The repeatable spec of an add with ``repeat=``; delay and job_id have no meaning for it."""
        from chasquimq._core.repeat import spec_from_options  # noqa: PLC0415  cron and time zones, rarely needed

        assert options.repeat is not None  # noqa: S101 - the caller has looked
        self.encode_name(name)
        payload = encode_payload(data)
        self._check_size(NewJob(mint_ulid(), b"", payload, self._now_ms()))
        max_attempts, backoff = _retry_override(options)
        return spec_from_options(
            name,
            payload,
            options.repeat,
            repeat_job_key=options.repeat_job_key,
            max_attempts=max_attempts,
            backoff=backoff,
        )

    def _set_delay(self, job: NewJob, delay: Any, now: int) -> None:
        if isinstance(delay, datetime):
            due = instant_ms("delay", delay)
            job.delay_ms = max(0, due - now)
            job.due_ms = due
        else:
            job.delay_ms = duration_ms("delay", delay)
        limit = self.settings.max_delay_ms
        if limit and job.delay_ms > limit:
            raise InvalidOptionError(
                f"delay is {job.delay_ms} ms, more than the {limit} ms that this queue allows. "
                "Raise max_delay_ms of the Queue (0 = no limit) if it is meant."
            )

    def _check_size(self, job: NewJob) -> None:
        size = len(encode_envelope(job.job_id, job.payload, job.created_at_ms, 0, job.retry))
        limit = self.settings.max_payload_bytes
        if size > limit:
            raise PayloadTooLargeError(
                f"the encoded job has {size} bytes; workers accept at most {limit}, so it was not added. "
                "Store the data elsewhere and add a reference to it, or raise max_payload_bytes on the Queue and "
                "on every Worker.",
                size=size,
                limit=limit,
            )

    # -- from a NewJob to its command ---------------------------------------------------------------------------

    def add(self, job: NewJob, profile: ServerProfile) -> Call[bool]:
        """Adds one job; the result says whether it was a duplicate."""
        scripted = None if job.options is None else self.scripted(job, profile)
        is_idempotent = job.has_caller_id or job.delay_ms > RESEND_HORIZON_MS
        if scripted is None and self.settings.events:
            scripted = self.told_adds(told_job(job), profile, self._producer_id if profile.has_idmp else "")
            is_idempotent = profile.has_idmp
        if scripted is not None:
            script, keys, arguments = scripted
            self._scripts_sent.add(script.sha1)
            return Call(
                "queue.add",
                script.evalsha(keys, arguments),
                _is_duplicate,
                idempotent=is_idempotent,
                repeatable=job.has_caller_id,
                eval_form=lambda _: script.eval(keys, arguments),
            )
        head = self._retry_safe_head if profile.has_idmp else self._plain_head
        request = frame_job(head, job.job_id, job.payload, job.created_at_ms, job.name, job.retry)
        return _plain_add(request, profile)

    def add_plain(
        self, job_class: type[JobT], queue: Any, name: str, data: object, profile: ServerProfile
    ) -> tuple[Call[bool], JobT] | None:
        """The add of a job without options, and the job, in one step; None when it takes all the others.

        Whatever is wrong with the job is for the long way to tell: ``new_job``, ``add`` and ``made_job``.
        """
        if self.settings.events:
            return None
        made = (self._retry_safe_jobs if profile.has_idmp else self._plain_jobs).make(job_class, queue, name, data)
        if made is None:
            return None
        request, job = made
        return _plain_add(request, profile), job

    def plain_rows(self, job_class: type[JobT] | None, queue: Any, jobs: list[JobT | None]) -> PlainRows[JobT]:
        """What frames the rows without options of one ``add_bulk``."""
        limit = self.settings.max_payload_bytes
        return PlainRows(self._plain_head, self._names, limit, self._now_ms, job_class, queue, jobs)

    def in_order(self, script: Script, keys: list[bytes], arguments: list[Argument]) -> bytes:
        """The script's command for the middle of a pipeline: by its text the first time, which the server remembers.

        By its digest alone, a server that does not know it yet would make it come after the rows behind it.
        """
        if script.sha1 in self._scripts_sent:
            return script.evalsha(keys, arguments)
        self._scripts_sent.add(script.sha1)
        return script.eval(keys, arguments)

    @property
    def bulk_head(self) -> JobHead:
        """The start of a plain XADD: a server remembers too few ids for IDMP to cover a whole buffer."""
        return self._plain_head

    def told_adds(
        self, jobs: list[Argument], profile: ServerProfile, producer_id: str = ""
    ) -> tuple[Script, list[bytes], list[Argument]]:
        """The script that adds these jobs (of ``told_job``) and tells of each; IDMP needs the producer's id."""
        return told_adds(self.keys, profile, self._now_ms(), producer_id, jobs)

    def scripted(self, job: NewJob, profile: ServerProfile) -> tuple[Script, list[bytes], list[Argument]] | None:
        """The script that adds this job, or None when an XADD does, be it a plain one or one among ``told_adds``."""
        scripted = self._scripted(job, profile)
        if scripted is not None and self.settings.events:
            scripted[1].append(self.keys.events)
            scripted[2].extend(event_arguments(job, self._now_ms()))
        return scripted

    def _scripted(self, job: NewJob, profile: ServerProfile) -> tuple[Script, list[bytes], list[Argument]] | None:
        keys = self.keys
        if job.delay_ms > 0:
            envelope = encode_envelope(job.job_id, job.payload, job.created_at_ms, 0, job.retry)
            member = encode_member(job.name, envelope)
            delay: bytes | int = b"" if job.due_ms is not None else job.delay_ms
            due = job.due_ms or 0
            if not job.has_caller_id:
                return load_script("add_delayed", profile), [keys.delayed, keys.wake], [delay, due, member]
            window = max(1, job.delay_ms // 1000) + self._window_seconds
            marker, index = keys.dedup_marker(job.job_id), keys.delayed_index(job.job_id)
            return (
                load_script("add_delayed_unique", profile),
                [keys.delayed, keys.wake, marker, index],
                [delay, due, member, window],
            )
        if job.has_caller_id:
            envelope = encode_envelope(job.job_id, job.payload, job.created_at_ms, 0, job.retry)
            return (
                load_script("add_unique", profile),
                [keys.stream, keys.dedup_marker(job.job_id)],
                [self._window_seconds, mint_ulid(), envelope, job.name],
            )
        return None

    @property
    def _window_seconds(self) -> int:
        return max(1, -(-self.settings.dedup_window_ms // 1000))

    def cancel(self, job_id: str, profile: ServerProfile) -> Call[int]:
        """Takes a delayed job with a caller's id out again: 1, or NotSupportedError."""
        check_job_id(job_id)
        keys = [self.keys.delayed, self.keys.delayed_index(job_id), self.keys.dedup_marker(job_id)]
        script = load_script("cancel_delayed", profile)

        def parse(replies: list[Reply]) -> int:
            if isinstance(replies[0], hiredis.ReplyError):
                raise reply_error("queue.remove", replies[0])
            if replies[0] == 0:
                raise NotSupportedError(
                    f"job {job_id!r} is not a waiting delayed job with this job_id. Only a job that was added "
                    "with both delay and job_id, and is not due yet, can be removed; a job in the stream cannot."
                )
            return 1

        return Call(
            "queue.remove",
            script.evalsha(keys, []),
            parse,
            eval_form=lambda _: script.eval(keys, []),
        )


def _retry_override(options: JobsOptions) -> tuple[int | None, BackoffTuple | None]:
    attempts = options.attempts
    if attempts is not None:
        whole_number("attempts", attempts, minimum=1, maximum=MAX_ATTEMPTS)
    return attempts, None if options.backoff is None else to_backoff(options.backoff).to_wire()


def _plain_add(request: bytes, profile: ServerProfile) -> Call[bool]:
    # With IDMP the server itself knows an add that arrives twice, so that a lost answer can be asked again.
    return Call("queue.add", request, _is_duplicate, idempotent=profile.has_idmp, repeatable=False)


def _is_duplicate(replies: list[Reply]) -> bool:
    reply = replies[0]
    if type(reply) is bytes:
        return False  # the id of an entry, as nearly always
    if isinstance(reply, list):
        (reply,) = reply  # of a script for any number of jobs
    if isinstance(reply, hiredis.ReplyError):
        raise reply_error("queue.add", reply)
    # The scripts for jobs with a caller's id answer 0 when the id is known, otherwise an entry's id or a time.
    return isinstance(reply, int) and reply == 0
