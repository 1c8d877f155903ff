"""The threads of a worker, synchronous form.

Who waits where::

    reader        blocked in XREADGROUP, or parked until there is room
    consumers     parked until there is an entry, else inside the user's handler; up to ``concurrency`` of them
    acker         parked until something has ended, else writing a batch
    housekeeper   leases and promotion (``_net.housekeeper``)

What happens to an entry is decided in ``_core``; this file only moves it from one thread to the next. Threads are
started when there is work for them and woken one at a time: a fast handler keeps one consumer warm instead of
waking a hundred, a slow one wakes the next before it starts. All threads are daemons, because a handler that does
not return must not keep the process from ending.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

from chasquimq._core.call import Call
from chasquimq._core.clock import Clock
from chasquimq._core.log import logger_named
from chasquimq._core.pipeline import Pipeline
from chasquimq._core.reconnect import Outage, worker_delay_ms
from chasquimq._core.worker import WorkerCore
from chasquimq._fast import Entry, pack_command
from chasquimq._net.following import FollowingConnection
from chasquimq._net.forking import end_stray_child
from chasquimq._net.housekeeper import Housekeeper
from chasquimq._net.parking import Parking
from chasquimq._net.scheduling import run_on
from chasquimq.errors import ChasquiError, ServerReplyError
from chasquimq.sync._client import Client

__all__ = ["Engine"]

logger = logger_named("chasquimq.worker")

UNBLOCK_INTERVAL_S = 0.05
UNBLOCK_ATTEMPTS = 20
FLUSH_S = 5.0
"""How long the acker may go on after the drain, when the server does not answer."""
FORCED_FLUSH_S = 1.0


class Engine:
    """From ``start`` to ``finish``, in this order: start, stop_reading, hand_back, finish."""

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
        self._processor = processor
        self._clock = clock
        self._report = report
        self._progressed = progressed
        self._own = threading.local()

        self._reader: threading.Thread | None = None
        self._reader_connection: FollowingConnection | None = None
        self._reading_ends = threading.Event()
        self._room = Parking()

        self._idle = Parking()
        self._spawning = threading.Lock()
        self._consumers: list[threading.Thread] = []
        self._is_waking = False
        """A consumer was woken or started and has not looked for work yet; it will wake the next if need be."""
        self._consuming_ends = False
        self._is_parents = False

        self._acker: threading.Thread | None = None
        self._ended = Parking()
        self._acking_ends = False
        self._acker_gives_up = threading.Event()
        self._written = threading.Condition()

        self._housekeeper = Housekeeper(core, client.dedicated, clock, report)

    @property
    def is_own_thread(self) -> bool:
        """Whether the caller is one of this engine's threads, which must not wait for their own end."""
        return getattr(self._own, "is_own", False)

    @property
    def is_drained(self) -> bool:
        """Whether nothing runs and every end is written."""
        return len(self._core.book) == 0

    def start(self) -> None:
        """Connects and starts the threads. Raises when the server cannot be used."""
        self._client.run(self._core.reading.create_group(self._client.profile()))
        self._housekeeper.start()
        self._acker = self._spawn(self._ack, "chasquimq-acker")
        self._reader = self._spawn(self._read, "chasquimq-reader")

    def _spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        def run() -> None:
            self._own.is_own = True
            target()

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def leave_to_parent(self) -> None:
        """In a forked child: the threads are the parent's. A consumer that has forked runs nothing more here."""
        self._is_parents = self._consuming_ends = True
        self._core.leave_to_parent()

    # -- reader ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        outage = Outage(logger, "jobs are read")
        while not self._reading_ends.is_set():
            try:
                with contextlib.closing(self._client.dedicated()) as connection:
                    self._reader_connection = connection
                    run_on(connection, self._core.reading.create_group(connection.profile))
                    connection.read_with(self._core.reading.reader)
                    while self._read_from(connection):
                        outage.over()
            except ChasquiError as error:
                if self._reading_ends.is_set():
                    return
                if outage.failed(error):
                    self._report(error)
                self._reading_ends.wait(worker_delay_ms(outage.failures, random.random()) / 1000)  # noqa: S311 - jitter

    def _read_from(self, connection: FollowingConnection) -> bool:
        """One read, when there is room for one; False when reading ends."""
        core, profile = self._core, connection.profile
        while not (count := core.wanted()):
            if self._reading_ends.is_set():
                return False
            self._room.park(lambda: core.wanted() or self._reading_ends.is_set())
        if self._reading_ends.is_set():
            return False
        sent_at = self._clock.monotonic_ms()
        try:
            if profile.has_claim or not core.reading.is_claim_due(sent_at):
                entries = run_on(connection, core.read(count, profile))
            else:
                entries = run_on(connection, core.reading.claim(count, profile, sent_at))
        except ServerReplyError as error:
            if error.code != "NOGROUP":
                raise
            logger.warning("the consumer group is gone (FLUSHALL, DEL, XGROUP DESTROY?); it is created again")
            run_on(connection, core.reading.create_group(profile))
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
        if self._is_waking:
            return
        self._is_waking = True
        if self._idle.unpark():
            return
        with self._spawning:
            if len(self._consumers) < self._core.settings.concurrency:
                self._consumers.append(self._spawn(self._consume, "chasquimq-consumer"))
            else:
                self._is_waking = False

    def _consume(self) -> None:
        core, processor = self._core, self._processor
        ready, ended, idle = core.ready, self._ended, self._idle
        start, complete, fail = core.start, core.complete, core.fail
        acks_each = core.settings.ack_each
        self._is_waking = False
        while not self._consuming_ends:
            try:
                entry = ready.popleft()
            except IndexError:
                idle.park(lambda: ready or self._consuming_ends)
                self._is_waking = False
                continue
            if ready and not self._is_waking:
                self._wake_consumer()
            try:
                job = start(entry)
                if job is not None:
                    try:
                        result = processor(job)
                    except BaseException as error:  # noqa: BLE001 - SystemExit of user code too: we live
                        if self._is_parents:
                            end_stray_child(error)
                        fail(job, error)
                    else:
                        complete(job, result)
                elif self._reading_ends.is_set() and self.is_drained:
                    self._progressed()
            except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the thread
                core.broke(entry, error)
            if ended:
                ended.unpark()
            if acks_each and not self._is_parents:
                self._wait_until_written(entry)
        if self._is_parents:
            end_stray_child(None)

    def _wait_until_written(self, entry: Entry) -> None:
        with self._written:
            self._written.wait_for(lambda: entry.entry_id not in self._core.book or self._acker_gives_up.is_set())

    # -- acker -----------------------------------------------------------------------------------------------------

    def _ack(self) -> None:
        connection: FollowingConnection | None = None
        settlement = self._core.settlement
        outage = Outage(logger, "the ends of jobs are written")
        try:
            while not self._acker_gives_up.is_set():
                if settlement.is_empty:
                    if self._acking_ends:
                        return
                    self._ended.park(lambda: not settlement.is_empty or self._acking_ends)
                    continue
                if gathering_ms := self._core.gathering_ms:
                    self._acker_gives_up.wait(gathering_ms / 1000)
                try:
                    if connection is None or connection.is_closed:
                        connection = self._client.dedicated()
                    has_refusals = self._write_batch(connection)
                except ChasquiError as error:
                    if outage.failed(error):
                        self._report(error)
                else:
                    (outage.refused if has_refusals else outage.over)()
                if outage.failures:
                    self._acker_gives_up.wait(worker_delay_ms(outage.failures, random.random()) / 1000)  # noqa: S311
        finally:
            if connection is not None:
                connection.close()

    def _write_batch(self, connection: FollowingConnection) -> bool:
        """Writes what has gathered; True when the server refused a part of it."""
        taken = self._core.take_batch(connection.profile)
        if taken is None:
            return False
        batch, calls = taken
        try:
            if calls:
                pipeline = Pipeline(calls)
                replies = connection.exchange(pipeline.request, pipeline.replies)
                positions, request = pipeline.missing(replies)
                if positions:
                    for position, reply in zip(positions, connection.exchange(request, len(positions)), strict=True):
                        replies[position] = reply
                pipeline.results(replies)
        except BaseException:
            self._core.settlement.put_back(batch)
            raise
        self._core.settled(batch)
        if self._room:
            self._room.unpark()
        if self._core.settings.ack_each:
            with self._written:
                self._written.notify_all()
        if self._reading_ends.is_set() and self.is_drained:
            self._progressed()
        return bool(batch.refusals)

    # -- shutdown --------------------------------------------------------------------------------------------------

    def stop_reading(self) -> None:
        """No entry is taken after this: the blocked read is answered or cut, and no consumer starts another job."""
        self._consuming_ends = True
        self._housekeeper.stop_leading()
        self._reading_ends.set()
        reader = self._reader
        if reader is None:
            return
        self._release_locks()
        for _ in range(UNBLOCK_ATTEMPTS):
            self._room.unpark_all()
            connection = self._reader_connection
            if connection is None or connection.client_id is None:
                break
            # Unblocking lets the server tell us about an entry that it may be handing out right now.
            call = Call("worker.unblock", pack_command([b"CLIENT", b"UNBLOCK", connection.client_id]), lambda _: None)
            try:
                self._client.run(call)
            except ChasquiError:
                break
            reader.join(UNBLOCK_INTERVAL_S)
            if not reader.is_alive():
                return
        if self._reader_connection is not None:
            self._reader_connection.interrupt()
        reader.join(UNBLOCK_INTERVAL_S * UNBLOCK_ATTEMPTS)

    def hand_back(self) -> None:
        """Gives every entry that has not started to whoever reads next; deletes the consumer if that was all."""
        if self._reader is None:
            return
        self._core.drop_ready()
        try:
            self._client.run(self._core.release(self._client.profile()))
        except ChasquiError as error:
            logger.warning("could not hand back the jobs that were not started; their leases run out: %s", error)

    def finish(self, *, is_forced: bool) -> None:
        """Ends all threads, writes what has ended, and leaves the consumer group."""
        self._acking_ends = True
        self._idle.unpark_all()
        self._ended.unpark_all()
        if self._acker is not None:
            self._acker.join(FORCED_FLUSH_S if is_forced else FLUSH_S)
        self._acker_gives_up.set()
        with self._written:
            self._written.notify_all()
        self._housekeeper.stop()
        if not is_forced:
            for consumer in self._consumers:
                consumer.join()
        if self._reader is not None:
            self.hand_back()
            self._release_locks()

    def _release_locks(self) -> None:
        try:
            for release in self._core.release_locks(self._client.profile()):
                self._client.run(release)
        except ChasquiError as error:
            logger.info("the leader locks were not released and run out by themselves: %s", error)
