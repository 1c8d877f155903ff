# RESP in C, inline: how lines and bulk strings of a request are written.
#
# Each function writes at `at` and returns the byte behind what it wrote; the caller has made room.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t

from chasquimq._fast.wire cimport put_bytes


cdef inline int digits_of(uint64_t value) noexcept:
    cdef int digits = 1
    while value > 9:
        value //= 10
        digits += 1
    return digits


cdef inline uint8_t* put_digits(uint8_t* at, uint64_t value) noexcept:
    cdef int digits = digits_of(value)
    cdef int index
    for index in range(digits - 1, -1, -1):
        at[index] = <uint8_t>(48 + value % 10)
        value //= 10
    return at + digits


cdef inline uint8_t* put_end(uint8_t* at) noexcept:
    at[0] = 13
    at[1] = 10
    return at + 2


cdef inline uint8_t* put_line(uint8_t* at, char mark, Py_ssize_t value) noexcept:
    at[0] = <uint8_t>mark
    return put_end(put_digits(at + 1, <uint64_t>value))


cdef inline uint8_t* put_bulk(uint8_t* at, const void* data, Py_ssize_t size) noexcept:
    return put_end(put_bytes(put_line(at, b"$", size), data, size))


cdef inline Py_ssize_t bulk_size(Py_ssize_t size) noexcept:
    return 1 + digits_of(<uint64_t>size) + 2 + size + 2


cdef inline uint8_t* put_number(uint8_t* at, uint64_t value) noexcept:
    return put_end(put_digits(put_line(at, b"$", digits_of(value)), value))


cdef inline uint8_t* put_constant(uint8_t* at, bytes constant) noexcept:
    return put_bytes(at, PyBytes_AS_STRING(constant), PyBytes_GET_SIZE(constant))
