"""The producer of one queue with opaque payloads, synchronous form.

A façade like ``queue``, over the same decisions: payloads are bytes that nobody here decodes, and no Job objects are
made.
"""

# Generated from chasquimq/aio/producer.py by tools/generate_sync.py; change that file.

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar

from chasquimq._core import dead_letters, repeatables
from chasquimq._core.bulk import BUFFERS_UNDER_WAY, BulkAdd
from chasquimq._core.call import Call
from chasquimq._core.carrying import OfOneProcess
from chasquimq._core.dead_letters import DlqEntry
from chasquimq._core.keys import QueueKeys
from chasquimq._core.opaque import OpaqueProducing, RawJob, stored_bytes
from chasquimq._core.producer import producer_settings
from chasquimq._core.repeatable_meta import RepeatableMeta
from chasquimq._net.clock import SystemClock
from chasquimq._net.unique_name import unique_name
from chasquimq.address import resolve_address
from chasquimq.errors import InvalidJobIdError, InvalidOptionTypeError, NotSupportedError, RedisConnectionError
from chasquimq.native import (
    AddOptions,
    AddResult,
    JobRetryOverride,
    NamedPayload,
    ProducerOpts,
    RepeatableSpec,
    jobs_options,
)
from chasquimq.options import JobsOptions, keywords, merge
from chasquimq.sync._client import Client
from chasquimq.times import Duration, Instant

__all__ = ["Producer"]

T = TypeVar("T")
Row = bytes | NamedPayload | tuple[str, bytes] | tuple[str, bytes, Any]


class Producer(OfOneProcess):
    """A producer for a single queue with opaque payloads (product page, native power-user surface).

    What a Queue does, without a codec and without Job objects: payloads are bytes, handed on as they are. A Worker
    reads them if they are MessagePack (``encode_payload``), a Consumer takes any. Lazy: nothing is connected before
    the first call. Safe to share across threads; a forked child process opens its own connections. Use it as a context
    manager, or call ``close()``.

    ``queue_name``: the queue's name. ``connection``: as for Queue. ``max_payload_bytes``: largest encoded job,
    default 1 MiB. ``max_delay_ms``: longest delay, default 30 days, 0 = no limit. ``dedup_window_ms``: how long a
    ``job_id`` stays reserved after an immediate add, and beyond the due time after a delayed one; default 1 hour.

    Raises InvalidOptionError, InvalidOptionTypeError; every method raises ClosedError after ``close()`` and
    RedisConnectionError when the server cannot be reached.
    """

    def __init__(
        self,
        queue_name: str,
        *,
        connection: Any = None,
        max_payload_bytes: int | None = None,
        max_delay_ms: Duration | None = None,
        dedup_window_ms: Duration | None = None,
        opts: ProducerOpts | Mapping[str, Any] | None = None,
    ) -> None:
        given = keywords(
            connection=connection,
            max_payload_bytes=max_payload_bytes,
            max_delay_ms=max_delay_ms,
            dedup_window_ms=dedup_window_ms,
        )
        options = merge(ProducerOpts, opts, given)
        self._keys = QueueKeys(queue_name)
        self._client = Client(resolve_address(options.connection), self._keys.stream)
        self._producer_id = unique_name()
        self._producing = OpaqueProducing(
            self._keys,
            producer_settings(options.to_queue_options()),
            now_ms=SystemClock.wall_ms,
            producer_id=self._producer_id,
            to_options=jobs_options,
        )

    @property
    def queue_name(self) -> str:
        """The queue's name."""
        return self._keys.name

    @property
    def producer_id(self) -> str:
        """What names this object to the server, so that an add that was sent twice counts once."""
        return self._producer_id

    @property
    def is_closed(self) -> bool:
        """True after the first ``close()``."""
        return self._client.is_closed

    def add(
        self,
        payload: bytes,
        *,
        name: str = "",
        opts: AddOptions | Mapping[str, Any] | None = None,
        job_id: str | None = None,
        delay_ms: Duration | None = None,
        at_ms: Instant | None = None,
        retry: JobRetryOverride | Mapping[str, Any] | None = None,
        timestamp_ms: Instant | None = None,
    ) -> AddResult:
        """Adds one job, in one round trip.

        ``payload``: any bytes. ``name``: dispatch name, at most 256 bytes. ``job_id``: a stable id; adding it again
        within the deduplication window adds nothing, and the result says so. ``delay_ms`` or ``at_ms``: until when
        it waits. ``retry``: its own number of runs and backoff. ``timestamp_ms``: submission time, default now.

        Raises InvalidOptionError, InvalidOptionTypeError, InvalidJobIdError, PayloadEncodeError,
        PayloadTooLargeError before any I/O; ServerReplyError; RedisConnectionError, whose ``may_have_executed`` says
        whether the job may be in the queue all the same.
        """
        given = keywords(job_id=job_id, delay_ms=delay_ms, at_ms=at_ms, retry=retry, timestamp_ms=timestamp_ms)
        if opts is None and not given:
            return self._add(name, payload, None)
        return self._add(name, payload, merge(AddOptions, opts, given).to_jobs_options())

    def add_unique(
        self,
        payload: bytes,
        *,
        job_id: str | None = None,
        name: str = "",
        opts: AddOptions | Mapping[str, Any] | None = None,
        delay_ms: Duration | None = None,
        at_ms: Instant | None = None,
        retry: JobRetryOverride | Mapping[str, Any] | None = None,
        timestamp_ms: Instant | None = None,
    ) -> AddResult:
        """``add`` with a required ``job_id``: the first add wins, every later one within the window adds nothing.

        Raises InvalidJobIdError when ``job_id`` is missing or blank.
        """
        given = keywords(job_id=job_id, delay_ms=delay_ms, at_ms=at_ms, retry=retry, timestamp_ms=timestamp_ms)
        options = merge(AddOptions, opts, given)
        if options.job_id is None:
            raise InvalidJobIdError(
                "add_unique needs a job_id: the text that makes this job unique, for example 'invoice-42'."
            )
        return self._add(name, payload, options.to_jobs_options())

    def _add(self, name: str, payload: bytes, options: JobsOptions | None) -> AddResult:
        new = self._producing.new_job(name, payload, options)
        call = self._producing.add(new, self._client.profile())
        return AddResult(new.job_id, self._client.run(call))

    def add_bulk(self, rows: Iterable[Row]) -> list[AddResult]:
        """Adds many jobs in one pipelined pass, in order, whatever mix of options they have.

        ``rows``: any iterable, also a generator, of payloads, ``(name, payload)``, ``(name, payload, options)`` or
        NamedPayload. It is read while earlier rows are on their way, in buffers of up to 250 rows.

        Raises BulkAddError when rows were refused, with one error per row: if there are any among the first 250 rows,
        nothing was added; further on, the good rows are added all the same. Raises RedisConnectionError when
        the connection broke; its notes say which rows are in the queue for certain.
        """
        bulk: BulkAdd[RawJob] = BulkAdd(self._producing, _rows(rows), RawJob, self)
        profile = self._client.profile()
        try:
            stream = self._client.stream(bulk.calls(profile), BUFFERS_UNDER_WAY)
            with contextlib.closing(stream) as confirmations:
                for _ in confirmations:
                    pass
        except RedisConnectionError as error:
            bulk.interrupted(error)
            raise
        bulk.finish()
        return [AddResult(job.id, job.is_duplicate) for job in bulk.jobs if job is not None]

    def cancel(self, job_id: str) -> bool:
        """Takes back a delayed job that was added with this ``job_id`` and is not due yet; whether there was one.

        Nothing else can be taken back: entries of a stream cannot be found by their job id.
        """
        call = self._producing.cancel(job_id, self._client.profile())
        try:
            self._client.run(call)
        except NotSupportedError:
            return False
        return True

    def get_result(self, job_id: str) -> bytes | None:
        """The stored result of a job, or None.

        None means: not completed yet, expired, or never written. What a Worker stored is MessagePack
        (``decode_payload``).
        """
        return (self._client.run(stored_bytes(self._keys, [job_id])))[0]

    def get_results(self, job_ids: Iterable[str]) -> list[bytes | None]:
        """The stored results of many jobs, in the same order, in one round trip."""
        wanted = list(job_ids)
        return self._client.run(stored_bytes(self._keys, wanted)) if wanted else []

    def peek_dlq(self, limit: int = 20) -> list[DlqEntry]:
        """The oldest ``limit`` dead letters; ``payload`` of each is the whole envelope of the job."""
        return self._client.run(dead_letters.peek(self._keys, limit))

    def replay_dlq(self, limit: int = 100) -> int:
        """Moves up to ``limit`` dead letters back into the queue, attempts counted anew; returns how many.

        Each moves exactly once, also with several callers at a time. Entries that cannot be decoded stay where they
        are and do not stand in the way of the others.
        """
        return self._drive(dead_letters.replay(self._keys, self._client.profile(), limit))

    def upsert_repeatable(self, spec: RepeatableSpec) -> str:
        """Stores a repeatable spec, or replaces the one with its key; returns the key.

        The count of past fires is kept when a spec is replaced. Raises InvalidOptionError when it would never fire.
        """
        if not isinstance(spec, RepeatableSpec):
            raise InvalidOptionTypeError(f"the spec is {type(spec).__name__}; expected a RepeatableSpec.")
        stored = self._producing.repeat_spec(spec.job_name, spec.payload, spec.to_jobs_options())
        self._drive(repeatables.upsert_spec(self._keys, stored, self._client.profile()))
        return stored.key

    def list_repeatable(self, limit: int = 100) -> list[RepeatableMeta]:
        """The first ``limit`` repeatable specs by next fire time."""
        return self._drive(repeatables.list_specs(self._keys, limit))

    def remove_repeatable_by_key(self, key: str) -> bool:
        """Removes a repeatable spec by its resolved key; whether there was one."""
        return self._client.run(repeatables.remove_spec(self._keys, key, self._client.profile()))

    def close(self) -> None:
        """Closes the connections. Idempotent; later calls of other methods raise ClosedError."""
        self._client.close()

    def _drive(self, steps: Generator[Call[Any], Any, T]) -> T:
        """Runs an operation of several steps: each Call that it yields, with the result sent back."""
        try:
            call = next(steps)
            while True:
                call = steps.send(self._client.run(call))
        except StopIteration as end:
            result: T = end.value
            return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Producer {self.queue_name!r}{' closed' if self.is_closed else ''}>"


def _rows(rows: Iterable[Row]) -> Iterable[Any]:
    """The rows in the forms that ``BulkAdd`` knows, one by one; what is no row is left for it to refuse."""
    if isinstance(rows, bytes | bytearray | memoryview):
        raise InvalidOptionTypeError("add_bulk takes an iterable of rows; for one payload call add().")
    if isinstance(rows, str | Mapping) or not isinstance(rows, Iterable):
        return rows
    return _each_row(rows)


def _each_row(rows: Iterable[Row]) -> Iterator[Any]:
    for row in rows:
        if isinstance(row, bytes | bytearray | memoryview):
            yield "", row
        elif isinstance(row, NamedPayload):
            yield row.name, row.payload, row.opts
        else:
            yield row
