"""ChasquiMQ for asynchronous programs, on asyncio and on trio."""

from chasquimq.aio.job import Job
from chasquimq.aio.queue import Queue
from chasquimq.aio.queue_events import QueueEvents
from chasquimq.aio.worker import Worker

__all__ = ["Job", "Queue", "QueueEvents", "Worker"]
