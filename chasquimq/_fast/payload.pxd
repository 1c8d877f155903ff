# The writer of payloads, for the module that frames jobs without a bytes object in between, and the reader.

from libc.stdint cimport uint8_t

cdef enum:
    ON_STACK = 512


# Must be opened before its use and closed after it; its memory may be used again by setting `size` to 0.
cdef struct Writer:
    uint8_t* data
    Py_ssize_t size
    Py_ssize_t capacity
    # What `data` points to until the payload outgrows it.
    uint8_t[ON_STACK] stack


cdef void open_writer(Writer* writer) noexcept
cdef void close_writer(Writer* writer) noexcept
# Appends the data; False, with half of it written, for what only `encode_payload` can encode or refuse.
cdef bint write_payload(Writer* writer, object data) noexcept

cpdef object decode_payload(buffer)
