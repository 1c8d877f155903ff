"""The start and the plain end of a run: the compiled twin of ``_pure/running.py``, which explains the rules.

Reads the system's clock and decodes payloads without a detour where its owner gave it just these. It must never
decide what the twin leaves to the owner.
"""

from chasquimq._fast.clock cimport monotonic_ms, wall_ms
from chasquimq._fast.entries cimport Entry
from chasquimq._fast.job_state cimport JobState
from chasquimq._fast.payload cimport decode_payload

from chasquimq._fast import clock as system_clock
from chasquimq._fast import payload as payloads


cdef class Runs:
    """The starts and plain ends of one worker's runs. Callable from any thread."""

    cdef object _owner
    cdef object _job_class
    cdef object _clock
    cdef object _decode
    cdef object _listened
    cdef object _note_start
    cdef object _note_end
    cdef bint _keeps_values
    cdef bint _is_system_clock
    cdef bint _is_plain_decode
    cdef readonly long long ended

    def __init__(self, owner, job_class, *, clock, decode, listened, started, completed, keeps_values):
        self._owner = owner
        self._job_class = job_class
        self._clock = clock
        self._decode = decode
        self._listened = listened
        self._note_start = None if started is None else started.append
        self._note_end = completed.append
        self._keeps_values = keeps_values
        self._is_system_clock = (
            clock.monotonic_ms is system_clock.monotonic_ms and clock.wall_ms is system_clock.wall_ms
        )
        self._is_plain_decode = decode is payloads.decode_payload

    def start(self, Entry entry not None):
        """The job to run, or None when it must not or cannot be run (the owner knows already)."""
        cdef JobState job
        cdef double now = monotonic_ms() if self._is_system_clock else <double>self._clock.monotonic_ms()
        if entry.lost or now >= entry.lease_until:
            self._owner.doubted(entry)
            return None
        job = self._job_class.__new__(self._job_class)
        job.id = entry.job_id
        job.name = entry.name
        job.timestamp = entry.created_at_ms
        job.attempts_made = <long long>entry.attempt + 1
        job.deliveries = <long long>entry.deliveries
        entry.started_on = <unsigned long long>(wall_ms() if self._is_system_clock else self._clock.wall_ms())
        job.processed_on = entry.started_on
        job._entry = entry
        job._started_ms = now
        job._progress_sink = self._owner
        if self._note_start is not None:
            self._note_start(entry)
        try:
            job.data = decode_payload(entry.payload) if self._is_plain_decode else self._decode(entry.payload)
        except ValueError as error:
            self._owner.undecodable(job, error)
            return None
        if "active" in self._listened:
            self._owner.tell_active(job)
        return job

    def complete(self, JobState job not None, result):
        """The handler returned."""
        cdef Entry entry = finish(job, monotonic_ms() if self._is_system_clock else self._clock.monotonic_ms())
        job.returnvalue = result
        if (result is not None and self._keeps_values) or "completed" in self._listened:
            self._owner.complete_in_full(job, entry)
        else:
            self._note_end(entry)
        self.ended += 1

    def count_end(self):
        """One more run has ended."""
        self.ended += 1


def end_job(JobState job not None, double monotonic_ms):
    """Notes the end of a run in the job and its entry, and returns the entry."""
    return finish(job, monotonic_ms)


cdef Entry finish(JobState job, double now):
    cdef Entry entry = job._entry
    cdef double elapsed_ms = now - job._started_ms
    if elapsed_ms < 0:
        elapsed_ms = 0
    entry.duration_us = <unsigned long long>(elapsed_ms * 1000)
    entry.finished_on = entry.started_on + <unsigned long long>elapsed_ms
    job.finished_on = entry.finished_on
    return entry
