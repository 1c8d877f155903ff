"""User data to and from MessagePack: the compiled twin of ``_pure/payload.py``, which explains the rules.

Handles the plain types by hand; at the first thing out of the ordinary (another type, a subclass, an extension, a
fault, deep nesting) it drops its work and asks the twin, which decides. So it must never accept what the twin
refuses or encode it differently, and it must never run Python code while it walks a container.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_Next, PyDict_Size
from cpython.exc cimport PyErr_Clear
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact, PyList_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from chasquimq._fast.capi cimport (
    Py_False, Py_None, Py_True, decref, incref, list_item, new_bytes, new_dict, new_float, new_list,
    new_signed, new_text, new_unsigned, set_dict_item, set_list_item, tuple_item, utf8_of,
)
from chasquimq._fast.wire cimport (
    Cursor,
    distance,
    has,
    put_big_endian,
    put_binary_header,
    put_bytes,
    put_double,
    put_header,
    put_text_header,
    put_unsigned,
    read_binary,
    read_text,
    read_unsigned,
    take_big_endian,
)

from chasquimq._fast._pure.payload import decode_payload as decode_with_twin
from chasquimq._fast._pure.payload import encode_payload as encode_with_twin

# Below the twin's limit and small enough for the stack of any thread.
cdef int DEEPEST_BY_HAND = 64
cdef uint64_t LONGEST = 0xFFFFFFFF


def encode_payload(data):
    """User data as MessagePack: bytes stay bytes, tuples become arrays, aware datetimes the timestamp extension.

    Raises PayloadEncodeError for anything else; the message names the place and the remedy.
    """
    cdef Writer writer
    open_writer(&writer)
    try:
        if write_payload(&writer, data):
            return PyBytes_FromStringAndSize(<const char*>writer.data, writer.size)
    finally:
        close_writer(&writer)
    return encode_with_twin(data)


cpdef object decode_payload(buffer):
    """The data in one MessagePack value: timestamps as aware UTC datetimes, other extensions as msgpack.ExtType.

    Raises PayloadDecodeError when the bytes are not exactly one value within the limits.
    """
    cdef Reader reader
    cdef PyObject* value
    if PyBytes_CheckExact(buffer):
        reader.cursor.at = <const uint8_t*>PyBytes_AS_STRING(buffer)
        reader.cursor.end = reader.cursor.at + PyBytes_GET_SIZE(buffer)
        reader.announced = <uint64_t>PyBytes_GET_SIZE(buffer)
        value = read_item(&reader, DEEPEST_BY_HAND)
        if value is not NULL:
            result = <object>value
            decref(value)
            if reader.cursor.at == reader.cursor.end:
                return result
    return decode_with_twin(buffer)


# ---- writing: False means "ask the twin" -----------------------------------------------------------------------
cdef void open_writer(Writer* writer) noexcept:
    writer.data = writer.stack
    writer.size = 0
    writer.capacity = ON_STACK


cdef void close_writer(Writer* writer) noexcept:
    if writer.data is not writer.stack:
        PyMem_Free(writer.data)


cdef bint write_payload(Writer* writer, object data) noexcept:
    return write_item(writer, <PyObject*>data, DEEPEST_BY_HAND)


cdef bint reserve(Writer* writer, Py_ssize_t more) noexcept:
    cdef Py_ssize_t capacity = 2 * writer.capacity
    cdef uint8_t* grown
    if capacity < writer.size + more:
        capacity = writer.size + more
    if writer.data is writer.stack:
        grown = <uint8_t*>PyMem_Malloc(<size_t>capacity)
        if grown is not NULL:
            memcpy(grown, writer.stack, <size_t>writer.size)
    else:
        grown = <uint8_t*>PyMem_Realloc(writer.data, <size_t>capacity)
    if grown is NULL:
        return False
    writer.data = grown
    writer.capacity = capacity
    return True


# Where `more` bytes can be written; NULL without memory.
cdef inline uint8_t* room(Writer* writer, Py_ssize_t more) noexcept:
    if writer.capacity - writer.size < more and not reserve(writer, more):
        return NULL
    return writer.data + writer.size


cdef bint write_item(Writer* writer, PyObject* item, int depth) noexcept:
    if PyUnicode_CheckExact(<object>item):
        return write_text(writer, item)
    if PyLong_CheckExact(<object>item):
        return write_integer(writer, item)
    if item is Py_None:
        return write_byte(writer, 0xC0)
    if item is Py_True:
        return write_byte(writer, 0xC3)
    if item is Py_False:
        return write_byte(writer, 0xC2)
    if PyFloat_CheckExact(<object>item):
        return write_float(writer, item)
    if PyBytes_CheckExact(<object>item):
        return write_binary(writer, item)
    if depth == 0:
        return False
    if PyDict_CheckExact(<object>item):
        return write_map(writer, item, depth - 1)
    if PyList_CheckExact(<object>item) or PyTuple_CheckExact(<object>item):
        return write_array(writer, item, depth - 1)
    return False


cdef inline bint write_byte(Writer* writer, uint8_t value) noexcept:
    cdef uint8_t* at = room(writer, 1)
    if at is NULL:
        return False
    at[0] = value
    writer.size += 1
    return True


cdef inline bint write_text(Writer* writer, PyObject* item) noexcept:
    cdef Py_ssize_t size
    cdef const char* start = utf8_of(item, &size)
    cdef uint8_t* at
    if start is NULL:
        PyErr_Clear()
        return False
    at = room(writer, 5 + size)
    if at is NULL or <uint64_t>size > LONGEST:
        return False
    writer.size = distance(writer.data, put_bytes(put_text_header(at, size), start, size))
    return True


cdef inline bint write_binary(Writer* writer, PyObject* item) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(<object>item)
    cdef uint8_t* at = room(writer, 5 + size)
    if at is NULL or <uint64_t>size > LONGEST:
        return False
    writer.size = distance(writer.data, put_bytes(put_binary_header(at, size), PyBytes_AS_STRING(<object>item), size))
    return True


cdef inline bint write_float(Writer* writer, PyObject* item) noexcept:
    cdef uint8_t* at = room(writer, 9)
    if at is NULL:
        return False
    writer.size = distance(writer.data, put_double(at, PyFloat_AS_DOUBLE(<object>item)))
    return True


cdef inline bint write_integer(Writer* writer, PyObject* item) noexcept:
    cdef int overflow = 0
    cdef long long value = PyLong_AsLongLongAndOverflow(<object>item, &overflow)
    cdef uint8_t* at = room(writer, 9)
    if at is NULL or overflow:
        return False
    if value >= 0:
        writer.size = distance(writer.data, put_unsigned(at, <uint64_t>value))
    else:
        writer.size = distance(writer.data, put_negative(at, value))
    return True


cdef inline uint8_t* put_negative(uint8_t* at, long long value) noexcept:
    if value >= -0x20:
        at[0] = <uint8_t>value
        return at + 1
    if value >= -0x80:
        at[0] = 0xD0
        return put_big_endian(at + 1, <uint64_t>value, 1)
    if value >= -0x8000:
        at[0] = 0xD1
        return put_big_endian(at + 1, <uint64_t>value, 2)
    if value >= -0x80000000LL:
        at[0] = 0xD2
        return put_big_endian(at + 1, <uint64_t>value, 4)
    at[0] = 0xD3
    return put_big_endian(at + 1, <uint64_t>value, 8)


cdef bint write_array(Writer* writer, PyObject* items, int depth) noexcept:
    cdef bint is_list = PyList_CheckExact(<object>items)
    cdef Py_ssize_t size = PyList_GET_SIZE(<object>items) if is_list else PyTuple_GET_SIZE(<object>items)
    cdef Py_ssize_t index
    cdef uint8_t* at = room(writer, 5)
    if at is NULL or <uint64_t>size > LONGEST:
        return False
    writer.size = distance(writer.data, put_header(at, <uint64_t>size, 0x90, 16, 0, 0xDC))
    for index in range(size):
        if not write_item(writer, list_item(items, index) if is_list else tuple_item(items, index), depth):
            return False
    return True


cdef bint write_map(Writer* writer, PyObject* mapping, int depth) noexcept:
    cdef Py_ssize_t size = PyDict_Size(<object>mapping)
    cdef Py_ssize_t position = 0
    cdef PyObject* key
    cdef PyObject* value
    cdef uint8_t* at = room(writer, 5)
    if at is NULL or <uint64_t>size > LONGEST:
        return False
    writer.size = distance(writer.data, put_header(at, <uint64_t>size, 0x80, 16, 0, 0xDE))
    while PyDict_Next(<object>mapping, &position, &key, &value):
        # A key that is a container is the twin's to refuse.
        if PyTuple_CheckExact(<object>key) or not (write_item(writer, key, depth) and write_item(writer, value, depth)):
            return False
    return True


# ---- reading: NULL means "ask the twin"; no exception is set ---------------------------------------------------

cdef struct Reader:
    Cursor cursor
    # Items that containers may still announce: each takes at least one byte, so that all together cannot be more
    # than the payload has bytes. Keeps a chain of lying headers from allocating at every level.
    uint64_t announced


cdef inline PyObject* made(PyObject* value) noexcept:
    if value is NULL:
        PyErr_Clear()
    return value


cdef inline PyObject* shared(PyObject* value) noexcept:
    incref(value)
    return value


cdef PyObject* read_item(Reader* reader, int depth) noexcept:
    cdef Cursor* cursor = &reader.cursor
    cdef uint8_t code
    cdef const uint8_t* start
    cdef Py_ssize_t size
    cdef uint64_t number
    if not has(cursor, 1):
        return NULL
    code = cursor.at[0]
    if code < 0x80 or 0xCC <= code <= 0xCF:
        return made(new_unsigned(number)) if read_unsigned(cursor, &number) else NULL
    if code & 0xE0 == 0xA0 or 0xD9 <= code <= 0xDB:
        return made(new_text(<const char*>start, size, NULL)) if read_text(cursor, &start, &size) else NULL
    if code & 0xF0 == 0x80 or code in (0xDE, 0xDF):
        return read_map(reader, code, depth)
    if code & 0xF0 == 0x90 or code in (0xDC, 0xDD):
        return read_array(reader, code, depth)
    if 0xC4 <= code <= 0xC6:
        return made(new_bytes(<const char*>start, size)) if read_binary(cursor, &start, &size) else NULL
    if 0xD0 <= code <= 0xD3:
        return read_signed(cursor, code)
    if code in (0xCA, 0xCB):
        return read_float(cursor, code)
    cursor.at += 1
    if code >= 0xE0:
        return made(new_signed(<int8_t>code))
    if code == 0xC0:
        return shared(Py_None)
    if code == 0xC2:
        return shared(Py_False)
    if code == 0xC3:
        return shared(Py_True)
    return NULL


cdef PyObject* read_signed(Cursor* cursor, uint8_t code) noexcept:
    cdef int size = 1 << (code - 0xD0)
    cdef uint64_t bits
    if not has(cursor, 1 + <uint64_t>size):
        return NULL
    cursor.at += 1
    bits = take_big_endian(cursor, size)
    if size == 1:
        return made(new_signed(<int8_t>bits))
    if size == 2:
        return made(new_signed(<int16_t>bits))
    if size == 4:
        return made(new_signed(<int32_t>bits))
    return made(new_signed(<int64_t>bits))


cdef PyObject* read_float(Cursor* cursor, uint8_t code) noexcept:
    cdef uint32_t half
    cdef uint64_t bits
    cdef float single
    cdef double value
    if not has(cursor, 5 if code == 0xCA else 9):
        return NULL
    cursor.at += 1
    if code == 0xCA:
        half = <uint32_t>take_big_endian(cursor, 4)
        memcpy(&single, &half, 4)
        value = single
    else:
        bits = take_big_endian(cursor, 8)
        memcpy(&value, &bits, 8)
    return made(new_float(value))


# The number of items after a container's header; False as well when they cannot all be there.
cdef bint read_count(Reader* reader, uint8_t code, uint8_t long_form, int items_each, uint64_t* count) noexcept:
    cdef Cursor* cursor = &reader.cursor
    cdef int size = 0 if code < 0xC0 else (2 if code == long_form else 4)
    if not has(cursor, 1 + <uint64_t>size):
        return False
    cursor.at += 1
    count[0] = take_big_endian(cursor, size) if size else code & 0x0F
    if count[0] * items_each > reader.announced:
        return False
    reader.announced -= count[0] * items_each
    return True


cdef PyObject* read_array(Reader* reader, uint8_t code, int depth) noexcept:
    cdef uint64_t count
    cdef Py_ssize_t index
    cdef PyObject* items
    cdef PyObject* item
    if depth == 0 or not read_count(reader, code, 0xDC, 1, &count):
        return NULL
    items = made(new_list(<Py_ssize_t>count))
    if items is NULL:
        return NULL
    for index in range(<Py_ssize_t>count):
        item = read_item(reader, depth - 1)
        if item is NULL:
            decref(items)
            return NULL
        set_list_item(items, index, item)
    return items


cdef PyObject* read_map(Reader* reader, uint8_t code, int depth) noexcept:
    cdef uint64_t count
    cdef uint64_t done = 0
    cdef bint stored = True
    cdef PyObject* mapping
    cdef PyObject* key
    cdef PyObject* value
    if depth == 0 or not read_count(reader, code, 0xDE, 2, &count):
        return NULL
    mapping = made(new_dict())
    if mapping is NULL:
        return NULL
    while stored and done < count:
        key = read_item(reader, depth - 1)
        value = read_item(reader, depth - 1) if key is not NULL else NULL
        # A key that is a list or a map cannot be hashed.
        stored = value is not NULL and set_dict_item(mapping, key, value) == 0
        if value is not NULL and not stored:
            PyErr_Clear()
        if key is not NULL:
            decref(key)
        if value is not NULL:
            decref(value)
        done += 1
    if not stored:
        decref(mapping)
        return NULL
    return mapping
