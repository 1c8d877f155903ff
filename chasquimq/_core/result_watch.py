"""Waiting for stored results: who waits, when the keys are looked at, and what the events stream spares.

All waits of one Queue are kept together. One of the waiters looks for all of them, with one command for everybody whose
turn is near; while a look is under way, the next one gathers. Once a wait has become patient, another one follows the
events stream, for all of them: the end of a job prompts a look at once.

The stream *can tell* of a job when the start of that very job was read in it: whoever runs it writes events. From then
on its key is looked at ever more rarely, until its end, a gap, or trouble with the stream. Every other job is polled as
if there were no stream. So nothing is missed that polling would find: following only adds looks, and what it spares is
looked at again within ``RARE_LOOK_MS``.

Decides and keeps the books; it never waits. The synchronous form calls it under a lock.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from copy import copy

from chasquimq._core.call import Call, Reply, single
from chasquimq._core.keys import QueueKeys
from chasquimq._core.result_policy import FollowingPolicy
from chasquimq._core.result_wait import PATIENT_AFTER_MS, RARE_LOOK_MS, Wait
from chasquimq._core.subscription import Subscription
from chasquimq._fast import pack_command
from chasquimq.events import Gap
from chasquimq.options import QueueEventsOptions

__all__ = ["Notice", "ResultWatch", "Step", "notice_of"]

LOOK_BACK = 100
"""How many of the last events are read before the stream is followed: the starts of jobs that run now are there."""
READING = QueueEventsOptions()
MOST_KEYS = 1_000
MOST_RUNNING = 10_000

_START = b"active"
_DONE = b"completed"
_OTHER_ENDS = (b"failed", b"dlq")


class Notice:
    """As much of an event as matters here. Not a NamedTuple, for which newer Pythons load all of ``ast``."""

    __slots__ = ("event", "event_id", "job_id")

    def __init__(self, event_id: str, event: bytes, job_id: bytes) -> None:
        self.event_id = event_id
        self.event = event
        self.job_id = job_id


def notice_of(event_id: str, flat: list[bytes]) -> Notice:
    """What an entry of the events stream says. Every event of the queue passes here, so it decodes nothing."""
    if len(flat) >= 4 and flat[0] == b"e" and flat[2] == b"id":
        return Notice(event_id, flat[1], flat[3])
    fields = dict(zip(flat[::2], flat[1::2], strict=False))
    return Notice(event_id, fields.get(b"e", b""), fields.get(b"id", b""))


class Step(enum.Enum):
    """What a waiter does next."""

    OVER = enum.auto()
    """Its wait has ended: ``outcome`` gives the value or raises."""
    LOOK = enum.auto()
    """It looks, for everybody whose turn is near: ``due``."""
    READ = enum.auto()
    """It follows the events stream, for everybody, until its own next look."""
    REST = enum.auto()
    """It does nothing for a while, or until it is woken."""


class ResultWatch:
    """The waits of one Queue (in the asynchronous form: of one event loop).

    One waiter is the *looker*: it minds everybody's next look, so that nobody else wakes up for it. Another one, or the
    same if it is alone, is the *reader* of the stream. Whoever leaves hands its seat on; whoever comes and finds nobody
    looking takes that seat.
    """

    def __init__(self, keys: QueueKeys, policy: FollowingPolicy) -> None:
        self._keys = keys
        self._policy = policy
        self._waits: dict[Wait, None] = {}
        self._by_job: dict[bytes, list[Wait]] = {}
        self._running: dict[bytes, None] = {}
        """Jobs whose start was read and whose end was not, for waits that come later."""
        self._subscription: Subscription[Notice] | None = None
        self._looker: Wait | None = None
        self._is_looking = False
        self._reader: Wait | None = None

    def __len__(self) -> int:
        return len(self._waits)

    # -- one wait ------------------------------------------------------------------------------------------------

    def join(self, wait: Wait) -> None:
        self._waits[wait] = None
        self._by_job.setdefault(wait.key, []).append(wait)
        wait.is_followed = wait.key in self._running

    def leave(self, wait: Wait, now_ms: float) -> list[Wait]:
        """Takes a wait out, whatever it was doing; returns who must be woken, to do it instead.

        A second time it does what an interrupted first one, or an interrupted ``join``, has left.
        """
        self._waits.pop(wait, None)
        same = [other for other in self._by_job.get(wait.key, ()) if other is not wait]
        if same:
            self._by_job[wait.key] = same
        else:
            self._by_job.pop(wait.key, None)
        if not self._waits:
            self._end_following()
        if self._reader is wait:
            self._reader = None
        successors = []
        if self._looker is wait:
            self._is_looking = False
            self._looker = next((other for other in self._waits if not (other is self._reader or other.is_over)), None)
            successors = [] if self._looker is None else [self._looker]
        return successors + self._next_reader(now_ms)

    def step(self, wait: Wait, now_ms: float, *, is_aborted: bool) -> Step:
        """What this waiter does next. A look comes before the signal is minded, and before the end of the time."""
        looked_at_ms = wait.looked_at_ms
        if not wait.is_over and looked_at_ms is not None:
            if is_aborted:
                wait.end_by_signal()
            elif looked_at_ms >= wait.deadline_ms or (now_ms >= wait.deadline_ms and self._looks_for_others(wait)):
                wait.end_by_time()
        if wait.is_over:
            return Step.OVER
        if not self._is_looking and (wait.next_look_ms <= now_ms or self._is_due(wait, now_ms)):
            self._looker, self._is_looking = wait, True
            return Step.LOOK
        if self._may_read(wait, now_ms) and now_ms >= self._policy.reads_from_ms():
            self._reader = wait
            if self._looker is wait:  # it is alone; whoever comes meanwhile looks
                self._looker = None
            return Step.READ
        if self._looker is None:
            self._looker = wait
        return Step.REST

    def rest_ms(self, wait: Wait, now_ms: float) -> float:
        """How long this waiter rests or reads at most."""
        if self._reader is wait:
            until_ms = wait.next_look_ms
        elif self._looker is wait:
            until_ms = self._earliest_ms()
        else:
            # Somebody else minds its look. That it minds it itself now and then does not depend on anybody.
            until_ms = min(wait.deadline_ms, now_ms + RARE_LOOK_MS)
        if until_ms <= now_ms:  # a look is under way that was made for this wait
            until_ms = now_ms + PATIENT_AFTER_MS
        if self._may_read(wait, now_ms):
            until_ms = min(until_ms, max(self._policy.reads_from_ms(), now_ms))
        return until_ms - now_ms

    # -- looking -------------------------------------------------------------------------------------------------

    def due(self, own: Wait, now_ms: float) -> list[Wait]:
        """For whom ``own`` looks: everybody who has half of the rest behind."""
        near = [
            wait
            for wait in self._waits
            if wait is not own and wait.next_look_ms - now_ms <= wait.rest_ms / 2 and not wait.is_over
        ]
        looked_for = [own, *near[: MOST_KEYS - 1]] if own.next_look_ms - now_ms <= own.rest_ms / 2 else near[:MOST_KEYS]
        for wait in looked_for:
            wait.is_looked_for = True
        return looked_for

    def look(self, waits: Sequence[Wait]) -> Call[list[bytes | None]]:
        """Reads the stored values of these waits' jobs."""
        names = [self._keys.result(wait.job_id) for wait in waits]
        if len(names) == 1:
            return Call("queue.wait", pack_command([b"GET", *names]), single("queue.wait", _alone), idempotent=True)
        return Call("queue.wait", pack_command([b"MGET", *names]), single("queue.wait", list), idempotent=True)

    def looked(self, waits: Sequence[Wait], values: Sequence[bytes | None], now_ms: float) -> list[Wait]:
        """Books a look; returns who must be woken."""
        self._is_looking = False
        found = []
        for wait, value in zip(waits, values, strict=True):
            wait.is_looked_for = False
            if value is None:
                wait.missed(now_ms)
            else:
                wait.value = value
                found.append(wait)
        if self._subscription is not None and any(now_ms >= wait.patient_at_ms for wait in found):
            self._policy.result_found(is_told=any(wait.is_told for wait in found), now_ms=now_ms)
        ended = [wait for wait in waits if wait.value is not None or now_ms >= wait.deadline_ms]
        return ended + self._next_reader(now_ms)

    def look_failed(self, waits: Sequence[Wait], error: Exception) -> list[Wait]:
        """The look could not be made: it ends the waits that it was for. Returns who must be woken."""
        self._is_looking = False
        for number, wait in enumerate(waits):
            wait.is_looked_for = False
            # One object raised by several would mix up their tracebacks.
            wait.error = error if number == 0 else copy(error)
            wait.error.__cause__ = error.__cause__
        return list(waits)

    def look_given_up(self, waits: Sequence[Wait], now_ms: float) -> None:
        """Whoever looked was interrupted, and leaves: who looks next does so for these at once."""
        self._is_looking = False
        for wait in waits:
            wait.is_looked_for = False
            wait.look_at(now_ms)

    def look_all(self, now_ms: float) -> list[Wait]:
        """Everybody looks at once, because the Queue was closed. Returns who must be woken."""
        for wait in self._waits:
            wait.look_at(now_ms)
        return list(self._waits)

    def _is_due(self, wait: Wait, now_ms: float) -> bool:
        """Whether somebody's look is due and this waiter is the one who minds it."""
        return self._looker in (None, wait) and self._earliest_ms() <= now_ms

    def _earliest_ms(self) -> float:
        return min([wait.next_look_ms for wait in self._waits if not wait.is_over], default=float("inf"))

    def _looks_for_others(self, wait: Wait) -> bool:
        """A look is under way that is not for this wait: it must not keep it beyond its time."""
        return self._is_looking and not wait.is_looked_for

    def _sooner(self) -> list[Wait]:
        """Who must be woken because looks come sooner than was planned. A reader that is alone minds its own."""
        return [] if self._looker is None else [self._looker]

    # -- following the stream, by the one who reads ----------------------------------------------------------------

    def stop_reading(self, wait: Wait, now_ms: float) -> list[Wait]:
        """This waiter does something else now; returns who must be woken, if it will not come back to reading."""
        self._reader = None
        return self._next_reader(now_ms) if wait.is_told or wait.is_over else []

    def _may_read(self, wait: Wait, now_ms: float) -> bool:
        """Whoever was told waits for nothing more from the stream; whoever minds the looks reads if it is alone."""
        return (
            self._reader is None
            and not wait.is_told
            and wait.next_look_ms > now_ms
            and (len(self._waits) == 1 or self._looker not in (None, wait))
            and now_ms >= wait.patient_at_ms
            and self._policy.is_worth_it(now_ms)
        )

    def _next_reader(self, now_ms: float) -> list[Wait]:
        """Who must be woken for the stream to be read."""
        return next(([wait] for wait in self._waits if self._may_read(wait, now_ms)), [])

    @property
    def is_placed(self) -> bool:
        """Whether the place in the stream is known; before, ``place`` must be run and its result ``looked_back``."""
        return self._subscription is not None and self._subscription.is_placed

    def place(self) -> Call[list[Notice]]:
        self._subscription = Subscription(self._keys, READING, notice_of)
        return self._subscription.place(LOOK_BACK)

    def looked_back(self, notices: Sequence[Notice], now_ms: float) -> list[Wait]:
        """Books what happened of late; returns who must be woken."""
        return self._book(notices, now_ms)

    def read(self) -> Call[list[Notice]]:
        """Waits for events; its result is what was ``heard``."""
        assert self._subscription is not None  # noqa: S101 - it is placed
        return self._subscription.read()

    def heard(self, notices: Sequence[Notice], now_ms: float) -> list[Wait]:
        """Books what was read; returns who must be woken, because it looks sooner now."""
        self._policy.read(len(notices), now_ms)
        sooner = self._book(notices, now_ms)
        return sooner if self._policy.is_worth_it(now_ms) else self._leave_alone(now_ms)

    def check(self, notices: Sequence[Notice]) -> Call[Gap | None] | None:
        """After a read: the Call that finds out whether events before these were missed, if they may be."""
        return None if self._subscription is None else self._subscription.check(notices)

    def missed_events(self, now_ms: float) -> list[Wait]:
        """There was a gap. Returns who must be woken."""
        self._running.clear()
        for wait in self._waits:
            wait.unfollow(now_ms)
        return self._sooner()

    def reading_failed(self, now_ms: float) -> list[Wait]:
        """The stream cannot be read. Returns who must be woken."""
        self._policy.failed(now_ms)
        return self._leave_alone(now_ms)

    def _leave_alone(self, now_ms: float) -> list[Wait]:
        self._end_following()
        return self.missed_events(now_ms)

    def _end_following(self) -> None:
        self._subscription = None
        self._running.clear()

    def _book(self, notices: Sequence[Notice], now_ms: float) -> list[Wait]:
        comes_sooner = False
        for notice in notices:
            event, job_id = notice.event, notice.job_id
            waits = self._by_job.get(job_id, ())
            if event == _START:
                self._running[job_id] = None
                if len(self._running) > MOST_RUNNING:
                    del self._running[next(iter(self._running))]
                for wait in waits:
                    wait.is_followed = True
            elif event == _DONE or event in _OTHER_ENDS:
                self._running.pop(job_id, None)
                for wait in waits:
                    if event == _DONE:
                        wait.told(now_ms)
                    else:
                        wait.unfollow(now_ms)
                    comes_sooner = True
        return self._sooner() if comes_sooner else []


def _alone(reply: Reply) -> list[bytes | None]:
    return [reply]
