# The layout of an entry, for the modules that go through many of them.

from libc.stdint cimport uint64_t


cdef class Entry:
    # What the stream says.
    cdef readonly bytes entry_id
    cdef readonly str job_id
    cdef readonly bytes payload
    cdef readonly str name
    cdef readonly uint64_t created_at_ms
    cdef readonly uint64_t attempt
    cdef readonly object max_attempts
    cdef readonly tuple backoff
    cdef readonly bytes raw
    cdef readonly uint64_t deliveries
    cdef readonly uint64_t idle_ms
    cdef readonly str fault
    cdef readonly str detail
    # What the worker notes of its run: lease (monotonic ms), start and end (epoch ms), the encoded result, and what
    # the completed event shows of it (JSON text).
    cdef public double lease_until
    cdef public bint lost
    cdef public uint64_t started_on
    cdef public uint64_t finished_on
    cdef public uint64_t duration_us
    cdef public bytes result
    cdef public str shown


cdef class StreamReply:
    cdef readonly list entries


cdef Entry blank_entry(bytes entry_id)
# `raw` is the envelope, or None when there is none; the name is set before.
cdef int decode(Entry entry, bytes raw, Py_ssize_t max_payload_bytes) except -1
cdef str name_of(bytes name)
