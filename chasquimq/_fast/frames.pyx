"""Requests in RESP: the compiled twin of ``_pure/frames.py``, which explains the rules.

Decides the bytes of a command and nothing else: it must never talk to a server. Whatever can raise comes before
the first byte is written; no Python code runs between the first and the last byte of a command.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_CheckExact
from libc.stdint cimport uint8_t, uint64_t

from chasquimq._fast.entries cimport Entry
from chasquimq._fast.envelope cimport unsigned
from chasquimq._fast.resp cimport (
    bulk_size,
    digits_of,
    put_bulk,
    put_constant,
    put_digits,
    put_end,
    put_line,
    put_number,
)
from chasquimq._fast.wire cimport (
    binary_header_size,
    distance,
    put_binary_header,
    put_bytes,
    put_text_header,
    put_unsigned,
    text_header_size,
    unsigned_size,
)

from chasquimq._fast._pure.frames import argument_bytes, event_head

cdef uint64_t U64_MAX = 0xFFFFFFFFFFFFFFFF
# A buffer that grew beyond this is given back when it is emptied.
cdef Py_ssize_t KEPT_CAPACITY = 1 << 22
cdef bytes ANY_ID_FIELD_D = b"$1\r\n*\r\n$1\r\nd\r\n"
cdef bytes FIELD_N = b"$1\r\nn\r\n"
cdef bytes ACTIVE = b"$6\r\nactive\r\n$2\r\nid\r\n"
cdef bytes COMPLETED = b"$9\r\ncompleted\r\n$2\r\nid\r\n"
cdef bytes FIELD_TS = b"$2\r\nts\r\n"
cdef bytes FIELD_ATTEMPT = b"$7\r\nattempt\r\n"
cdef bytes FIELD_DURATION = b"$11\r\nduration_us\r\n"
cdef bytes FIELD_RETURNVALUE = b"$11\r\nreturnvalue\r\n"
# More than all the constant parts of an event and its numbers take.
cdef Py_ssize_t EVENT_OVERHEAD = 256


def pack_command(args):
    """One command as a RESP array of bulk strings. Raises TypeError for an argument Redis has no text form for."""
    cdef list parts = parts_of(args)
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, command_size(parts))
    put_command(<uint8_t*>PyBytes_AS_STRING(packed), parts)
    return packed


cdef class JobHead:
    """The constant start of the XADDs that one producer sends to one stream. Read-only.

    With a producer id the add is idempotent: the server drops a repeated ``(producer_id, job_id)``. The stream is
    never trimmed here: trimming would drop jobs that nobody has read.
    """

    def __init__(self, bytes stream_key not None, bytes producer_id=None):
        self.stream_key = stream_key
        self.producer_id = producer_id
        start = [b"XADD", stream_key] if producer_id is None else [b"XADD", stream_key, b"IDMP", producer_id]
        # The count of the command's elements is the first line; the rest of the head does not depend on it.
        rest = pack_command(start).split(b"\r\n", 1)[1]
        elements = 5 if producer_id is None else 8
        self.unnamed = b"*%d\r\n%b" % (elements, rest)
        self.named = b"*%d\r\n%b" % (elements + 2, rest)


def frame_job(
    JobHead head not None,
    str job_id not None,
    bytes payload not None,
    created_at_ms,
    bytes name not None,
    bytes retry not None,
):
    """The complete XADD of one fresh job. Thread-safe."""
    cdef FramedJob job
    cdef bytes framed
    measure_job(&job, head, job_id, payload, unsigned("created_at_ms", created_at_ms, U64_MAX), name, retry)
    framed = PyBytes_FromStringAndSize(NULL, job_size(&job))
    put_job(<uint8_t*>PyBytes_AS_STRING(framed), &job)
    return framed


cdef class FrameBuffer:
    """A growing request: commands are appended, ``take`` hands out the bytes. For one thread at a time."""

    def __dealloc__(self):
        PyMem_Free(self.data)

    def __len__(self):
        return self.size

    def take(self):
        """The bytes collected so far; the buffer is empty afterwards."""
        cdef bytes taken = PyBytes_FromStringAndSize(<const char*>self.data, self.size)
        self.size = 0
        self.commands = 0
        if self.capacity > KEPT_CAPACITY:
            PyMem_Free(self.data)
            self.data = NULL
            self.capacity = 0
        return taken

    def raw(self, bytes data not None, Py_ssize_t commands=1):
        """Appends bytes that are complete commands already."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        self.close(put_bytes(self.room(size), PyBytes_AS_STRING(data), size), commands)

    def command(self, args):
        """Appends one command; errors as of ``pack_command``."""
        cdef list parts = parts_of(args)
        self.close(put_command(self.room(command_size(parts)), parts), 1)

    def job(
        self,
        JobHead head not None,
        str job_id not None,
        bytes payload not None,
        created_at_ms,
        bytes name not None,
        bytes retry not None,
    ):
        """Appends the complete XADD of one fresh job; ``name`` b"" leaves the field out."""
        cdef FramedJob job
        measure_job(&job, head, job_id, payload, unsigned("created_at_ms", created_at_ms, U64_MAX), name, retry)
        self.close(put_job(self.room(job_size(&job)), &job), 1)

    def acks(self, bytes stream not None, bytes group not None, entry_ids):
        """Appends one XACKDEL for all the entries. Raises ValueError when there are none."""
        if not entry_ids:
            raise ValueError("XACKDEL needs at least one entry id")
        self.command([b"XACKDEL", stream, group, b"IDS", len(entry_ids), *entry_ids])

    def active(self, bytes head not None, str job_id not None, ts_ms, bytes name not None, attempt):
        """Appends the event ``active``; ``attempt`` counts from 1, ``head`` is of ``event_head``."""
        self.event(head, ACTIVE, job_id, ts_ms, name, attempt, None, None)

    def completed(
        self,
        bytes head not None,
        str job_id not None,
        ts_ms,
        bytes name not None,
        attempt,
        duration_us,
        str returnvalue=None,
    ):
        """Appends the event ``completed``; ``attempt`` counts from 1, ``head`` is of ``event_head``, ``returnvalue``
        is JSON text or None for none."""
        duration_us = unsigned("duration_us", duration_us, U64_MAX)
        self.event(head, COMPLETED, job_id, ts_ms, name, attempt, duration_us, returnvalue)

    def active_events(self, bytes head not None, list entries not None):
        """Appends ``active`` for each entry, with what the entry says of its run."""
        cdef Entry entry
        for entry in entries:
            self.event_of(head, ACTIVE, entry, entry.started_on, False, None)

    def completed_events(self, bytes head not None, list entries not None):
        """Appends ``completed`` for each entry, with what the entry says of its run and shows of its value."""
        cdef Entry entry
        for entry in entries:
            self.event_of(head, COMPLETED, entry, entry.finished_on, True, entry.shown)

    cdef int event_of(self, bytes head, bytes event, Entry entry, uint64_t ts, bint timed, str shown) except -1:
        cdef Py_ssize_t name_size
        cdef const char* name = PyUnicode_AsUTF8AndSize(entry.name, &name_size)
        return self.put_event(
            head, event, entry.job_id, ts, name, name_size, entry.attempt + 1, timed, entry.duration_us, shown
        )

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
    ) except -1:
        cdef bint timed = duration_us is not None
        return self.put_event(
            head,
            event,
            job_id,
            unsigned("ts_ms", ts_ms, U64_MAX),
            PyBytes_AS_STRING(name),
            PyBytes_GET_SIZE(name),
            unsigned("attempt", attempt, U64_MAX),
            timed,
            duration_us if timed else 0,
            shown,
        )

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
    ) except -1:
        cdef Py_ssize_t job_id_size
        cdef Py_ssize_t shown_size = 0
        cdef const char* job_id_start = PyUnicode_AsUTF8AndSize(job_id, &job_id_size)
        cdef const char* shown_start = NULL if shown is None else PyUnicode_AsUTF8AndSize(shown, &shown_size)
        cdef uint8_t* at = self.room(PyBytes_GET_SIZE(head) + job_id_size + name_size + shown_size + EVENT_OVERHEAD)
        at = put_line(at, b"*", 14 + 2 * (name_size > 0) + 2 * timed + 2 * (shown is not None))
        at = put_constant(put_constant(at, head), event)
        at = put_bulk(at, job_id_start, job_id_size)
        at = put_number(put_constant(at, FIELD_TS), ts)
        if name_size:
            at = put_bulk(put_constant(at, FIELD_N), name, name_size)
        at = put_number(put_constant(at, FIELD_ATTEMPT), run)
        if timed:
            at = put_number(put_constant(at, FIELD_DURATION), duration)
        if shown is not None:
            at = put_bulk(put_constant(at, FIELD_RETURNVALUE), shown_start, shown_size)
        self.close(at, 1)
        return 0

    cdef uint8_t* room(self, Py_ssize_t more) except NULL:
        """Where ``more`` bytes can be written. What is written counts when ``close`` is told its end."""
        cdef Py_ssize_t capacity
        cdef uint8_t* grown
        if self.data is NULL or self.capacity - self.size < more:
            capacity = 2 * self.capacity
            if capacity < self.size + more:
                capacity = self.size + more
            if capacity < 1024:
                capacity = 1024
            grown = <uint8_t*>PyMem_Realloc(self.data, <size_t>capacity)
            if grown is NULL:
                raise MemoryError
            self.data = grown
            self.capacity = capacity
        return self.data + self.size

    cdef void close(self, uint8_t* end, Py_ssize_t commands) noexcept:
        self.size = distance(self.data, end)
        self.commands += commands


# ---- commands --------------------------------------------------------------------------------------------------

cdef list parts_of(object args):
    """The arguments as bytes and str, converted before anything is written."""
    cdef list parts = []
    for value in args:
        if not (PyBytes_CheckExact(value) or PyUnicode_CheckExact(value)):
            value = decimal_of(value) if type(value) is int else argument_bytes(value)
        parts.append(value)
    if not parts:
        raise ValueError("a command has at least its name; Redis sends no reply to an empty one")
    return parts


cdef bytes decimal_of(object value):
    cdef uint8_t[20] digits
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < 0:
        return b"%d" % value
    return PyBytes_FromStringAndSize(<const char*>digits, distance(digits, put_digits(digits, <uint64_t>number)))


cdef Py_ssize_t command_size(list parts) except -1:
    cdef Py_ssize_t total = 1 + digits_of(<uint64_t>len(parts)) + 2
    cdef Py_ssize_t size
    for part in parts:
        if PyBytes_CheckExact(part):
            size = PyBytes_GET_SIZE(part)
        else:
            # Raises on a lone surrogate; afterwards the text holds its UTF-8 form, so put_command cannot fail.
            PyUnicode_AsUTF8AndSize(part, &size)
        total += bulk_size(size)
    return total


cdef uint8_t* put_command(uint8_t* at, list parts):
    cdef Py_ssize_t size
    cdef const char* start
    at = put_line(at, b"*", len(parts))
    for part in parts:
        if PyBytes_CheckExact(part):
            at = put_bulk(at, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        else:
            start = PyUnicode_AsUTF8AndSize(part, &size)
            at = put_bulk(at, start, size)
    return at


# ---- jobs ------------------------------------------------------------------------------------------------------

cdef int measure_job(
    FramedJob* job, JobHead head, str job_id, bytes payload, uint64_t created_at_ms, bytes name, bytes retry
) except -1:
    job.payload = <const uint8_t*>PyBytes_AS_STRING(payload)
    job.payload_size = PyBytes_GET_SIZE(payload)
    job.retry = <const uint8_t*>PyBytes_AS_STRING(retry)
    job.retry_size = PyBytes_GET_SIZE(retry)
    return measure(job, head, job_id, created_at_ms, name)


cdef int measure(FramedJob* job, JobHead head, str job_id, uint64_t created_at_ms, bytes name) except -1:
    cdef bytes start
    job.job_id = PyUnicode_AsUTF8AndSize(job_id, &job.job_id_size)
    job.created_at_ms = created_at_ms
    job.name = PyBytes_AS_STRING(name)
    job.name_size = PyBytes_GET_SIZE(name)
    job.idempotent = head.producer_id is not None
    start = head.named if job.name_size else head.unnamed
    job.head = <const uint8_t*>PyBytes_AS_STRING(start)
    job.head_size = PyBytes_GET_SIZE(start)
    # An array header, the id, the payload, the time, one byte for attempt 0, the retry override.
    job.envelope_size = (
        1
        + text_header_size(job.job_id_size)
        + job.job_id_size
        + binary_header_size(job.payload_size)
        + job.payload_size
        + unsigned_size(created_at_ms)
        + 1
        + job.retry_size
    )
    return 0


cdef Py_ssize_t job_size(const FramedJob* job) noexcept:
    cdef Py_ssize_t size = job.head_size + PyBytes_GET_SIZE(ANY_ID_FIELD_D) + bulk_size(job.envelope_size)
    if job.idempotent:
        size += bulk_size(job.job_id_size)
    if job.name_size:
        size += PyBytes_GET_SIZE(FIELD_N) + bulk_size(job.name_size)
    return size


cdef uint8_t* put_job(uint8_t* at, const FramedJob* job) noexcept:
    at = put_bytes(at, job.head, job.head_size)
    if job.idempotent:
        at = put_bulk(at, job.job_id, job.job_id_size)
    at = put_line(put_constant(at, ANY_ID_FIELD_D), b"$", job.envelope_size)
    at[0] = 0x95 if job.retry_size else 0x94
    at = put_bytes(put_text_header(at + 1, job.job_id_size), job.job_id, job.job_id_size)
    at = put_bytes(put_binary_header(at, job.payload_size), job.payload, job.payload_size)
    at = put_unsigned(put_unsigned(at, job.created_at_ms), 0)
    at = put_end(put_bytes(at, job.retry, job.retry_size))
    if job.name_size:
        at = put_bulk(put_constant(at, FIELD_N), job.name, job.name_size)
    return at
