# MessagePack in C, inline: the headers and integers of the wire format, and the scanner of canonical envelopes.
#
# A reader returns False for everything it does not expect, without an exception and without a message: the caller
# then asks the pure-Python twin, which knows every accepted form and every error text. So nothing here needs to be
# complete; it must only never accept what the twin refuses or read past the end.

from libc.stdint cimport uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy

# Written out, because Cython's overflow check of the debug build does not understand the difference of pointers.
cdef inline Py_ssize_t distance(const void* start, const void* end) noexcept nogil:
    return <Py_ssize_t>(<uintptr_t>end - <uintptr_t>start)


# ---- writing: each function writes at `to` and returns the byte behind it -------------------------------------

cdef inline uint8_t* put_big_endian(uint8_t* to, uint64_t value, int size) noexcept nogil:
    cdef int index
    for index in range(size):
        to[index] = <uint8_t>(value >> (8 * (size - 1 - index)))
    return to + size


cdef inline uint8_t* put_bytes(uint8_t* to, const void* data, Py_ssize_t size) noexcept nogil:
    memcpy(to, data, <size_t>size)
    return to + size


cdef inline uint8_t* put_unsigned(uint8_t* to, uint64_t value) noexcept nogil:
    if value < 0x80:
        to[0] = <uint8_t>value
        return to + 1
    if value <= 0xFF:
        to[0] = 0xCC
        return put_big_endian(to + 1, value, 1)
    if value <= 0xFFFF:
        to[0] = 0xCD
        return put_big_endian(to + 1, value, 2)
    if value <= 0xFFFFFFFFU:
        to[0] = 0xCE
        return put_big_endian(to + 1, value, 4)
    to[0] = 0xCF
    return put_big_endian(to + 1, value, 8)


cdef inline int unsigned_size(uint64_t value) noexcept nogil:
    if value < 0x80:
        return 1
    if value <= 0xFF:
        return 2
    if value <= 0xFFFF:
        return 3
    return 5 if value <= 0xFFFFFFFFU else 9


cdef inline uint8_t* put_double(uint8_t* to, double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    to[0] = 0xCB
    return put_big_endian(to + 1, bits, 8)


# The header of a str (fix = 0xA0, up to 31), bin, array (0x90, 15) or map (0x80, 15); `first` is the code of its
# 8-bit form (0 when there is none), `second` of its 16-bit form; the 32-bit form follows.
cdef inline uint8_t* put_header(
    uint8_t* to, uint64_t size, uint8_t fix, uint64_t fix_limit, uint8_t first, uint8_t second
) noexcept nogil:
    if size < fix_limit:
        to[0] = fix | <uint8_t>size
        return to + 1
    if first and size <= 0xFF:
        to[0] = first
        return put_big_endian(to + 1, size, 1)
    if size <= 0xFFFF:
        to[0] = second
        return put_big_endian(to + 1, size, 2)
    to[0] = second + 1
    return put_big_endian(to + 1, size, 4)


cdef inline uint8_t* put_text_header(uint8_t* to, Py_ssize_t size) noexcept nogil:
    return put_header(to, <uint64_t>size, 0xA0, 32, 0xD9, 0xDA)


cdef inline uint8_t* put_binary_header(uint8_t* to, Py_ssize_t size) noexcept nogil:
    return put_header(to, <uint64_t>size, 0, 0, 0xC4, 0xC5)


cdef inline int text_header_size(Py_ssize_t size) noexcept nogil:
    if size < 32:
        return 1
    if size <= 0xFF:
        return 2
    return 3 if size <= 0xFFFF else 5


cdef inline int binary_header_size(Py_ssize_t size) noexcept nogil:
    if size <= 0xFF:
        return 2
    return 3 if size <= 0xFFFF else 5


# ---- reading ---------------------------------------------------------------------------------------------------

cdef struct Cursor:
    const uint8_t* at
    const uint8_t* end


cdef inline bint has(Cursor* cursor, uint64_t size) noexcept nogil:
    return <uint64_t>distance(cursor.at, cursor.end) >= size


# `size` bytes as a number; the caller has made sure that they are there.
cdef inline uint64_t take_big_endian(Cursor* cursor, int size) noexcept nogil:
    cdef uint64_t value = 0
    cdef int index
    for index in range(size):
        value = value << 8 | cursor.at[index]
    cursor.at += size
    return value


# Any integer form that holds a number of 0 or more.
cdef inline bint read_unsigned(Cursor* cursor, uint64_t* value) noexcept nogil:
    cdef uint8_t code
    cdef int size
    if not has(cursor, 1):
        return False
    code = cursor.at[0]
    if code < 0x80:
        cursor.at += 1
        value[0] = code
        return True
    if 0xCC <= code <= 0xCF:
        size = 1 << (code - 0xCC)
    elif 0xD0 <= code <= 0xD3:
        size = 1 << (code - 0xD0)
    else:
        return False
    if not has(cursor, 1 + <uint64_t>size):
        return False
    if code >= 0xD0 and cursor.at[1] & 0x80:
        return False
    cursor.at += 1
    value[0] = take_big_endian(cursor, size)
    return True


cdef inline bint read_nil(Cursor* cursor) noexcept nogil:
    if has(cursor, 1) and cursor.at[0] == 0xC0:
        cursor.at += 1
        return True
    return False


cdef inline bint read_optional(Cursor* cursor, bint* present, uint64_t* value) noexcept nogil:
    present[0] = not read_nil(cursor)
    return not present[0] or read_unsigned(cursor, value)


cdef inline bint read_run(Cursor* cursor, int size_of_size, const uint8_t** start, Py_ssize_t* size) noexcept nogil:
    cdef uint64_t announced
    if not has(cursor, 1 + <uint64_t>size_of_size):
        return False
    cursor.at += 1
    announced = take_big_endian(cursor, size_of_size)
    if not has(cursor, announced):
        return False
    start[0] = cursor.at
    size[0] = <Py_ssize_t>announced
    cursor.at += announced
    return True


cdef inline bint read_binary(Cursor* cursor, const uint8_t** start, Py_ssize_t* size) noexcept nogil:
    if not has(cursor, 1) or not 0xC4 <= cursor.at[0] <= 0xC6:
        return False
    return read_run(cursor, 1 << (cursor.at[0] - 0xC4), start, size)


cdef inline bint read_text(Cursor* cursor, const uint8_t** start, Py_ssize_t* size) noexcept nogil:
    cdef uint8_t code
    if not has(cursor, 1):
        return False
    code = cursor.at[0]
    if code & 0xE0 == 0xA0:
        if not has(cursor, 1 + <uint64_t>(code & 0x1F)):
            return False
        start[0] = cursor.at + 1
        size[0] = code & 0x1F
        cursor.at += 1 + size[0]
        return True
    if not 0xD9 <= code <= 0xDB:
        return False
    return read_run(cursor, 1 << (code - 0xD9), start, size)


# ---- the envelope ----------------------------------------------------------------------------------------------

# Points into the scanned bytes: valid as long as they are.
cdef struct EnvelopeView:
    const uint8_t* job_id
    Py_ssize_t job_id_size
    const uint8_t* payload
    Py_ssize_t payload_size
    uint64_t created_at_ms
    uint64_t attempt
    bint has_max_attempts
    uint64_t max_attempts
    bint has_backoff
    const uint8_t* kind
    Py_ssize_t kind_size
    uint64_t delay_ms
    bint has_max_delay
    uint64_t max_delay_ms
    bint has_multiplier
    double multiplier
    bint has_jitter
    uint64_t jitter_ms


cdef inline bint scan_backoff(Cursor* cursor, EnvelopeView* view) noexcept nogil:
    cdef uint64_t bits
    if not has(cursor, 1) or cursor.at[0] != 0x95:
        return False
    cursor.at += 1
    if not (
        read_text(cursor, &view.kind, &view.kind_size)
        and read_unsigned(cursor, &view.delay_ms)
        and read_optional(cursor, &view.has_max_delay, &view.max_delay_ms)
    ):
        return False
    view.has_multiplier = not read_nil(cursor)
    if view.has_multiplier:
        if not has(cursor, 9) or cursor.at[0] != 0xCB:
            return False
        cursor.at += 1
        bits = take_big_endian(cursor, 8)
        memcpy(&view.multiplier, &bits, 8)
    view.has_backoff = True
    return read_optional(cursor, &view.has_jitter, &view.jitter_ms)


cdef inline bint scan_retry(Cursor* cursor, EnvelopeView* view) noexcept nogil:
    if read_nil(cursor):
        return True
    if not has(cursor, 1) or cursor.at[0] != 0x92:
        return False
    cursor.at += 1
    if not read_optional(cursor, &view.has_max_attempts, &view.max_attempts):
        return False
    if view.has_max_attempts and view.max_attempts > 0xFFFFFFFFU:
        return False
    return read_nil(cursor) or scan_backoff(cursor, view)


# Reads the array forms of 3 to 5 elements with a bin payload; bytes behind the envelope are ignored.
cdef inline bint scan_envelope(const uint8_t* data, Py_ssize_t size, EnvelopeView* view) noexcept nogil:
    cdef Cursor cursor
    cdef int elements
    cursor.at = data
    cursor.end = data + size
    if size < 1 or not 0x93 <= data[0] <= 0x95:
        return False
    elements = data[0] & 0x0F
    cursor.at += 1
    view.attempt = 0
    view.has_max_attempts = False
    view.has_backoff = False
    if not (
        read_text(&cursor, &view.job_id, &view.job_id_size)
        and read_binary(&cursor, &view.payload, &view.payload_size)
        and read_unsigned(&cursor, &view.created_at_ms)
    ):
        return False
    if elements > 3 and (not read_unsigned(&cursor, &view.attempt) or view.attempt > 0xFFFFFFFFU):
        return False
    return elements < 5 or scan_retry(&cursor, view)
