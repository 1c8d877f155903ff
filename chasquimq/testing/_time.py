"""Moving a queue's clock: what waits in it comes closer, as if time had passed.

A server's clock cannot be moved, so the jobs are: delayed ones lose the time that passes, and repeatable ones fire
each window in between, in order and dated as they would have been with a scheduler running all along. It must never
make a job due that would not be.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from typing import Any

from chasquimq._core.call import Call, Reply, single
from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.repeat import Fires, RepeatSpec, decode_spec
from chasquimq._core.scheduler import Scheduling
from chasquimq._fast import pack_command
from chasquimq.errors import InvalidOptionError, PayloadDecodeError

__all__ = ["Calendar", "shift_delayed"]

MOST_FIRES = 100_000

_SHIFT = b"""
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, member in ipairs(members) do
  redis.call('ZINCRBY', KEYS[1], '-' .. ARGV[1], member)
end
if #members > 0 and redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('RPUSH', KEYS[2], '1')
  redis.call('PEXPIRE', KEYS[2], 60000)
end
return #members
"""


def shift_delayed(keys: QueueKeys, amount_ms: int) -> Call[int]:
    """Every delayed job (and retry) becomes due that much sooner; a worker that is running hears of it."""
    request = pack_command([b"EVAL", _SHIFT, 2, keys.delayed, keys.wake, amount_ms])
    return Call("testing.shift_delayed", request, single("testing.shift_delayed", int))


class Calendar:
    """How far a queue's clock was moved, and which repeatable specs have their time on it already."""

    def __init__(self, keys: QueueKeys) -> None:
        self._keys = keys
        self._scheduling = Scheduling(keys, b"testing", tick_ms=1_000)
        self._known: dict[bytes, int] = {}
        self.offset_ms = 0

    def advance(self, amount_ms: int, profile: ServerProfile) -> Generator[Call[Any], Any, int]:
        """Moves the clock; returns how many repeatable jobs were fired."""
        server_ms: int = yield Call("testing.time", pack_command([b"TIME"]), single("testing.time", _milliseconds))
        start_ms = server_ms + self.offset_ms
        self.offset_ms += amount_ms
        if amount_ms:
            yield shift_delayed(self._keys, amount_ms)
        return (yield from self._fire_until(start_ms, start_ms + amount_ms, profile))

    def _fire_until(self, start_ms: int, end_ms: int, profile: ServerProfile) -> Generator[Call[Any], Any, int]:
        request = pack_command([b"ZRANGE", self._keys.repeat, 0, -1, b"WITHSCORES"])
        rows: list[bytes] = yield Call("testing.specs", request, single("testing.specs", list))
        due: list[tuple[int, bytes]] = []
        specs: dict[bytes, tuple[bytes, RepeatSpec]] = {}
        for spec_key, score in zip(rows[::2], rows[1::2], strict=True):
            stored: bytes | None = yield self._scheduling.stored_spec(spec_key)
            try:
                spec = decode_spec(stored or b"")
            except PayloadDecodeError:
                continue  # a scheduler's business
            fire_ms = int(float(score))
            if self.offset_ms and self._known.get(spec_key) != fire_ms:
                fire_ms = yield from self._place(spec_key, spec, fire_ms, start_ms)
            specs[spec_key] = (stored or b"", spec)
            self._known[spec_key] = fire_ms
            heapq.heappush(due, (fire_ms, spec_key))
        fired = 0
        while due and due[0][0] <= end_ms:
            fire_ms, spec_key = heapq.heappop(due)
            stored, spec = specs[spec_key]
            next_ms = spec.next_fire_ms(fire_ms)
            call = self._scheduling.fire(
                spec_key, b"%d" % fire_ms, stored, spec, Fires([fire_ms], next_ms), fire_ms, profile
            )
            added: int = yield call
            fired += max(0, added)
            if added < 1 or next_ms is None:
                continue  # over, or replaced by somebody at this moment
            if fired > MOST_FIRES:
                raise InvalidOptionError(f"more than {MOST_FIRES:,} fires lie in between; move the clock in steps.")
            self._known[spec_key] = next_ms
            heapq.heappush(due, (next_ms, spec_key))
        return fired

    def _place(self, spec_key: bytes, spec: RepeatSpec, fire_ms: int, now_ms: int) -> Generator[Call[Any], Any, int]:
        """A spec that was stored by the server's clock gets its first fire by this one."""
        first_ms = spec.next_fire_ms(now_ms)
        if first_ms is None or first_ms == fire_ms:
            return fire_ms
        request = pack_command([b"ZADD", self._keys.repeat, b"XX", first_ms, spec_key])
        yield Call("testing.place", request, single("testing.place", int))
        return first_ms


def _milliseconds(reply: Reply) -> int:
    return int(reply[0]) * 1000 + int(reply[1]) // 1000
