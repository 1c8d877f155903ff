"""What a job is made of: the compiled twin of ``_pure/job_state.py``, which explains it.

Holds values only; it must never run user code other than making an instance of the class it is given.
"""


cdef class JobState:
    """The fields of a job; ``chasquimq.job.BaseJob`` says what they mean."""

    # Without arguments of its own, __cinit__ lets a subclass have whatever constructor it wants.
    def __cinit__(self):
        self.id = self.name = ""
        self.timestamp = self.delay = self.progress = 0
