"""The tasks of a worker, asynchronous form (asyncio and trio).

Who waits where::

    reader        awaits XREADGROUP, or is parked until there is room
    consumers     parked until there is an entry, else inside the user's handler; up to ``concurrency`` of them
    acker         parked until something has ended, else writing a batch
    listeners     a task for each listener that is a coroutine function, for as long as it runs
    housekeeper   leases and promotion: a thread (``_net.housekeeper``), which a blocked event loop cannot stop

What happens to an entry is decided in ``_core``; this file only moves it from one task to the next. Consumers live
long: a task per job would cost more than the rest together. They are started when there is work for them and woken
one at a time. All tasks run in one shielded scope, which ends when ``finish`` ends it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from chasquimq._core.call import Call
from chasquimq._core.clock import Clock
from chasquimq._core.log import logger_named
from chasquimq._core.pipeline import Pipeline
from chasquimq._core.reconnect import Outage, splice, worker_delay_ms
from chasquimq._core.worker import WorkerCore
from chasquimq._core.worker_settings import is_coroutine_function
from chasquimq._fast import Entry, pack_command
from chasquimq._net.event_loop import protect_from_interrupts
from chasquimq._net.forking import end_stray_child
from chasquimq._net.housekeeper import Housekeeper
from chasquimq.aio._calls import run_on
from chasquimq.aio._client import Client, Connection
from chasquimq.aio._handler import ThreadedHandler
from chasquimq.aio._listening import Listening
from chasquimq.aio._parking import TaskParking
from chasquimq.errors import ChasquiError, ServerReplyError

__all__ = ["Engine"]

logger = logger_named("chasquimq.worker")

UNBLOCK_INTERVAL_S, UNBLOCK_ATTEMPTS = 0.05, 20
FLUSH_S, FORCED_FLUSH_S = 5.0, 1.0
"""How long the acker may go on after the drain, when the server does not answer."""
TURN_MS = 5.0
"""How long consumers may keep the event loop before other tasks get their turn."""

_inside: ContextVar[object] = ContextVar("chasquimq_inside", default=None)


class Engine:
    """From ``open`` to ``finish``, in this order: open, main (a task), stop_reading, hand_back, finish."""

    def __init__(
        self,
        core: WorkerCore[Any],
        client: Client,
        processor: Callable[[Any], Any],
        clock: Clock,
        report: Callable[[Exception], None],
        progressed: Callable[[], None],
    ) -> None:
        self._core = core
        self._client = client
        self._clock = clock
        self._report = report
        self._progressed = progressed
        is_plain = not is_coroutine_function(processor)
        self._in_threads = ThreadedHandler(processor, core.settings.concurrency) if is_plain else None
        self._handle = self._in_threads or processor
        self._tasks: anyio.abc.TaskGroup | None = None
        self._all_ended: anyio.Event | None = None

        self._reader_scope: anyio.CancelScope | None = None
        self._reader_connection: Connection | None = None
        self._reader_ended: anyio.Event | None = None
        self._room = TaskParking()

        self._idle = TaskParking()
        self._consumers = 0
        self._is_waking = False
        """A consumer was woken or started and has not looked for work yet; it will wake the next if need be."""
        self._reading_ends = self._consuming_ends = self._acking_ends = self._is_parents = False
        self._turn_ends_at = 0.0

        self._ended = TaskParking()
        self._acker_ended: anyio.Event | None = None
        self._written: anyio.Event | None = None
        self.listening = Listening()
        self._housekeeper: Housekeeper | None = None

    @property
    def is_own_task(self) -> bool:
        """Whether the caller is (or was started by) one of this engine's tasks, which must not wait for its end."""
        return _inside.get() is self

    def own_this_task(self) -> None:
        """Has the caller, and whatever it starts, count as one of this engine's tasks."""
        _inside.set(self)

    @property
    def is_drained(self) -> bool:
        """Whether nothing runs and every end is written."""
        return len(self._core.book) == 0

    @property
    def has_ended(self) -> bool:
        """Whether the tasks have ended, in good order or not."""
        return self._all_ended is not None and self._all_ended.is_set()

    async def open(self) -> None:
        """Connects. Raises when the server cannot be used."""
        protect_from_interrupts(Engine.main, Engine._read, Engine._ack, Engine._consume, Listening.run)
        await self._client.run(self._core.reading.create_group(await self._client.profile()))
        connect = await self._client.blocking_opener()
        self._housekeeper = Housekeeper(self._core, connect, self._clock, self._report)

    async def main(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Runs all tasks until ``finish``."""
        assert self._housekeeper is not None  # noqa: S101 - open() comes first
        self._reader_ended, self._acker_ended, self._written = anyio.Event(), anyio.Event(), anyio.Event()
        self._all_ended, self._reader_scope = anyio.Event(), anyio.CancelScope()
        self.own_this_task()
        self._housekeeper.start()
        try:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as self._tasks:
                    self._tasks.start_soon(self._read)
                    self._tasks.start_soon(self._ack)
                    self.listening.start_in(self._tasks)
                    task_status.started()
        finally:
            self._all_ended.set()
            if self._in_threads is not None:
                self._in_threads.close()
            self._housekeeper.ask_to_stop()  # at once: asyncio may cancel what is awaited now
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._housekeeper.stop)

    def leave_to_parent(self) -> None:
        """In a forked child: the tasks are the parent's. A consumer that has forked runs nothing more here."""
        self._is_parents = self._reading_ends = self._consuming_ends = self._acking_ends = True
        self._core.leave_to_parent()

    # -- reader ----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        assert self._reader_ended is not None  # noqa: S101 - set by main()
        assert self._reader_scope is not None  # noqa: S101 - set by main()
        outage = Outage(logger, "jobs are read")
        try:
            with self._reader_scope:
                while not self._reading_ends:
                    try:
                        connection = self._reader_connection = await self._client.dedicated()
                        try:
                            await run_on(connection, self._core.reading.create_group(connection.profile))
                            connection.read_with(self._core.reading.reader)
                            while await self._read_from(connection):
                                outage.over()
                        finally:
                            connection.abort()
                    except ChasquiError as error:
                        if self._reading_ends:
                            return
                        if outage.failed(error):
                            self._report(error)
                        await anyio.sleep(worker_delay_ms(outage.failures, random.random()) / 1000)  # noqa: S311 - jitter
        finally:
            self._reader_ended.set()

    async def _read_from(self, connection: Connection) -> bool:
        """One read, when there is room for one; False when reading ends."""
        core, profile = self._core, connection.profile
        while not (count := core.wanted()):
            if self._reading_ends:
                return False
            await self._room.park(lambda: core.wanted() or self._reading_ends)
        if self._reading_ends:
            return False
        sent_at = self._clock.monotonic_ms()
        try:
            if profile.has_claim or not core.reading.is_claim_due(sent_at):
                entries = await run_on(connection, core.read(count, profile))
            else:
                entries = await run_on(connection, core.reading.claim(count, profile, sent_at))
        except ServerReplyError as error:
            if error.code != "NOGROUP":
                raise
            logger.warning("the consumer group is gone (FLUSHALL, DEL, XGROUP DESTROY?); it is created again")
            await run_on(connection, core.reading.create_group(profile))
        else:
            self._arrived(entries, sent_at)
        return True

    def _arrived(self, entries: list[Entry], sent_at: float) -> None:
        if self._core.arrived(entries, sent_at):
            self._wake_consumer()
        if not self._core.settlement.is_empty:
            self._ended.unpark()

    # -- consumers -------------------------------------------------------------------------------------------------

    def _wake_consumer(self) -> None:
        if self._is_waking or self._tasks is None:
            return
        self._is_waking = True
        if self._idle.unpark():
            return
        if self._consumers < self._core.settings.concurrency:
            self._consumers += 1
            self._tasks.start_soon(self._consume)
        else:
            self._is_waking = False

    async def _consume(self) -> None:
        core, handle, clock = self._core, self._handle, self._clock
        ready, ended, idle = core.ready, self._ended, self._idle
        start, complete, fail = core.start, core.complete, core.fail
        acks_each = core.settings.ack_each
        self._is_waking = False
        while not self._consuming_ends:
            try:
                entry = ready.popleft()
            except IndexError:
                await idle.park(lambda: ready or self._consuming_ends)
                self._is_waking = False
                self._turn_ends_at = clock.monotonic_ms() + TURN_MS
                continue
            if ready and not self._is_waking:
                self._wake_consumer()
            job = None
            try:
                job = start(entry)
                if job is not None:
                    try:
                        result = await handle(job)
                    except BaseException as error:
                        if self._is_parents:
                            end_stray_child(error)
                        if self._is_cut_off:
                            if self._in_threads is None:  # a thread goes on: its entry stays leased
                                core.give_up(entry)
                            if isinstance(error, Exception):
                                return
                            raise
                        fail(job, error)
                    else:
                        complete(job, result)
                elif self._reading_ends and self.is_drained:
                    self._progressed()
            except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the worker
                core.broke(entry, error)
            if self._is_parents:
                end_stray_child(None)
            if ended:
                ended.unpark()
            if acks_each:
                await self._wait_until_written(entry)
            elif job is not None and job._started_ms > self._turn_ends_at:
                self._turn_ends_at = job._started_ms + TURN_MS
                await anyio.lowlevel.checkpoint()

    @property
    def _is_cut_off(self) -> bool:
        """Whether handlers end because this engine does, whatever they raise then; by their own doing they fail."""
        return self._tasks is not None and self._tasks.cancel_scope.cancel_called

    async def _wait_until_written(self, entry: Entry) -> None:
        while entry.entry_id in self._core.book:
            assert self._written is not None  # noqa: S101 - set by main()
            await self._written.wait()

    # -- acker -----------------------------------------------------------------------------------------------------

    async def _ack(self) -> None:
        assert self._acker_ended is not None  # noqa: S101 - set by main()
        connection: Connection | None = None
        settlement = self._core.settlement
        outage = Outage(logger, "the ends of jobs are written")
        try:
            while not (self._acking_ends and settlement.is_empty):
                if settlement.is_empty:
                    await self._ended.park(lambda: not settlement.is_empty or self._acking_ends)
                    continue
                if gathering_ms := self._core.gathering_ms:
                    await anyio.sleep(gathering_ms / 1000)
                try:
                    if connection is None or connection.is_closed:
                        connection = await self._client.dedicated()
                    has_refusals = await self._write_batch(connection)
                except ChasquiError as error:
                    if outage.failed(error):
                        self._report(error)
                else:
                    (outage.refused if has_refusals else outage.over)()
                if outage.failures:
                    await anyio.sleep(worker_delay_ms(outage.failures, random.random()) / 1000)  # noqa: S311 - jitter
        finally:
            if connection is not None:
                connection.abort()
            self._acker_ended.set()

    async def _write_batch(self, connection: Connection) -> bool:
        """Writes what has gathered; True when the server refused a part of it."""
        taken = self._core.take_batch(connection.profile)
        if taken is None:
            return False
        batch, calls = taken
        try:
            if calls:
                pipeline = Pipeline(calls)
                replies = await connection.submit(pipeline.request, pipeline.replies)
                positions, request = pipeline.missing(replies)
                if positions:
                    splice(replies, positions, await connection.submit(request, len(positions)))
                pipeline.results(replies)
        except BaseException:
            self._core.settlement.put_back(batch)
            raise
        self._core.settled(batch)
        self._room.unpark()
        if self._core.settings.ack_each and self._written is not None:
            self._written.set()
            self._written = anyio.Event()
        if self._reading_ends and self.is_drained:
            self._progressed()
        return bool(batch.refusals)

    # -- shutdown --------------------------------------------------------------------------------------------------

    async def stop_reading(self) -> None:
        """No entry is taken after this: the blocked read is answered or cut, and no consumer starts another job."""
        self._consuming_ends = True
        self._reading_ends = True
        if self._housekeeper is not None:
            self._housekeeper.stop_leading()
        assert self._reader_ended is not None  # noqa: S101 - main() runs
        await self._release_locks()
        for _ in range(UNBLOCK_ATTEMPTS):
            self._room.unpark()
            connection = self._reader_connection
            if connection is None or connection.client_id is None:
                break
            # Unblocking lets the server tell us about an entry that it may be handing out right now.
            call = Call("worker.unblock", pack_command([b"CLIENT", b"UNBLOCK", connection.client_id]), lambda _: None)
            try:
                await self._client.run(call)
            except ChasquiError:
                break
            with anyio.move_on_after(UNBLOCK_INTERVAL_S):
                await self._reader_ended.wait()
            if self._reader_ended.is_set():
                return
        assert self._reader_scope is not None  # noqa: S101 - main() runs
        self._reader_scope.cancel()
        await self._reader_ended.wait()

    async def hand_back(self) -> None:
        """Gives every entry that has not started to whoever reads next; deletes the consumer if that was all."""
        self._core.drop_ready()
        try:
            await self._client.run(self._core.release(await self._client.profile()))
        except ChasquiError as error:
            logger.warning("could not hand back the jobs that were not started; their leases run out: %s", error)

    async def finish(self, *, is_forced: bool) -> None:
        """Writes what has ended, ends all tasks, and leaves the consumer group."""
        assert self._acker_ended is not None  # noqa: S101 - main() runs
        assert self._tasks is not None  # noqa: S101 - main() runs
        self._acking_ends = True
        self._ended.unpark()
        self._idle.unpark_all()
        with anyio.move_on_after(FORCED_FLUSH_S if is_forced else FLUSH_S):
            await self._acker_ended.wait()
        if not is_forced:
            await self.listening.wait_a_moment()
        self._tasks.cancel_scope.cancel()
        assert self._all_ended is not None  # noqa: S101 - main() runs
        await self._all_ended.wait()
        with anyio.move_on_after(FORCED_FLUSH_S):
            await self._ack()  # what was done in spite of being cut off
        await self.hand_back()
        await self._release_locks()

    async def _release_locks(self) -> None:
        try:
            for release in self._core.release_locks(await self._client.profile()):
                await self._client.run(release)
        except ChasquiError as error:
            logger.info("the leader locks were not released and run out by themselves: %s", error)
