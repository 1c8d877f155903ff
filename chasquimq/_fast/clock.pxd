# The clocks for compiled callers.

cpdef long long wall_ms() noexcept
cpdef double monotonic_ms() noexcept
