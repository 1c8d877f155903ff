"""ChasquiMQ for synchronous programs: no event loop, and no thread behind a plain call."""

from chasquimq.sync.consumer import Consumer
from chasquimq.sync.job import Job
from chasquimq.sync.producer import Producer
from chasquimq.sync.queue import Queue
from chasquimq.sync.queue_events import QueueEvents
from chasquimq.sync.scheduler import Scheduler
from chasquimq.sync.worker import Worker

__all__ = ["Consumer", "Job", "Producer", "Queue", "QueueEvents", "Scheduler", "Worker"]
