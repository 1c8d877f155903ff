"""Scheduling: firing repeatable specs when they are due, each window once, whoever leads.

The leader asks which specs are due (the server's clock decides), plans the fires of each (``repeat.plan_fires``) and
writes them with a script that compares what was read with what is stored: two leaders, or one that was asleep, cannot
fire a window twice, and a removed spec does not come back. One bad spec is set aside for a while and told; the others
go on. In between the leader sleeps until the next fire; an upsert wakes it (``wake``), those of other implementations
are found by a poll. While there are no specs nobody leads, and a look costs one small command (docs/wire-format.md,
scheduler).
"""

from __future__ import annotations

from collections.abc import Sequence

from chasquimq._core.call import Call, Reply, single
from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.repeat import Fires, RepeatSpec, decode_spec, plan_fires, score_ms
from chasquimq._core.scripts import Argument, load_script
from chasquimq._dataclass import dataclass
from chasquimq._fast import encode_envelope, encode_retry, mint_ulid, pack_command
from chasquimq.errors import PayloadDecodeError

__all__ = ["DueSpecs", "Scheduling"]

BATCH = 64
LOCK_TTL_S = 5
IDLE_POLL_MS = 2_000
SET_ASIDE_MS = 60_000
RETRY_MS = 100


@dataclass(frozen=True, slots=True)
class DueSpecs:
    """One answer of the due script."""

    leads: bool
    server_now_ms: int
    later_ms: int
    """When the first spec fires that is not due yet; -1: there is none."""
    due: Sequence[tuple[bytes, bytes]]
    """Spec keys and scores, as they were read."""


class Scheduling:
    """The schedule of one queue, seen from one worker. Times are monotonic milliseconds where not said otherwise."""

    def __init__(self, keys: QueueKeys, holder: bytes, *, tick_ms: int) -> None:
        self._keys = keys
        self._holder = holder
        self._tick_ms = tick_ms
        self._woken = False
        self.leads = False
        self.may_lead = False
        """Whether the lock may be ours: it was asked for, and the answer has not come or says so."""
        self.is_idle = True
        """There are no specs, as far as this worker knows: ``peek`` instead of ``due``."""
        self.next_at = float("-inf")

    @property
    def listens(self) -> bool:
        """Whether this worker is to hear of new specs."""
        return self.leads or self.is_idle

    def peek(self) -> Call[bool]:
        """Whether there are any specs; the answer goes to ``peeked``."""
        request = pack_command([b"EXISTS", self._keys.repeat])
        return Call("scheduler.peek", request, single("scheduler.peek", bool), idempotent=True)

    def peeked(self, found: bool, now_ms: float) -> None:
        """Books the answer of ``peek``: nothing to do for a while, or the schedule begins."""
        self.is_idle = not found
        self.next_at = now_ms if found else now_ms + IDLE_POLL_MS

    def due(self, profile: ServerProfile) -> Call[DueSpecs]:
        """Which specs are due; the answer goes to ``asked`` when they are dealt with."""
        self.may_lead = True
        script = load_script("due_repeatables", profile)
        keys = [self._keys.repeat, self._keys.scheduler_lock, self._keys.scheduler_wake]
        arguments: list[Argument] = [self._holder, LOCK_TTL_S, BATCH, int(self._woken)]
        return Call(
            "scheduler.due",
            script.evalsha(keys, arguments),
            single("scheduler.due", _due_specs),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )

    def wake(self) -> None:
        """Somebody has stored a spec that fires earlier than the others."""
        self._woken = True
        self.is_idle = False
        self.next_at = float("-inf")

    def asked(self, result: DueSpecs, now_ms: float) -> None:
        """Sets ``next_at``: at the next fire, at the latest after a poll for specs that nobody told us of."""
        self._woken = False
        self.leads = self.may_lead = result.leads
        self.is_idle = result.leads and not result.due and result.later_ms < 0
        if result.due:
            self.next_at = now_ms  # there may be more, and those just fired have a next time
        elif result.leads and result.later_ms >= 0:
            wait = result.later_ms - result.server_now_ms
            self.next_at = now_ms + max(1, min(self._tick_ms, wait))
        else:
            self.next_at = now_ms + IDLE_POLL_MS

    def failed(self, now_ms: float) -> None:
        """A Call failed; try again in a moment."""
        self.next_at = now_ms + RETRY_MS

    def stored_spec(self, spec_key: bytes) -> Call[bytes | None]:
        """The stored form of one spec."""
        request = pack_command([b"HGET", self._keys.tag + b"repeat:spec:" + spec_key, b"spec"])
        return Call("scheduler.spec", request, single("scheduler.spec", _bytes_or_none), idempotent=True)

    def plan(self, stored: bytes, score: bytes, server_now_ms: int) -> tuple[RepeatSpec, Fires]:
        """What a spec that is due fires now. Raises PayloadDecodeError or InvalidOptionError for a bad spec."""
        spec = decode_spec(stored)
        return spec, plan_fires(spec, score_ms(score), server_now_ms, self._tick_ms)

    def fire(
        self, spec_key: bytes, score: bytes, stored: bytes, spec: RepeatSpec, fires: Fires, now_ms: int,
        profile: ServerProfile,
    ) -> Call[int]:  # fmt: skip
        """Adds the jobs of the fires and stores the next one; the result is how many, -1 = the spec has changed."""
        script = load_script("fire_repeatable", profile)
        keys = [self._keys.stream, self._keys.repeat, self._keys.tag + b"repeat:spec:" + spec_key]
        next_fire: Argument = b"" if fires.next_ms is None else fires.next_ms
        arguments: list[Argument] = [spec_key, score, stored, next_fire, spec.limit or 0]
        retry = encode_retry(spec.max_attempts, spec.backoff)
        name = spec.job_name.encode()
        for _ in fires.times_ms:
            arguments += [encode_envelope(mint_ulid(), spec.payload, now_ms, 0, retry), name]
        return Call(
            "scheduler.fire",
            script.evalsha(keys, arguments),
            single("scheduler.fire", lambda reply: int(reply[0])),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )

    def set_aside(self, spec_key: bytes, server_now_ms: int) -> Call[int]:
        """Lets a spec that cannot be read rest for a minute: a newer program may understand it meanwhile."""
        request = pack_command([b"ZADD", self._keys.repeat, b"XX", server_now_ms + SET_ASIDE_MS, spec_key])
        return Call("scheduler.set_aside", request, single("scheduler.set_aside", int), idempotent=True)

    def drop(self, spec_key: bytes, profile: ServerProfile) -> Call[int]:
        """Removes the schedule of a spec whose hash is gone: there is nothing left to fire."""
        script = load_script("drop_orphan_repeatable", profile)
        keys, arguments = [self._keys.repeat, self._keys.tag + b"repeat:spec:" + spec_key], [spec_key]
        return Call(
            "scheduler.drop",
            script.evalsha(keys, arguments),
            single("scheduler.drop", int),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )

    def release(self, profile: ServerProfile) -> Call[int]:
        """Gives the lock up, so that another scheduler leads at once."""
        script = load_script("release_lock", profile)
        keys, arguments = [self._keys.scheduler_lock], [self._holder]
        return Call(
            "scheduler.release_lock",
            script.evalsha(keys, arguments),
            single("scheduler.release_lock", int),
            idempotent=True,
            eval_form=lambda _: script.eval(keys, arguments),
        )


def _due_specs(reply: Reply) -> DueSpecs:
    if reply[0] == 0:
        return DueSpecs(False, reply[1], -1, ())
    return DueSpecs(True, reply[1], reply[2], list(zip(reply[3::2], reply[4::2], strict=True)))


def _bytes_or_none(reply: Reply) -> bytes | None:
    if reply is not None and not isinstance(reply, bytes):
        raise PayloadDecodeError("the stored spec is not a string")
    return reply
