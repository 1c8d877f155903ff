"""ChasquiMQ for asynchronous programs, on asyncio and on trio."""

from chasquimq.aio.consumer import Consumer
from chasquimq.aio.job import Job
from chasquimq.aio.producer import Producer
from chasquimq.aio.queue import Queue
from chasquimq.aio.queue_events import QueueEvents
from chasquimq.aio.scheduler import Scheduler
from chasquimq.aio.worker import Worker

__all__ = ["Consumer", "Job", "Producer", "Queue", "QueueEvents", "Scheduler", "Worker"]
