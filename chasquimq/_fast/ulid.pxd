# `mint_ulid` for compiled callers.

cdef str next_ulid()
