"""Mints job ids: ULIDs, 26 characters of Crockford base32 (48 bits of milliseconds, 80 random bits).

Within one process the ids rise strictly, also inside one millisecond and when the clock is set back. It must
never mint the same id twice: not in two threads, and not in a forked child.
"""

import os
import threading
import time
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_RANDOM_MAX = (1 << 80) - 1
_RANDOM_SIZE = 10
# One system call serves this many fresh milliseconds.
_POOL_SIZE = 64 * _RANDOM_SIZE


def _digits(value: int, pairs: int) -> str:
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(10 * (pairs - 1), -1, -10)])


class UlidSource:
    """One rising sequence of ULIDs. The module keeps one per process; tests make their own."""

    __slots__ = ("_lock", "_ms", "_ms_digits", "_pool", "_pool_at", "_random", "_random_bytes")

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self.reset()

    def reset(self) -> None:
        """Forgets all state. A forked child does so, lest it mint its parent's next ids."""
        # A new lock: the old one may have been held, at the fork, by a thread that does not exist here.
        self._lock = threading.Lock()
        self._ms = -1
        self._ms_digits = ""
        self._random = 0
        self._pool = b""
        self._pool_at = 0

    def mint(self, now_ms: int) -> str:
        """The next id, dated ``now_ms`` or, when the clock went backwards, the last id's millisecond."""
        with self._lock:
            if now_ms > self._ms:
                self._begin(now_ms)
            elif self._random < _RANDOM_MAX:
                self._random += 1
            else:
                self._begin(self._ms + 1)
            return self._ms_digits + _digits(self._random, 8)

    def _begin(self, ms: int) -> None:
        if self._pool_at >= len(self._pool):
            self._pool = self._random_bytes(_POOL_SIZE)
            if len(self._pool) != _POOL_SIZE:
                raise ValueError("the random source returned another number of bytes than asked for")
            self._pool_at = 0
        end = self._pool_at + _RANDOM_SIZE
        self._random = int.from_bytes(self._pool[self._pool_at : end], "big")
        self._pool_at = end
        self._ms = ms
        self._ms_digits = _digits(ms, 5)


_source = UlidSource()
os.register_at_fork(after_in_child=_source.reset)


def mint_ulid() -> str:
    """A fresh ULID, greater than every one this process minted before."""
    return _source.mint(time.time_ns() // 1_000_000)


def mint_ulids(count: int) -> list[str]:
    """``count`` fresh ULIDs in rising order."""
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more")
    return [mint_ulid() for _ in range(count)]


def ulid_timestamp_ms(ulid: str) -> int:
    """The creation time in a ULID, epoch milliseconds. Raises ValueError on text that is no ULID."""
    if not isinstance(ulid, str):
        raise TypeError(f"a ULID is a str, not {type(ulid).__name__}")
    value = 0
    if len(ulid) != 26:
        raise ValueError(f"a ULID has 26 characters, this text has {len(ulid)}")
    for character in ulid:
        digit = _VALUES.get(character)
        if digit is None:
            raise ValueError("a ULID holds only the characters " + ALPHABET)
        value = value << 5 | digit
    if value >= 1 << 128:
        raise ValueError("a ULID begins with 0 to 7; this one exceeds 128 bits")
    return value >> 80
