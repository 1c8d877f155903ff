# The layout of a request that grows, for the module that frames many jobs at a time.

from libc.stdint cimport uint8_t, uint64_t

from chasquimq._fast.entries cimport Entry


cdef class JobHead:
    cdef readonly bytes stream_key
    cdef readonly bytes producer_id
    cdef bytes unnamed
    cdef bytes named


# One job to frame; points into what the caller holds.
cdef struct FramedJob:
    const uint8_t* head
    Py_ssize_t head_size
    bint idempotent
    const char* job_id
    Py_ssize_t job_id_size
    const uint8_t* payload
    Py_ssize_t payload_size
    uint64_t created_at_ms
    const char* name
    Py_ssize_t name_size
    const uint8_t* retry
    Py_ssize_t retry_size
    Py_ssize_t envelope_size


# Fills in all but the payload and the retry override, which the caller has set, and computes the envelope's size.
cdef int measure(FramedJob* job, JobHead head, str job_id, uint64_t created_at_ms, bytes name) except -1
cdef Py_ssize_t job_size(const FramedJob* job) noexcept
cdef uint8_t* put_job(uint8_t* at, const FramedJob* job) noexcept


cdef class FrameBuffer:
    cdef uint8_t* data
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef readonly Py_ssize_t commands

    cdef uint8_t* room(self, Py_ssize_t more) except NULL
    cdef void close(self, uint8_t* end, Py_ssize_t commands) noexcept
    cdef int event_of(self, bytes head, bytes event, Entry entry, uint64_t ts, bint timed, str shown) except -1
    cdef int event(
        self,
        bytes head,
        bytes event,
        str job_id,
        object ts_ms,
        bytes name,
        object attempt,
        object duration_us,
        str shown,
    ) except -1
    cdef int put_event(
        self,
        bytes head,
        bytes event,
        str job_id,
        uint64_t ts,
        const char* name,
        Py_ssize_t name_size,
        uint64_t run,
        bint timed,
        uint64_t duration,
        str shown,
    ) except -1
