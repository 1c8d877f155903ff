"""The thread that keeps a worker's promises while everything else may be busy.

It renews the leases of all entries in the worker's hands and, when this worker leads, promotes due jobs and fires
repeatable ones. It has a thread and a connection of its own in every flavour: a handler that computes for a minute or
an event loop that is blocked stops neither. So it is also who looks at the server's settings, which nobody has to wait
for. It must never touch a job or call user code other than through the worker's core.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

import hiredis

from chasquimq._core.call import reply_error
from chasquimq._core.clock import Clock
from chasquimq._core.eviction import eviction_warning, read_policy
from chasquimq._core.keys import GROUP
from chasquimq._core.leases import IDS_PER_CALL
from chasquimq._core.log import logger_named
from chasquimq._core.reconnect import Outage, worker_delay_ms
from chasquimq._core.worker import REAP_INTERVAL_MS, WorkerCore
from chasquimq._fast import pack_command
from chasquimq._net.following import FollowingConnection
from chasquimq._net.scheduling import fire_due, run_on
from chasquimq.errors import ChasquiError, RedisConnectionError

__all__ = ["Housekeeper"]

logger = logger_named("chasquimq.worker")

LISTEN_MS = 5_000
"""How long one BLPOP stands; a new one follows."""
MOVING_WAIT_MS = 250
"""So long nobody listens after the server has said that the queue is leaving it."""
MIN_WAIT_MS = 0.2
"""Less than that is not worth a system call; the server's clock counts whole milliseconds."""

_looked_at: set[str] = set()
"""The servers whose eviction policy this process has looked at: one warning for each, whatever number of workers."""


class Housekeeper:
    """Runs from ``start`` to ``stop``; survives every kind of trouble with the server."""

    def __init__(
        self,
        core: WorkerCore[Any],
        connect: Callable[[], FollowingConnection],
        clock: Clock,
        report: Callable[[Exception], None],
    ) -> None:
        self._core = core
        self._connect = connect
        self._clock = clock
        self._report = report
        self._stopping = threading.Event()
        self._leads = True
        self._connection: FollowingConnection | None = None
        self._listener: FollowingConnection | None = None
        self._is_listening = False
        self._cannot_listen = False
        self._reap_at = clock.monotonic_ms() + REAP_INTERVAL_MS * random.random()  # noqa: S311 - not all at once
        self._was_answered = False
        """Whether the server did what the last round asked for; a round that asks for nothing proves nothing."""
        self._thread = threading.Thread(target=self._run, name="chasquimq-housekeeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Has the thread end, also out of a blocked read; waits for nothing."""
        self._stopping.set()
        for connection in (self._connection, self._listener):
            if connection is not None:
                connection.interrupt()

    def stop_leading(self) -> None:
        """Leases are still renewed; promotion and schedule are left to somebody else."""
        self._leads = False

    def stop(self) -> None:
        """Ends the thread, also out of a blocked read, and waits for it."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        outage = Outage(logger, "leases are renewed, and delayed jobs are moved when they are due")
        while not self._stopping.is_set():
            try:
                with contextlib.closing(self._connect()) as connection:
                    self._connection = connection
                    self._cannot_listen = False
                    _look_at_policy(connection)
                    try:
                        while self._keep_house(connection):
                            if self._was_answered:
                                outage.over()
                    finally:
                        if self._listener is not None:
                            self._listener.close()
            except Exception as error:  # noqa: BLE001 - this thread must outlive whatever happens to it
                if self._stopping.is_set():
                    return
                self._tell(error, is_news=outage.failed(error))
                self._stopping.wait(worker_delay_ms(outage.failures, random.random()) / 1000)  # noqa: S311 - jitter

    def _tell(self, error: Exception, *, is_news: bool) -> None:
        if not isinstance(error, ChasquiError):
            logger.exception("unexpected error in the housekeeper; it goes on", exc_info=error)
        if is_news:
            self._report(error)

    def _keep_house(self, connection: FollowingConnection) -> bool:
        """One round: renew, promote, fire, wait; False when it is time to stop."""
        promoter, scheduling = self._core.promoter, self._core.scheduling
        self._was_answered = False
        self._renew(connection)
        now = self._clock.monotonic_ms()
        until = now + self._core.book.renewal_interval_ms / 2
        if now >= self._reap_at:
            self._reap_at = now + REAP_INTERVAL_MS * (0.5 + random.random())  # noqa: S311 - not all at once
            run_on(connection, self._core.reap(connection.profile))
        if self._leads:
            if promoter.next_at <= now:
                self._promote(connection)
                self._was_answered = True
            until = min(until, promoter.next_at)
            if scheduling is not None:
                if scheduling.next_at <= now:
                    fire_due(connection, scheduling, self._clock, self._report)
                    self._was_answered = True
                until = min(until, scheduling.next_at)
        self._wait(until - self._clock.monotonic_ms())
        return not self._stopping.is_set()

    def _wait(self, wait_ms: float) -> None:
        """Waits; shorter when a producer reports something that is due earlier than what we know of.

        The report comes as the answer to a BLPOP that is left standing on a connection of its own. Its timeout would
        not do as our clock: an idle server looks at timeouts ten times a second only.
        """
        if wait_ms < MIN_WAIT_MS:
            return
        wake_keys = self._wake_keys()
        if not (wake_keys or self._is_listening):
            self._stopping.wait(wait_ms / 1000)
            return
        listener = self._listener
        if listener is None or listener.is_closed:
            listener = self._listener = self._connect()
            self._is_listening = False
        if self._stopping.is_set():  # whoever stops us may have looked for a listener before there was one
            return
        if not self._is_listening:
            listener.send(pack_command([b"BLPOP", *wake_keys, LISTEN_MS // 1000]))
            self._is_listening = True
        if not listener.can_read(wait_ms):
            return
        reply = listener.receive(1, LISTEN_MS)[0]
        self._is_listening = False
        if listener.is_closed:  # the queue is on its way to another server
            self._stopping.wait(min(wait_ms, MOVING_WAIT_MS) / 1000)
            return
        if isinstance(reply, hiredis.ReplyError):
            # Without the right to listen (or with somebody else's key in the way) the poll has to do.
            self._report(reply_error("worker.listen", reply))
            self._cannot_listen = True
        elif isinstance(reply, list):
            if reply[0] == self._core.keys.wake:
                self._core.promoter.wake()
            elif self._core.scheduling is not None:
                self._core.scheduling.wake()

    def _wake_keys(self) -> list[bytes]:
        core = self._core
        if not self._leads or self._cannot_listen:
            return []
        wake_keys = [core.keys.wake] if core.promoter.listens else []
        if core.scheduling is not None and core.scheduling.listens:
            wake_keys.append(core.keys.scheduler_wake)
        return wake_keys

    def _promote(self, connection: FollowingConnection) -> None:
        promoter = self._core.promoter
        try:
            if promoter.is_idle:
                promoter.peeked(run_on(connection, promoter.peek()), self._clock.monotonic_ms())
                return
            result = run_on(connection, promoter.promote(connection.profile))
        except RedisConnectionError:
            raise
        except ChasquiError:
            promoter.failed(self._clock.monotonic_ms())
            raise
        promoter.promoted(result, self._clock.monotonic_ms())
        if result.set_aside:
            logger.error("%d malformed delayed jobs were moved to the dead-letter queue", result.set_aside)
        follow_up = promoter.follow_up(result)
        if follow_up is not None:
            run_on(connection, follow_up)
        if promoter.is_idle:
            run_on(connection, promoter.release(connection.profile))

    def _renew(self, connection: FollowingConnection) -> None:
        core = self._core
        due = core.book.due(self._clock.monotonic_ms())
        for start in range(0, len(due), IDS_PER_CALL):
            entries = due[start : start + IDS_PER_CALL]
            sent_at = self._clock.monotonic_ms()
            call = core.book.renewal(entries, core.keys, GROUP, core.settings.consumer, connection.profile)
            flags = run_on(connection, call)
            self._was_answered = True
            for entry in core.book.renewed(entries, flags, sent_at):
                core.lease_lost(entry, "it could not be renewed: another worker took it over, or it was deleted")


def _look_at_policy(connection: FollowingConnection) -> None:
    """Warns of a server that may throw jobs away; also of one that took over while the worker ran."""
    server = connection.display
    if server in _looked_at:
        return
    _looked_at.add(server)
    try:
        policy = run_on(connection, read_policy())
    except ChasquiError:
        _looked_at.discard(server)
        raise
    if warning := eviction_warning(policy, server):
        logger.warning("%s", warning)
