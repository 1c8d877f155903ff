"""Replies of XREADGROUP and its kin to entries: the compiled twin of ``_pure/entries.py``, which explains the
rules.

Decides which entries can run. It must never raise because of what somebody wrote into the stream, and never print
a payload.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp

from chasquimq._fast.envelope cimport backoff_of, text_of, unsigned
from chasquimq._fast.wire cimport EnvelopeView, scan_envelope

from chasquimq._fast._pure.envelope import envelope_fields
from chasquimq.errors import EnvelopeError

cdef uint64_t U32_MAX = 0xFFFFFFFF
cdef uint64_t U64_MAX = 0xFFFFFFFFFFFFFFFF
cdef uint64_t COUNTER_MAX = 0x7FFFFFFFFFFFFFFF
cdef str NO_PAYLOAD_DETAIL = "missing or non-bytes payload field"


cdef class StreamReply:
    """A stream reply whose entries were parsed while it was read."""

    def __init__(self, list entries not None):
        self.entries = entries


# no_gc: an entry holds only bytes, str, numbers and tuples of these, so it cannot be part of a cycle.
@cython.no_gc
@cython.freelist(256)
cdef class Entry:
    """One stream entry, decoded. Read-only but for the fields of its run, which belong to the worker.

    ``fault`` is None for an entry that can run, else the reason it goes to the dead-letter queue with:
    ``malformed``, ``oversize_payload`` or ``decode_failed``; ``raw`` is then all there is of the job.
    """

    def __init__(
        self,
        bytes entry_id not None,
        str job_id not None="",
        bytes payload not None=b"",
        *,
        str name not None="",
        created_at_ms=0,
        attempt=0,
        max_attempts=None,
        tuple backoff=None,
        bytes raw not None=b"",
        deliveries=0,
        idle_ms=0,
        str fault=None,
        str detail not None="",
    ):
        self.entry_id = entry_id
        self.job_id = job_id
        self.payload = payload
        self.name = name
        self.created_at_ms = unsigned("created_at_ms", created_at_ms, U64_MAX)
        self.attempt = unsigned("attempt", attempt, U32_MAX)
        if max_attempts is not None:
            max_attempts = unsigned("max_attempts", max_attempts, U32_MAX)
        self.max_attempts = max_attempts
        self.backoff = backoff
        self.raw = raw
        self.deliveries = unsigned("deliveries", deliveries, COUNTER_MAX)
        self.idle_ms = unsigned("idle_ms", idle_ms, COUNTER_MAX)
        self.fault = fault
        self.detail = detail

    def __repr__(self):
        state = f"attempt={self.attempt}" if self.fault is None else f"fault={self.fault}"
        return (
            f"<Entry {self.entry_id.decode('ascii', 'replace')} job={self.job_id!r} name={self.name!r} {state} "
            f"deliveries={self.deliveries} payload={len(self.payload)} bytes>"
        )


def parse_entries(reply, Py_ssize_t max_payload_bytes):
    """The entries in a whole XREADGROUP reply, of all its streams, RESP2 or RESP3. Empty when nothing was read.

    Raises ValueError when the reply is not of that shape at all.
    """
    cdef list parsed = []
    if reply is None:
        return parsed
    if type(reply) is StreamReply:
        return (<StreamReply>reply).entries
    if isinstance(reply, dict):
        streams = reply.items()
    elif isinstance(reply, (list, tuple)):
        streams = reply
    else:
        raise ValueError(f"a stream reply is a list or a map, not {type(reply).__name__}")
    for stream in streams:
        if not isinstance(stream, (list, tuple)) or len(stream) != 2:
            raise ValueError("a stream reply holds pairs of a key and its entries")
        append_entries(parsed, stream[1], max_payload_bytes)
    return parsed


def parse_entry_list(entries, Py_ssize_t max_payload_bytes):
    """The entries in a bare list, as XAUTOCLAIM, XRANGE and scripts return it; deleted ones are passed over."""
    cdef list parsed = []
    append_entries(parsed, entries, max_payload_bytes)
    return parsed


cdef int append_entries(list parsed, object entries, Py_ssize_t max_payload_bytes) except -1:
    cdef Entry entry
    # Most entries of a queue share a few names: the last one decoded is used again while its bytes repeat.
    cdef bytes name_bytes = b""
    cdef str name = ""
    cdef list row
    cdef list fields
    cdef PyObject* raw
    cdef PyObject* named
    if entries is None:
        return 0
    if not isinstance(entries, (list, tuple)):
        raise ValueError(f"stream entries come as a list, not {type(entries).__name__}")
    for item in entries:
        if item is None:
            continue
        row = item if PyList_CheckExact(item) else as_list(item)
        if len(row) < 2 or not isinstance(row[0], bytes):
            raise ValueError("a stream entry is a list of its id and its fields")
        if row[1] is None:
            continue
        fields = flat(row[1])
        entry = blank_entry(row[0])
        if PyList_GET_SIZE(row) > 3:
            entry.idle_ms = counter(row[2])
            entry.deliveries = counter(row[3])
        raw = NULL
        named = NULL
        pick_fields(fields, &raw, &named)
        if named is not NULL and PyBytes_CheckExact(<object>named):
            if not same_bytes(name_bytes, <bytes>named):
                name_bytes = <bytes>named
                name = name_of(name_bytes)
            entry.name = name
        decode(entry, <bytes>raw if raw is not NULL and PyBytes_CheckExact(<object>raw) else None, max_payload_bytes)
        parsed.append(entry)
    return 0


cdef Entry blank_entry(bytes entry_id):
    cdef Entry entry = Entry.__new__(Entry)
    entry.entry_id = entry_id
    entry.job_id = entry.name = entry.detail = ""
    entry.payload = entry.raw = b""
    return entry


cdef int decode(Entry entry, bytes raw, Py_ssize_t max_payload_bytes) except -1:
    """Fills in what the envelope says, or the fault that keeps the entry from running."""
    if raw is None:
        entry.name = ""
        entry.fault = "malformed"
        entry.detail = NO_PAYLOAD_DETAIL
        return 0
    entry.raw = raw
    if PyBytes_GET_SIZE(raw) > max_payload_bytes:
        entry.fault = "oversize_payload"
        entry.detail = f"{len(raw)} bytes, the limit is {max_payload_bytes}"
        return 0
    return fill(entry)


cdef int fill(Entry entry) except -1:
    """Decodes the envelope in ``raw``."""
    cdef EnvelopeView view
    if scan_envelope(
        <const uint8_t*>PyBytes_AS_STRING(entry.raw), PyBytes_GET_SIZE(entry.raw), &view
    ):
        try:
            entry.job_id = text_of(view.job_id, view.job_id_size)
            if view.has_backoff:
                entry.backoff = backoff_of(&view)
            if view.has_max_attempts:
                entry.max_attempts = view.max_attempts
            entry.payload = PyBytes_FromStringAndSize(<const char*>view.payload, view.payload_size)
            entry.created_at_ms = view.created_at_ms
            entry.attempt = view.attempt
            return 0
        except UnicodeDecodeError:
            # The twin says the same, in words.
            entry.job_id = ""
    try:
        (
            entry.job_id,
            entry.payload,
            entry.created_at_ms,
            entry.attempt,
            entry.max_attempts,
            entry.backoff,
        ) = envelope_fields(entry.raw)
    except EnvelopeError as error:
        entry.fault = "decode_failed"
        entry.detail = str(error)
        entry.name = ""
    return 0


cdef void pick_fields(list fields, PyObject** raw, PyObject** named) noexcept:
    """Borrowed references to the values of the fields ``d`` and ``n``; the last of equal names counts."""
    cdef Py_ssize_t position
    cdef PyObject* field
    cdef char letter
    for position in range(0, PyList_GET_SIZE(fields) - 1, 2):
        field = PyList_GET_ITEM(fields, position)
        if PyBytes_CheckExact(<object>field) and PyBytes_GET_SIZE(<object>field) == 1:
            letter = PyBytes_AS_STRING(<object>field)[0]
            if letter == b"d":
                raw[0] = PyList_GET_ITEM(fields, position + 1)
            elif letter == b"n":
                named[0] = PyList_GET_ITEM(fields, position + 1)


cdef inline bint same_bytes(bytes one, bytes other) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(one)
    return size == PyBytes_GET_SIZE(other) and not memcmp(
        PyBytes_AS_STRING(one), PyBytes_AS_STRING(other), <size_t>size
    )


cdef str name_of(bytes name):
    try:
        return text_of(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    except UnicodeDecodeError:
        return ""


cdef inline uint64_t counter(object value) noexcept:
    cdef int overflow = 0
    cdef long long number
    if not PyLong_CheckExact(value):
        return 0
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    return 0 if overflow or number < 0 else <uint64_t>number


cdef list as_list(object item):
    if not isinstance(item, (list, tuple)):
        raise ValueError("a stream entry is a list of its id and its fields")
    return list(item)


cdef list flat(object fields):
    """Fields as ``[name, value, ...]`` whatever the protocol version made of them."""
    if isinstance(fields, dict):
        return [part for pair in fields.items() for part in pair]
    if not isinstance(fields, (list, tuple)):
        raise ValueError(f"the fields of a stream entry come as a list or a map, not {type(fields).__name__}")
    if fields and isinstance(fields[0], (list, tuple)):
        return [part for pair in fields if isinstance(pair, (list, tuple)) and len(pair) == 2 for part in pair]
    return fields if PyList_CheckExact(fields) else list(fields)
