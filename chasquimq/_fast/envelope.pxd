# What entries and frames share with the envelope module.

from libc.stdint cimport uint64_t

from chasquimq._fast.wire cimport EnvelopeView

cdef uint64_t unsigned(str what, object value, uint64_t limit) except? 0xFFFFFFFFFFFFFFFF
cdef str text_of(const void* start, Py_ssize_t size)
cdef tuple backoff_of(const EnvelopeView* view)
