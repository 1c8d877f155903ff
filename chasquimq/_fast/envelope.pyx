"""The job envelope and the delayed-set member: the compiled twin of ``_pure/envelope.py``, which explains the
rules.

Reads the canonical forms by hand and asks the twin about every other one. It must never look inside the payload
and never raise anything but EnvelopeError on foreign bytes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsUnsignedLongLong
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint64_t

from chasquimq._fast.wire cimport (
    EnvelopeView,
    binary_header_size,
    distance,
    put_binary_header,
    put_bytes,
    put_double,
    put_text_header,
    put_unsigned,
    scan_envelope,
    text_header_size,
    unsigned_size,
)

from chasquimq._fast._pure.envelope import check_unsigned, envelope_fields
from chasquimq.errors import EnvelopeError

cdef uint64_t U32_MAX = 0xFFFFFFFF
cdef uint64_t U64_MAX = 0xFFFFFFFFFFFFFFFF


cdef class Envelope:
    """One job as it travels. Read-only."""

    cdef readonly str job_id
    cdef readonly bytes payload
    cdef readonly uint64_t created_at_ms
    cdef readonly uint64_t attempt
    cdef readonly object max_attempts
    cdef readonly tuple backoff

    def __init__(
        self,
        str job_id not None,
        bytes payload not None,
        created_at_ms,
        attempt=0,
        max_attempts=None,
        tuple backoff=None,
    ):
        self.job_id = job_id
        self.payload = payload
        self.created_at_ms = unsigned("created_at_ms", created_at_ms, U64_MAX)
        self.attempt = unsigned("attempt", attempt, U32_MAX)
        self.max_attempts = max_attempts
        self.backoff = backoff

    def __repr__(self):
        return f"<Envelope {self.job_id!r} attempt={self.attempt} payload={len(self.payload)} bytes>"


def encode_retry(max_attempts, tuple backoff):
    """The element ``retry`` of an envelope; b"" (no element) when nothing is overridden."""
    if max_attempts is None and backoff is None:
        return b""
    return retry_of(max_attempts, backoff)


def encode_envelope(str job_id not None, bytes payload not None, created_at_ms, attempt, bytes retry not None):
    """The canonical envelope; ``retry`` comes from ``encode_retry``."""
    return envelope_of(
        job_id,
        payload,
        unsigned("created_at_ms", created_at_ms, U64_MAX),
        unsigned("attempt", attempt, U32_MAX),
        retry,
    )


def decode_envelope(bytes data not None):
    """Reads an envelope in any accepted form. Raises EnvelopeError for everything else."""
    cdef EnvelopeView view
    cdef Envelope envelope
    if scan_envelope(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &view):
        try:
            envelope = Envelope.__new__(Envelope)
            envelope.job_id = text_of(view.job_id, view.job_id_size)
            envelope.payload = PyBytes_FromStringAndSize(<const char*>view.payload, view.payload_size)
            envelope.created_at_ms = view.created_at_ms
            envelope.attempt = view.attempt
            envelope.max_attempts = view.max_attempts if view.has_max_attempts else None
            envelope.backoff = backoff_of(&view) if view.has_backoff else None
            return envelope
        except UnicodeDecodeError:
            pass
    return Envelope(*envelope_fields(data))


def with_attempt(bytes data not None, attempt):
    """The same job in the canonical form, with another count of finished runs."""
    cdef Envelope envelope = decode_envelope(data)
    cdef bytes retry = encode_retry(envelope.max_attempts, envelope.backoff)
    return envelope_of(
        envelope.job_id, envelope.payload, envelope.created_at_ms, unsigned("attempt", attempt, U32_MAX), retry
    )


def encode_member(bytes name not None, bytes envelope not None):
    """A member of the delayed set: 4 bytes little-endian length, the name, the envelope."""
    cdef Py_ssize_t name_size = PyBytes_GET_SIZE(name)
    cdef Py_ssize_t envelope_size = PyBytes_GET_SIZE(envelope)
    cdef bytes member = PyBytes_FromStringAndSize(NULL, 4 + name_size + envelope_size)
    cdef uint8_t* at = <uint8_t*>PyBytes_AS_STRING(member)
    cdef int index
    for index in range(4):
        at[index] = <uint8_t>(name_size >> (8 * index) & 0xFF)
    at = put_bytes(at + 4, PyBytes_AS_STRING(name), name_size)
    put_bytes(at, PyBytes_AS_STRING(envelope), envelope_size)
    return member


def decode_member(bytes member not None):
    """``(name, envelope)`` of a member of the delayed set. Raises EnvelopeError when it cannot be split."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(member)
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(member)
    cdef Py_ssize_t end
    if size < 4:
        raise EnvelopeError(f"a delayed member of {size} bytes is too short for its 4-byte name length")
    end = 4 + (data[0] | <Py_ssize_t>data[1] << 8 | <Py_ssize_t>data[2] << 16 | <Py_ssize_t>data[3] << 24)
    if end > size:
        raise EnvelopeError(f"the name of a delayed member runs to byte {end}, the member has {size}")
    return (
        PyBytes_FromStringAndSize(<const char*>data + 4, end - 4),
        PyBytes_FromStringAndSize(<const char*>data + end, size - end),
    )


cdef uint64_t unsigned(str what, object value, uint64_t limit) except? 0xFFFFFFFFFFFFFFFF:
    """A number in 0 … limit; raises what the twin's ``check_unsigned`` raises."""
    cdef uint64_t number
    if type(value) is int:
        try:
            number = PyLong_AsUnsignedLongLong(value)
            if number <= limit:
                return number
        except OverflowError:
            pass
    check_unsigned(what, value, limit)
    return value


cdef str text_of(const void* start, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char*>start, size, NULL)


cdef tuple backoff_of(const EnvelopeView* view):
    return (
        text_of(view.kind, view.kind_size),
        view.delay_ms,
        view.max_delay_ms if view.has_max_delay else None,
        view.multiplier if view.has_multiplier else None,
        view.jitter_ms if view.has_jitter else None,
    )


cdef bytes envelope_of(str job_id, bytes payload, uint64_t created_at_ms, uint64_t attempt, bytes retry):
    cdef Py_ssize_t job_id_size
    cdef const char* job_id_start = PyUnicode_AsUTF8AndSize(job_id, &job_id_size)
    cdef Py_ssize_t payload_size = PyBytes_GET_SIZE(payload)
    cdef Py_ssize_t retry_size = PyBytes_GET_SIZE(retry)
    cdef bytes envelope = PyBytes_FromStringAndSize(
        NULL,
        1
        + text_header_size(job_id_size)
        + job_id_size
        + binary_header_size(payload_size)
        + payload_size
        + unsigned_size(created_at_ms)
        + unsigned_size(attempt)
        + retry_size,
    )
    cdef uint8_t* at = <uint8_t*>PyBytes_AS_STRING(envelope)
    at[0] = 0x95 if retry_size else 0x94
    at = put_bytes(put_text_header(at + 1, job_id_size), job_id_start, job_id_size)
    at = put_bytes(put_binary_header(at, payload_size), PyBytes_AS_STRING(payload), payload_size)
    at = put_unsigned(put_unsigned(at, created_at_ms), attempt)
    put_bytes(at, PyBytes_AS_STRING(retry), retry_size)
    return envelope


cdef bytes retry_of(object max_attempts, tuple backoff):
    cdef Py_ssize_t kind_size = 0
    cdef const char* kind_start = NULL
    cdef bytes retry
    cdef uint8_t* at
    if backoff is not None:
        kind, delay_ms, max_delay_ms, multiplier, jitter_ms = backoff
        kind_start = PyUnicode_AsUTF8AndSize(kind, &kind_size)
    # At most 5 numbers of 9 bytes and 3 headers besides the kind; cut to size at the end.
    retry = PyBytes_FromStringAndSize(NULL, 64 + kind_size)
    at = <uint8_t*>PyBytes_AS_STRING(retry)
    at[0] = 0x92
    at = put_optional(at + 1, "max_attempts", max_attempts, U32_MAX)
    if backoff is None:
        at[0] = 0xC0
        at += 1
    else:
        at[0] = 0x95
        at = put_bytes(put_text_header(at + 1, kind_size), kind_start, kind_size)
        at = put_unsigned(at, unsigned("delay_ms", delay_ms, U64_MAX))
        at = put_optional(at, "max_delay_ms", max_delay_ms, U64_MAX)
        if multiplier is None:
            at[0] = 0xC0
            at += 1
        else:
            at = put_double(at, multiplier)
        at = put_optional(at, "jitter_ms", jitter_ms, U64_MAX)
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(retry), distance(PyBytes_AS_STRING(retry), at))


cdef uint8_t* put_optional(uint8_t* at, str what, object value, uint64_t limit) except NULL:
    if value is None:
        at[0] = 0xC0
        return at + 1
    return put_unsigned(at, unsigned(what, value, limit))
