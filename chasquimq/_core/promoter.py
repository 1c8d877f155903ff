"""Promotion: moving due jobs from the delayed set into the stream, at the right moment and no sooner.

While the set is empty nobody leads and a look at it costs one small command. When there is something, one worker takes
the lock; the server's clock decides what is due and tells when the next job will be. In between the leader waits, on a
key that producers touch when they add a job that is due earlier (``wake``). Producers of other implementations do not
touch it: they are found by a slow poll, and once one was found, by a fast poll for a while. The lock only saves work
(docs/wire-format.md, promoter).
"""

from __future__ import annotations

from collections.abc import Sequence

from chasquimq._core.call import Call, Reply, single
from chasquimq._core.keys import EVENTS_MAX_LEN, QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, Script, load_script
from chasquimq._dataclass import dataclass
from chasquimq._fast import FrameBuffer, pack_command

__all__ = ["Promoted", "Promoter"]

BATCH = 256
LOCK_TTL_S = 5
IDLE_POLL_MS = 2_000
FOREIGN_POLL_MS = 100
FOREIGN_MEMORY_MS = 30_000
FOLLOWER_POLL_MS = 2_000
DLQ_MAX_LEN = 100_000
_CLOCK_SLACK_MS = 20


@dataclass(frozen=True, slots=True)
class Promoted:
    """One answer of the promotion script."""

    leads: bool
    server_now_ms: int
    next_due_ms: int
    """-1: nothing is waiting."""
    set_aside: int
    job_ids: Sequence[bytes]


class Promoter:
    """The promotion of one queue, seen from one worker. Times are monotonic milliseconds."""

    def __init__(self, keys: QueueKeys, holder: bytes, *, events: bool) -> None:
        self._keys = keys
        self._holder = holder
        self._events = events
        self._expected_due_ms: int | None = None
        self._foreign_until = float("-inf")
        self._woken = False
        self.leads = False
        self.is_idle = True
        """Nothing waits in the delayed set, as far as this worker knows: ``peek`` instead of ``promote``."""
        self.next_at = float("-inf")

    @property
    def listens(self) -> bool:
        """Whether this worker is to hear of jobs that are due earlier than what is known."""
        return self.leads or self.is_idle

    def peek(self) -> Call[bool]:
        """Whether anything waits at all; the answer goes to ``peeked``."""
        request = pack_command([b"EXISTS", self._keys.delayed])
        return Call("worker.peek", request, single("worker.peek", bool), idempotent=True)

    def peeked(self, found: bool, now_ms: float) -> None:
        """Books the answer of ``peek``: nothing to do for a while, or promotion begins."""
        if not found:
            self.next_at = now_ms + self._poll_ms(now_ms)
            return
        self.is_idle = False
        self._foreign_until = now_ms + FOREIGN_MEMORY_MS  # one of ours would have woken us
        self.next_at = now_ms

    def promote(self, profile: ServerProfile) -> Call[Promoted]:
        """The Call that promotes what is due; its result goes to ``promoted``."""
        keys = self._keys
        script = load_script("promote_due", profile)
        into = [keys.delayed, keys.stream, keys.dlq, keys.promoter_lock, keys.wake]
        arguments: list[Argument] = [self._holder, LOCK_TTL_S, BATCH, DLQ_MAX_LEN, int(self._woken)]
        return _scripted("worker.promote", script, into, arguments)

    def wake(self) -> None:
        """A producer of ours has added a job that is due earlier than the others."""
        self._woken = True
        self.is_idle = False
        self.next_at = float("-inf")

    def promoted(self, result: Promoted, now_ms: float) -> None:
        """Books an answer and sets ``next_at``."""
        woken, self._woken = self._woken, False
        self.leads = result.leads
        if not result.leads:
            self.next_at = now_ms + FOLLOWER_POLL_MS
            self._expected_due_ms = None
            return
        if result.job_ids and not woken and self._is_surprise(result.server_now_ms):
            self._foreign_until = now_ms + FOREIGN_MEMORY_MS
        if len(result.job_ids) + result.set_aside >= BATCH:
            self.next_at = now_ms
            return
        poll = self._poll_ms(now_ms)
        self._expected_due_ms = result.next_due_ms
        self.is_idle = result.next_due_ms < 0
        wait = poll if result.next_due_ms < 0 else min(poll, result.next_due_ms - result.server_now_ms)
        self.next_at = now_ms + max(0, wait)

    def _poll_ms(self, now_ms: float) -> int:
        return FOREIGN_POLL_MS if now_ms < self._foreign_until else IDLE_POLL_MS

    def _is_surprise(self, server_now_ms: int) -> bool:
        """Jobs are due although none was expected by now: somebody adds without waking us."""
        expected = self._expected_due_ms
        return expected is not None and (expected < 0 or expected > server_now_ms + _CLOCK_SLACK_MS)

    def failed(self, now_ms: float) -> None:
        """The Call failed; try again in a moment."""
        self.next_at = now_ms + FOREIGN_POLL_MS

    def follow_up(self, result: Promoted) -> Call[None] | None:
        """What follows a promotion, best effort: cancel indexes deleted, one ``waiting`` event per job."""
        if not any(result.job_ids):
            return None
        keys = self._keys
        frames = FrameBuffer()
        job_ids = [job_id for job_id in result.job_ids if job_id]
        frames.command([b"DEL", *(keys.tag + b"didx:" + job_id for job_id in job_ids)])
        if self._events:
            at = result.server_now_ms
            head: list[Argument] = [b"XADD", keys.events, b"MAXLEN", b"~", EVENTS_MAX_LEN, b"*"]
            for job_id in job_ids:
                frames.command([*head, b"e", b"waiting", b"id", job_id, b"ts", at])
        commands = frames.commands
        return Call("worker.promoted", frames.take(), lambda _: None, commands, idempotent=True)

    def release(self, profile: ServerProfile) -> Call[int]:
        """Gives the lock up, so that another worker leads at once."""
        script = load_script("release_lock", profile)
        keys, arguments = [self._keys.promoter_lock], [self._holder]
        return Call(
            "worker.release_lock",
            script.evalsha(keys, arguments),
            single("worker.release_lock", int),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )


def _scripted(name: str, script: Script, keys: list[bytes], arguments: list[Argument]) -> Call[Promoted]:
    return Call(
        name,
        script.evalsha(keys, arguments),
        single(name, _promoted),
        idempotent=True,
        eval_form=lambda _: script.eval(keys, arguments),
    )


def _promoted(reply: Reply) -> Promoted:
    if reply[0] == 0:
        return Promoted(False, reply[1], -1, 0, ())
    return Promoted(True, reply[1], reply[2], reply[3], reply[4:])
