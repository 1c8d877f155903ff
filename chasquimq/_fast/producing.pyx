"""Plain jobs into requests: the compiled twin of ``_pure/producing.py``, which explains the rules.

Frames what is exactly a name and data, and hands back what is anything else. It must never refuse a job or write
half of one: all of it is checked, encoded and made before its first byte is written.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint8_t, uint64_t

from chasquimq._fast.envelope cimport unsigned
from chasquimq._fast.frames cimport FrameBuffer, FramedJob, JobHead, job_size, measure, put_job
from chasquimq._fast.job_state cimport JobState
from chasquimq._fast.payload cimport Writer, close_writer, open_writer, write_payload
from chasquimq._fast.ulid cimport next_ulid

from chasquimq._fast._pure.producing import END, FULL

cdef extern from "Python.h":
    PyObject* known_name "PyDict_GetItemWithError"(object names, object name) except? NULL

cdef uint64_t U64_MAX = 0xFFFFFFFFFFFFFFFF


def new_job(type job_class not None, queue, str job_id not None, str name not None, data, timestamp):
    """The job that an add returns: ``job_class`` is a ``JobState``, ``queue`` what added it."""
    return made_job(job_class, queue, job_id, name, data, timestamp)


cdef inline JobState made_job(type job_class, object queue, str job_id, str name, object data, object timestamp):
    cdef JobState job = job_class.__new__(job_class)
    job.id = job_id
    job.name = name
    job.data = data
    job.timestamp = timestamp
    job.queue = queue
    return job


cdef class PlainJobs:
    """Makes single plain jobs: the request and the job of an ``add`` without options. Thread-safe.

    ``names`` holds the known names, checked and encoded.
    """

    cdef JobHead head
    cdef dict names
    cdef Py_ssize_t envelope_limit
    cdef object now_ms

    def __init__(self, JobHead head not None, dict names not None, Py_ssize_t envelope_limit, now_ms):
        self.head = head
        self.names = names
        self.envelope_limit = envelope_limit
        self.now_ms = now_ms

    def make(self, type job_class not None, queue, name, data):
        """The complete XADD and the job that the add returns; None when this is no plain job."""
        cdef Writer writer
        cdef FramedJob job
        cdef bytes request
        cdef str job_id
        open_writer(&writer)
        try:
            now = self.now_ms()
            job_id = self.measured(name, data, now, &job, &writer)
            if job_id is None:
                return None
            request = PyBytes_FromStringAndSize(NULL, job_size(&job))
            put_job(<uint8_t*>PyBytes_AS_STRING(request), &job)
            return request, made_job(job_class, queue, job_id, name, data, now)
        finally:
            close_writer(&writer)

    cdef str measured(self, object name, object data, object now, FramedJob* job, Writer* writer):
        """Encodes into ``writer``, to which ``job`` then points; the fresh id, or None when this is no plain job."""
        cdef PyObject* encoded
        cdef str job_id
        if not PyUnicode_CheckExact(name):
            return None
        encoded = known_name(self.names, name)
        writer.size = 0
        if encoded is NULL or not write_payload(writer, data):
            return None
        job_id = next_ulid()
        job.payload = writer.data
        job.payload_size = writer.size
        # No override. Not NULL: it is handed to memcpy, which may not be given that even for no bytes.
        job.retry = writer.data
        job.retry_size = 0
        measure(job, self.head, job_id, unsigned("created_at_ms", now, U64_MAX), <bytes>encoded)
        return job_id if job.envelope_size <= self.envelope_limit else None


cdef class PlainRows(PlainJobs):
    """Frames the rows of one ``add_bulk`` and, given a ``job_class``, adds their jobs to ``jobs``.

    For one thread at a time.
    """

    cdef type job_class
    cdef object queue
    cdef list jobs

    def __init__(
        self,
        JobHead head not None,
        dict names not None,
        Py_ssize_t envelope_limit,
        now_ms,
        type job_class,
        queue,
        list jobs not None,
    ):
        PlainJobs.__init__(self, head, names, envelope_limit, now_ms)
        self.job_class = job_class
        self.queue = queue
        self.jobs = jobs

    def fill(self, rows, FrameBuffer frames not None, Py_ssize_t most_commands, Py_ssize_t most_bytes):
        """Frames rows of an iterator until the buffer is full; the first row of another kind, or FULL or END."""
        cdef Writer writer
        open_writer(&writer)
        try:
            while frames.commands < most_commands and frames.size < most_bytes:
                row = next(rows, END)
                if row is END or not self.frame(row, frames, &writer):
                    return row
            return FULL
        finally:
            close_writer(&writer)

    cdef bint frame(self, object row, FrameBuffer frames, Writer* writer) except -1:
        cdef FramedJob job
        cdef str job_id
        if not PyTuple_CheckExact(row) or PyTuple_GET_SIZE(row) != 2:
            return False
        name = (<tuple>row)[0]
        data = (<tuple>row)[1]
        now = self.now_ms()
        job_id = self.measured(name, data, now, &job, writer)
        if job_id is None:
            return False
        if self.job_class is not None:
            self.jobs.append(made_job(self.job_class, self.queue, job_id, name, data, now))
        frames.close(put_job(frames.room(job_size(&job)), &job), 1)
        return True
