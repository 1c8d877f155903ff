"""What a job is made of: the compiled twin of ``_pure/job_state.py``, which explains it.

Holds values only; it must never run user code other than making an instance of the class it is given.
"""

from chasquimq._fast.entries cimport Entry


cdef class JobState:
    """The fields of a job; ``chasquimq.job.BaseJob`` says what they mean."""

    # Without arguments of its own, __cinit__ lets a subclass have whatever constructor it wants.
    def __cinit__(self):
        self.id = self.name = ""
        self.timestamp = self.delay = self.progress = 0


def begin_job(job_class, Entry entry not None, unsigned long long wall_ms, double monotonic_ms):
    """The job of an entry whose run begins now, without its data; notes the time in both."""
    cdef JobState job = job_class.__new__(job_class)
    job.id = entry.job_id
    job.name = entry.name
    job.timestamp = entry.created_at_ms
    job.attempts_made = <long long>entry.attempt + 1
    job.deliveries = <long long>entry.deliveries
    job.processed_on = wall_ms
    entry.started_on = wall_ms
    job._entry = entry
    job._started_ms = monotonic_ms
    return job


def end_job(JobState job not None, double monotonic_ms):
    """Notes the end of a run in the job and its entry, and returns the entry."""
    cdef Entry entry = job._entry
    cdef double elapsed_ms = monotonic_ms - job._started_ms
    if elapsed_ms < 0:
        elapsed_ms = 0
    entry.duration_us = <unsigned long long>(elapsed_ms * 1000)
    entry.finished_on = entry.started_on + <unsigned long long>elapsed_ms
    job.finished_on = entry.finished_on
    return entry
