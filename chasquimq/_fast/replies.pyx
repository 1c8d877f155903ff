"""Replies of the connection on which a worker reads its stream: the compiled twin of ``_pure/replies.py``.

Parses the entries of one stream straight from the received bytes, in the plain form that servers give them; at the
first thing out of the ordinary it hands the whole reply to the other reader. So it must never give an entry that
hiredis and ``parse_entries`` would not give, or look beyond the bytes that have arrived.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_Append
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove

from chasquimq._fast.entries cimport Entry, StreamReply, blank_entry, decode, name_of
from chasquimq._fast.wire cimport Cursor, distance

# How far a piece could be read: it is there, it has not arrived as a whole, it is not of the plain form.
cdef enum Found:
    WHOLE
    PARTIAL
    ODD

cdef Py_ssize_t KEPT_BYTES = 1 << 20
cdef uint64_t MOST_ENTRIES = 1 << 20
cdef uint64_t MOST_FIELDS = 64


cdef class EntryReader:
    """Takes received bytes and gives replies, like the ``hiredis.Reader`` that it is given, whose methods it has."""

    cdef bytes _map_head
    cdef bytes _list_head
    cdef Py_ssize_t _max_payload_bytes
    cdef object _other
    # Bytes go to the other reader, until it has given all that was in them.
    cdef bint _is_odd
    cdef uint8_t* _data
    cdef Py_ssize_t _size
    cdef Py_ssize_t _capacity
    # Of the reply that is being read: where the next entry begins (0: its head is still to come), how many are left.
    cdef Py_ssize_t _next
    cdef uint64_t _left
    cdef list _entries
    # Most entries of a queue share a few names: the last one decoded is used again while its bytes repeat.
    cdef bytes _name_bytes
    cdef str _name

    def __init__(self, reader, bytes stream not None, Py_ssize_t max_payload_bytes):
        key = b"$%d\r\n%b\r\n*" % (len(stream), stream)
        self._map_head = b"%1\r\n" + key
        self._list_head = b"*1\r\n*2\r\n" + key
        self._max_payload_bytes = max_payload_bytes
        self._other = reader
        self._entries = []
        self._name_bytes = b""
        self._name = ""

    def __dealloc__(self):
        PyMem_Free(self._data)

    def feed(self, buffer, Py_ssize_t offset, Py_ssize_t length):
        """These bytes were received."""
        cdef Py_buffer view
        if self._is_odd:
            self._other.feed(buffer, offset, length)
            return
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            if offset < 0 or length < 0 or offset > view.len - length:
                raise ValueError("these bytes are not in the buffer")
            if length:
                self._make_room(length)
                memcpy(self._data + self._size, <const uint8_t*>view.buf + offset, <size_t>length)
                self._size += length
        finally:
            PyBuffer_Release(&view)

    def gets(self):
        """The next reply; False until there is a whole one."""
        cdef Found found
        if not self._is_odd:
            if self._size == 0:
                return False
            found = self._read()
            if found == WHOLE:
                return self._take()
            if found == PARTIAL:
                return False
            self._hand_over()
        reply = self._other.gets()
        if reply is not False and not self._other.has_data():
            self._is_odd = False
        return reply

    def has_data(self):
        """Whether there are received bytes of a reply that was not given yet."""
        return self._size > 0 or self._other.has_data()

    cdef int _make_room(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t capacity
        cdef uint8_t* grown
        if self._capacity - self._size >= more:
            return 0
        capacity = max(self._size + more, 2 * self._capacity)
        grown = <uint8_t*>PyMem_Realloc(self._data, <size_t>capacity)
        if grown is NULL:
            raise MemoryError
        self._data = grown
        self._capacity = capacity
        return 0

    cdef Found _read(self) except? ODD:
        """Reads on in the first reply, as far as it has arrived."""
        cdef Cursor cursor
        cdef Found found
        cursor.at = self._data + self._next
        cursor.end = self._data + self._size
        if self._next == 0:
            found = self._read_head(&cursor)
            if found != WHOLE:
                return found
            self._next = distance(self._data, cursor.at)
        while self._left:
            found = self._read_entry(&cursor)
            if found != WHOLE:
                return found
            self._left -= 1
            self._next = distance(self._data, cursor.at)
        return WHOLE

    cdef Found _read_head(self, Cursor* cursor) noexcept:
        """What stands before the entries: one stream, which is ours, and their number."""
        cdef bytes head = self._map_head if cursor.at[0] == b"%" else self._list_head
        cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
        cdef Py_ssize_t there = distance(cursor.at, cursor.end)
        cdef Found found
        if memcmp(cursor.at, PyBytes_AS_STRING(head), <size_t>min(there, size)):
            return ODD
        if there < size:
            return PARTIAL
        # The head ends with the star of the number.
        cursor.at += size - 1
        found = read_number(cursor, b"*", &self._left)
        return ODD if found == WHOLE and self._left > MOST_ENTRIES else found

    cdef Found _read_entry(self, Cursor* cursor) except? ODD:
        cdef uint64_t columns, parts, size
        cdef uint64_t idle_ms = 0
        cdef uint64_t deliveries = 0
        cdef const uint8_t* text = NULL
        cdef const uint8_t* entry_id = NULL
        cdef const uint8_t* raw = NULL
        cdef const uint8_t* named = NULL
        cdef uint64_t id_size = 0
        cdef uint64_t raw_size = 0
        cdef uint64_t name_size = 0
        cdef char letter
        cdef Found found = read_number(cursor, b"*", &columns)
        cdef Entry entry
        if found != WHOLE:
            return found
        if columns != 2 and columns != 4:
            return ODD
        found = read_text(cursor, &entry_id, &id_size)
        if found != WHOLE:
            return found
        found = read_number(cursor, b"*", &parts)
        if found != WHOLE:
            return found
        if parts % 2 or parts > MOST_FIELDS:
            return ODD
        while parts:
            found = read_text(cursor, &text, &size)
            if found != WHOLE:
                return found
            letter = text[0] if size == 1 else b"\0"
            found = read_text(cursor, &text, &size)
            if found != WHOLE:
                return found
            if letter == b"d":
                raw = text
                raw_size = size
            elif letter == b"n":
                named = text
                name_size = size
            parts -= 2
        if columns == 4:
            found = read_number(cursor, b":", &idle_ms)
            if found == WHOLE:
                found = read_number(cursor, b":", &deliveries)
            if found != WHOLE:
                return found
        entry = blank_entry(PyBytes_FromStringAndSize(<const char*>entry_id, <Py_ssize_t>id_size))
        entry.idle_ms = idle_ms
        entry.deliveries = deliveries
        if named is not NULL:
            entry.name = self._name_from(named, <Py_ssize_t>name_size)
        decode(
            entry,
            None if raw is NULL else PyBytes_FromStringAndSize(<const char*>raw, <Py_ssize_t>raw_size),
            self._max_payload_bytes,
        )
        PyList_Append(self._entries, entry)
        return WHOLE

    cdef str _name_from(self, const uint8_t* start, Py_ssize_t size):
        if size != PyBytes_GET_SIZE(self._name_bytes) or memcmp(
            start, PyBytes_AS_STRING(self._name_bytes), <size_t>size
        ):
            self._name_bytes = PyBytes_FromStringAndSize(<const char*>start, size)
            self._name = name_of(self._name_bytes)
        return self._name

    cdef StreamReply _take(self):
        """The reply that was read; its bytes are forgotten."""
        cdef StreamReply reply = StreamReply(self._entries)
        self._entries = []
        self._forget(self._next)
        return reply

    cdef int _hand_over(self) except -1:
        """What has arrived goes to the other reader, from the beginning of the reply that is being read."""
        self._is_odd = True
        self._other.feed(PyBytes_FromStringAndSize(<const char*>self._data, self._size))
        self._entries = []
        self._forget(self._size)
        return 0

    cdef void _forget(self, Py_ssize_t size) noexcept:
        self._next = 0
        self._left = 0
        self._size -= size
        if self._size:
            memmove(self._data, self._data + size, <size_t>self._size)
        elif self._capacity > KEPT_BYTES:
            PyMem_Free(self._data)
            self._data = NULL
            self._capacity = 0


# A length or a number in its plain form: the sign of its kind, digits, the end of the line.
cdef inline Found read_number(Cursor* cursor, char kind, uint64_t* number) noexcept:
    cdef const uint8_t* at = cursor.at
    cdef int digits = 0
    cdef uint64_t value = 0
    if at >= cursor.end:
        return PARTIAL
    if at[0] != <uint8_t>kind:
        return ODD
    at += 1
    while at < cursor.end and b"0" <= at[0] <= b"9":
        value = value * 10 + (at[0] - <uint8_t>b"0")
        digits += 1
        # No more than fit into a signed number.
        if digits > 18:
            return ODD
        at += 1
    if at >= cursor.end:
        return PARTIAL
    if at[0] != b"\r" or not digits or (digits > 1 and cursor.at[1] == b"0"):
        return ODD
    if at + 1 >= cursor.end:
        return PARTIAL
    if at[1] != b"\n":
        return ODD
    cursor.at = at + 2
    number[0] = value
    return WHOLE


cdef inline Found read_text(Cursor* cursor, const uint8_t** start, uint64_t* size) noexcept:
    cdef Found found = read_number(cursor, b"$", size)
    if found != WHOLE:
        return found
    if <uint64_t>distance(cursor.at, cursor.end) < size[0] + 2:
        return PARTIAL
    start[0] = cursor.at
    cursor.at += size[0]
    if cursor.at[0] != b"\r" or cursor.at[1] != b"\n":
        return ODD
    cursor.at += 2
    return WHOLE
