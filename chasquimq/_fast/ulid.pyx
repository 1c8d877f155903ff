"""Mints job ids: the compiled twin of ``_pure/ulid.py``, which explains the rules.

Within one process the ids rise strictly. It must never mint the same id twice: not in two threads, and not in a
forked child.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint64_t

cdef extern from "Python.h":
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    uint8_t* PyUnicode_1BYTE_DATA(object text)

cdef extern from "time.h" nogil:
    struct timespec:
        long long tv_sec
        long tv_nsec
    int TIME_UTC
    int timespec_get(timespec* now, int base)

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

cdef const char* DIGITS = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# The value of each ASCII character as a digit, -1 for the others.
cdef int[128] VALUES
VALUES[:] = [ALPHABET.find(chr(code)) for code in range(128)]
cdef Py_ssize_t RANDOM_SIZE = 10
# One system call serves this many fresh milliseconds.
cdef Py_ssize_t POOL_SIZE = 64 * RANDOM_SIZE
cdef uint64_t LOW_MAX = 0xFFFFFFFFFFFFFFFF
cdef uint16_t HIGH_MAX = 0xFFFF


cdef inline long long clock_ms() noexcept:
    cdef timespec now
    timespec_get(&now, TIME_UTC)
    return now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef class UlidSource:
    """One rising sequence of ULIDs. The module keeps one per process; tests make their own."""

    cdef object random_bytes
    cdef bytes pool
    cdef Py_ssize_t pool_at
    cdef long long ms
    # The 80 random bits: 16 high ones, 64 low ones.
    cdef uint16_t high
    cdef uint64_t low

    def __init__(self, random_bytes=os.urandom):
        self.random_bytes = random_bytes
        self.reset()

    cpdef reset(self):
        """Forgets all state. A forked child does so, lest it mint its parent's next ids."""
        self.pool = b""
        self.pool_at = 0
        self.ms = -1
        self.high = 0
        self.low = 0

    def mint(self, long long now_ms):
        """The next id, dated ``now_ms`` or, when the clock went backwards, the last id's millisecond."""
        with cython.critical_section(self):
            return self.next(now_ms)

    cdef str next(self, long long now_ms):
        cdef bytes pool
        # Filling the pool may let other threads run, so it comes before any state is read or written. From there
        # on this function runs no Python code: under the GIL it is atomic; without a GIL its callers hold the
        # object's critical section.
        if self.pool_at >= PyBytes_GET_SIZE(self.pool):
            pool = self.random_bytes(POOL_SIZE)
            if PyBytes_GET_SIZE(pool) != POOL_SIZE:
                raise ValueError("the random source returned another number of bytes than asked for")
            self.pool = pool
            self.pool_at = 0
        if now_ms > self.ms:
            self.begin(now_ms)
        elif self.low != LOW_MAX:
            self.low += 1
        elif self.high != HIGH_MAX:
            self.high += 1
            self.low = 0
        else:
            self.begin(self.ms + 1)
        return self.text()

    cdef void begin(self, long long ms) noexcept:
        cdef const uint8_t* random = <const uint8_t*>PyBytes_AS_STRING(self.pool) + self.pool_at
        cdef uint64_t low = 0
        cdef int index
        for index in range(2, RANDOM_SIZE):
            low = low << 8 | random[index]
        self.high = <uint16_t>(random[0] << 8 | random[1])
        self.low = low
        self.pool_at += RANDOM_SIZE
        self.ms = ms

    cdef str text(self):
        cdef str ulid = PyUnicode_New(26, 127)
        cdef uint8_t* digits = PyUnicode_1BYTE_DATA(ulid)
        cdef uint64_t ms = <uint64_t>self.ms
        # 128 bits as 26 digits of 5: 10 for the time, then 16 for the random part, of which the high 16 bits fill
        # three digits and one bit of the fourth.
        cdef uint64_t high = self.high
        cdef uint64_t low = self.low
        cdef int index
        for index in range(9, -1, -1):
            digits[index] = DIGITS[ms & 31]
            ms >>= 5
        for index in range(25, 13, -1):
            digits[index] = DIGITS[low & 31]
            low >>= 5
        # 4 bits of the low word are left; they go below the 16 high ones.
        high = high << 4 | low
        for index in range(13, 9, -1):
            digits[index] = DIGITS[high & 31]
            high >>= 5
        return ulid


cdef UlidSource source = UlidSource()
os.register_at_fork(after_in_child=source.reset)


cdef str next_ulid():
    with cython.critical_section(source):
        return source.next(clock_ms())


def mint_ulid():
    """A fresh ULID, greater than every one this process minted before."""
    return next_ulid()


def mint_ulids(Py_ssize_t count):
    """``count`` fresh ULIDs in rising order."""
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more")
    with cython.critical_section(source):
        return [source.next(clock_ms()) for _ in range(count)]


def ulid_timestamp_ms(str ulid not None):
    """The creation time in a ULID, epoch milliseconds. Raises ValueError on text that is no ULID."""
    cdef uint64_t value = 0
    cdef Py_ssize_t index
    cdef Py_UCS4 character
    if len(ulid) != 26:
        raise ValueError(f"a ULID has 26 characters, this text has {len(ulid)}")
    for index in range(26):
        character = ulid[index]
        if character >= 128 or VALUES[character] < 0:
            raise ValueError("a ULID holds only the characters " + ALPHABET)
        if index < 10:
            value = value << 5 | <uint64_t>VALUES[character]
    if value >= <uint64_t>1 << 48:
        raise ValueError("a ULID begins with 0 to 7; this one exceeds 128 bits")
    return value
