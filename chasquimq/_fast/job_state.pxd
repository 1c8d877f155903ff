# The layout of a job, for the modules that make many of them.

from chasquimq._fast.entries cimport Entry


cdef class JobState:
    cdef public str id
    cdef public str name
    cdef public object data
    cdef public object timestamp
    cdef public long long attempts_made
    cdef public long long deliveries
    cdef public object delay
    cdef public object progress
    cdef public object returnvalue
    cdef public object failed_reason
    cdef public object processed_on
    cdef public object finished_on
    cdef public object queue
    cdef public bint is_duplicate
    cdef public object _opts
    cdef public Entry _entry
    cdef public object _progress_sink
    cdef public double _started_ms
