"""ChasquiMQ for synchronous programs: no event loop, and no thread behind a plain call."""

from chasquimq.sync.job import Job
from chasquimq.sync.queue import Queue
from chasquimq.sync.queue_events import QueueEvents
from chasquimq.sync.worker import Worker

__all__ = ["Job", "Queue", "QueueEvents", "Worker"]
