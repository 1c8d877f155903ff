"""The producer of one queue, asynchronous form: what users call to put work on it.

A façade: every decision is in ``_core.producer``, ``_core.bulk`` and ``_core.dead_letters``; here they are named,
documented and run. ``chasquimq.sync.queue`` is generated from this file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Generic, Literal, Self, TypeVar, overload

from chasquimq._core import dead_letters
from chasquimq._core.bulk import BUFFERS_UNDER_WAY, BulkAdd
from chasquimq._core.call import Call
from chasquimq._core.carrying import OfOneProcess
from chasquimq._core.dead_letters import DlqEntry
from chasquimq._core.keys import QueueKeys
from chasquimq._core.producer import Producing, made_job, producer_settings
from chasquimq._core.repeatable_meta import RepeatableMeta
from chasquimq._fast import mint_ulid
from chasquimq._first_use import first_use
from chasquimq._net.clock import SystemClock
from chasquimq.address import resolve_address
from chasquimq.aio._client import Client
from chasquimq.aio._unsupported import UnsupportedQueueMethods
from chasquimq.aio.job import Job
from chasquimq.errors import InvalidJobIdError, RedisConnectionError
from chasquimq.job import DataT, ResultT
from chasquimq.options import (
    BackoffOptions,
    BulkJob,
    JobsOptions,
    QueueOptions,
    RepeatOptions,
    keywords,
    merge,
)
from chasquimq.times import Duration, Instant

__all__ = ["Queue"]

T = TypeVar("T")
Row = tuple[str, Any] | tuple[str, Any, Any] | Mapping[str, Any] | BulkJob


class Queue(OfOneProcess, UnsupportedQueueMethods, Generic[DataT, ResultT]):
    """A producer for a single queue (product page, Queue).

    Lazy: nothing is connected before the first call. Safe to share across tasks; a forked child process opens its
    own connections. Use it as a context manager, or call ``close()``.

    ``name``: the queue's name. ``connection``: a URL, a mapping, ConnectionOptions, an existing redis-py client,
    ``"embedded://"``, or None for the environment variable ``CHASQUIMQ_REDIS_URL``, else
    ``redis://127.0.0.1:6379/0``. ``default_job_options``: defaults of every job. ``prefix``: accepted, ignored.
    ``max_payload_bytes``: largest encoded job, default 1 MiB (what workers accept). ``max_delay_ms``: longest
    delay, default 30 days, 0 = no limit. ``dedup_window_ms``: how long a ``job_id`` stays reserved after an
    immediate add, and beyond the due time after a delayed one; default 1 hour. ``events``: whether every add is told
    in the events stream, as ``waiting`` or ``delayed``, in the step that adds the job; default False, because that
    doubles or triples what an add costs the server.

    Raises InvalidOptionError, InvalidOptionTypeError; every method raises ClosedError after ``close()`` and
    RedisConnectionError when the server cannot be reached.
    """

    _result_waits: Any = None
    """Where jobs wait for their results, ``ResultWaits``; made when the first one does."""

    def __init__(
        self,
        name: str,
        *,
        connection: Any = None,
        default_job_options: JobsOptions | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        max_payload_bytes: int | None = None,
        max_delay_ms: Duration | None = None,
        dedup_window_ms: Duration | None = None,
        events: bool | None = None,
        opts: QueueOptions | Mapping[str, Any] | None = None,
    ) -> None:
        given = keywords(
            connection=connection,
            default_job_options=default_job_options,
            prefix=prefix,
            max_payload_bytes=max_payload_bytes,
            max_delay_ms=max_delay_ms,
            dedup_window_ms=dedup_window_ms,
            events=events,
        )
        options = merge(QueueOptions, opts, given)
        self._keys = QueueKeys(name)
        self._client = Client(resolve_address(options.connection), self._keys.stream)
        self._producing = Producing(
            self._keys, producer_settings(options), now_ms=SystemClock.wall_ms, producer_id=mint_ulid()
        )

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._keys.name

    @property
    def is_closed(self) -> bool:
        """True after the first ``close()``."""
        return self._client.is_closed

    async def add(
        self,
        name: str,
        data: DataT,
        *,
        opts: JobsOptions | Mapping[str, Any] | None = None,
        delay: Duration | Instant | None = None,
        attempts: int | None = None,
        backoff: Duration | BackoffOptions | Mapping[str, Any] | None = None,
        job_id: str | None = None,
        repeat: RepeatOptions | Mapping[str, Any] | None = None,
        repeat_job_key: str | None = None,
        priority: int | None = None,
        lifo: bool | None = None,
        timestamp: Instant | None = None,
        parent: Mapping[str, str] | None = None,
        remove_on_complete: bool | int | None = None,
        remove_on_fail: bool | int | None = None,
    ) -> Job[DataT, ResultT]:
        """Adds one job, in one round trip (product page, queue.add).

        ``name``: dispatch name, at most 256 bytes, may be empty. ``data``: anything MessagePack can carry.
        ``delay``: milliseconds or timedelta until it becomes due, or an aware datetime; default 0. ``attempts``:
        total runs allowed, default the worker's. ``backoff``: milliseconds (fixed) or BackoffOptions. ``job_id``:
        a stable id; adding it again within the deduplication window adds nothing, and the returned job says so
        (``is_duplicate``). ``repeat``: stores a repeatable spec instead, under ``repeat_job_key`` or a key made of name
        and pattern, which is the returned job's id.

        See JobsOptions for the others.

        Raises InvalidOptionError, InvalidOptionTypeError, InvalidJobIdError, PayloadEncodeError,
        PayloadTooLargeError, NotSupportedError before any I/O; ServerReplyError; RedisConnectionError, whose
        ``may_have_executed`` says whether the job may be in the queue all the same.
        """
        # The plain add is the one that is called a million times: it builds no options.
        if (
            opts is None and delay is None and attempts is None and backoff is None and job_id is None
            and repeat is None and repeat_job_key is None and priority is None and lifo is None and timestamp is None
            and parent is None and remove_on_complete is None and remove_on_fail is None
        ):  # fmt: skip
            return await self._add(name, data, self._producing.settings.defaults)
        given = keywords(
            delay=delay,
            attempts=attempts,
            backoff=backoff,
            job_id=job_id,
            repeat=repeat,
            repeat_job_key=repeat_job_key,
            priority=priority,
            lifo=lifo,
            timestamp=timestamp,
            parent=parent,
            remove_on_complete=remove_on_complete,
            remove_on_fail=remove_on_fail,
        )
        return await self._add(name, data, self._producing.options(opts, given))

    async def add_unique(
        self,
        name: str,
        data: DataT,
        *,
        job_id: str | None = None,
        opts: JobsOptions | Mapping[str, Any] | None = None,
        delay: Duration | Instant | None = None,
        attempts: int | None = None,
        backoff: Duration | BackoffOptions | Mapping[str, Any] | None = None,
        repeat: RepeatOptions | Mapping[str, Any] | None = None,
        repeat_job_key: str | None = None,
        priority: int | None = None,
        lifo: bool | None = None,
        timestamp: Instant | None = None,
        parent: Mapping[str, str] | None = None,
        remove_on_complete: bool | int | None = None,
        remove_on_fail: bool | int | None = None,
    ) -> Job[DataT, ResultT]:
        """``add`` with a required ``job_id`` (product page, queue.addUnique).

        Strict across processes for the deduplication window: the first add wins, every later one adds nothing and
        returns a job whose ``is_duplicate`` is True. Raises InvalidJobIdError when ``job_id`` is missing or blank.
        """
        given = keywords(
            delay=delay,
            attempts=attempts,
            backoff=backoff,
            job_id=job_id,
            repeat=repeat,
            repeat_job_key=repeat_job_key,
            priority=priority,
            lifo=lifo,
            timestamp=timestamp,
            parent=parent,
            remove_on_complete=remove_on_complete,
            remove_on_fail=remove_on_fail,
        )
        options = self._producing.options(opts, given)
        if options is None or options.job_id is None:
            raise InvalidJobIdError(
                "add_unique needs a job_id: the text that makes this job unique, for example 'invoice-42'."
            )
        return await self._add(name, data, options)

    async def _add(self, name: str, data: DataT, options: JobsOptions | None) -> Job[DataT, ResultT]:
        if options is not None and options.repeat is not None:
            return await self._add_repeatable(name, data, options)
        producing, profile = self._producing, self._client.known_profile
        plain: tuple[Call[bool], Job[DataT, ResultT]] | None = None
        if options is None and profile is not None:
            plain = producing.add_plain(Job, self, name, data, profile)
        if plain is None:
            new = producing.new_job(name, data, options)
            call = producing.add(new, await self._client.profile())
            plain = call, made_job(Job, self, new, name, data)
        call, job = plain
        job.is_duplicate = await self._client.run(call)
        return job

    async def _add_repeatable(self, name: str, data: DataT, options: JobsOptions) -> Job[DataT, ResultT]:
        from chasquimq._core import repeatables  # noqa: PLC0415  as below: cron and time zones, rarely needed

        spec = self._producing.repeat_spec(name, data, options)
        await self._drive(repeatables.upsert_spec(self._keys, spec, await self._client.profile()))
        job: Job[DataT, ResultT] = Job(spec.key, name, data, SystemClock.wall_ms())
        job.queue = self
        job._opts = options
        return job

    async def _drive(self, steps: Generator[Call[Any], Any, T]) -> T:
        """Runs an operation of several steps: each Call that it yields, with the result sent back."""
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._client.run(call))
        except StopIteration as end:
            result: T = end.value
            return result

    @overload
    async def add_bulk(
        self, jobs: Iterable[Row], *, return_jobs: Literal[True] = True
    ) -> list[Job[DataT, ResultT]]: ...
    @overload
    async def add_bulk(self, jobs: Iterable[Row], *, return_jobs: Literal[False]) -> int: ...
    async def add_bulk(self, jobs: Iterable[Row], *, return_jobs: bool = True) -> list[Job[DataT, ResultT]] | int:
        """Adds many jobs in one pipelined pass, in order, whatever mix of options they have.

        ``jobs``: any iterable, also a generator, of ``(name, data)``, ``(name, data, options)``, mappings with
        these keys (``name``, ``data``, ``opts``) or BulkJob. It is read while earlier rows are on their way, in
        buffers of up to 250 rows. ``return_jobs``: False returns the number of rows instead of the jobs, so that
        millions of rows need the memory of a few buffers.

        Raises BulkAddError when rows were refused, with one error per row: if there are any among the first 250
        rows, nothing was added; further on, the good rows are added all the same. Raises RedisConnectionError when
        the connection broke; its notes say which rows are in the queue for certain.
        """
        bulk: BulkAdd[Job[DataT, ResultT]] = BulkAdd(self._producing, jobs, Job if return_jobs else None, self)
        profile = await self._client.profile()
        try:
            stream = self._client.stream(bulk.calls(profile), BUFFERS_UNDER_WAY)
            async with contextlib.aclosing(stream) as confirmations:
                async for _ in confirmations:
                    pass
        except RedisConnectionError as error:
            bulk.interrupted(error)
            raise
        bulk.finish()
        if not return_jobs:
            return bulk.added
        return [job for job in bulk.jobs if job is not None]

    async def remove(self, job_id: str) -> int:
        """Cancels a delayed job that was added with this ``job_id`` and is not due yet (product page, queue.remove).

        Returns 1; raises NotSupportedError when there is no such job, because entries of a stream cannot be removed
        by their job id.
        """
        return await self._client.run(self._producing.cancel(job_id, await self._client.profile()))

    async def get_job_result(self, job_id: str) -> ResultT | None:
        """The stored return value of a job, or None (product page, queue.getJobResult).

        None means: not completed yet, expired, or never written (the handler returned None, its worker runs without
        ``store_results``, or the job failed).
        """
        result: ResultT | None = await self._client.run(dead_letters.stored_result(self._keys, job_id))
        return result

    async def _wait_for_result(self, job_id: str, budget_ms: float, interval_ms: float, signal: Any) -> Any:
        """What ``Job.wait_for_result`` does; all waits of a queue are kept together."""
        waits = self._result_waits
        if waits is None:
            with first_use:
                from chasquimq.aio._result_waits import ResultWaits  # noqa: PLC0415  whoever only adds jobs needs none

            # setdefault: of several that come here at the same time, the first one's is everybody's.
            waits = vars(self).setdefault("_result_waits", ResultWaits(self._client, self._keys))
        return await waits.wait(job_id, budget_ms, interval_ms, signal)

    async def peek_dlq(self, limit: int = 20) -> list[DlqEntry]:
        """The oldest ``limit`` dead letters (product page, queue.peekDlq)."""
        return await self._client.run(dead_letters.peek(self._keys, limit))

    async def replay_dlq(self, limit: int = 100) -> int:
        """Moves up to ``limit`` dead letters back into the queue, attempts counted anew; returns how many.

        Each moves exactly once, also with several callers at a time. Entries that cannot be decoded stay where they
        are and do not stand in the way of the others (product page, queue.replayDlq).
        """
        return await self._drive(dead_letters.replay(self._keys, await self._client.profile(), limit))

    async def get_repeatable_jobs(self, limit: int = 100) -> list[RepeatableMeta]:
        """The first ``limit`` repeatable specs by next fire time (product page, queue.getRepeatableJobs)."""
        from chasquimq._core import repeatables  # noqa: PLC0415

        return await self._drive(repeatables.list_specs(self._keys, limit))

    async def remove_repeatable_by_key(self, key: str) -> bool:
        """Removes a repeatable spec by its resolved key; whether there was one (product page)."""
        from chasquimq._core import repeatables  # noqa: PLC0415

        return await self._client.run(repeatables.remove_spec(self._keys, key, await self._client.profile()))

    async def close(self) -> None:
        """Closes the connections. Idempotent; later calls of other methods raise ClosedError, as do waits."""
        try:
            await self._client.close()
        finally:
            if self._result_waits is not None:
                self._result_waits.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}{' closed' if self.is_closed else ''}>"
