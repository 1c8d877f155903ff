"""The system's clocks, read without a detour: the compiled twin of ``_pure/clock.py``, which explains them."""

from posix.time cimport CLOCK_REALTIME, clock_gettime, clockid_t, timespec

cdef extern from *:
    """
    #include <time.h>
    #ifdef CLOCK_BOOTTIME
    #define CHASQUIMQ_STEADY CLOCK_BOOTTIME
    #else
    #define CHASQUIMQ_STEADY CLOCK_MONOTONIC
    #endif
    """
    clockid_t CHASQUIMQ_STEADY


cpdef long long wall_ms() noexcept:
    """Milliseconds since the Unix epoch."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <long long>now.tv_sec * 1000 + now.tv_nsec // 1_000_000


cpdef double monotonic_ms() noexcept:
    """Milliseconds that only go forward, also while the machine sleeps where the system can tell."""
    cdef timespec now
    clock_gettime(CHASQUIMQ_STEADY, &now)
    return <double>now.tv_sec * 1000.0 + <double>now.tv_nsec / 1_000_000.0
