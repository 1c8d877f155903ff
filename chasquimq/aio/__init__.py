"""ChasquiMQ for asynchronous programs, on asyncio and on trio.

Each class is loaded when it is first asked for: a program that only adds jobs loads no worker.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chasquimq.aio.consumer import Consumer
    from chasquimq.aio.job import Job
    from chasquimq.aio.producer import Producer
    from chasquimq.aio.queue import Queue
    from chasquimq.aio.queue_events import QueueEvents
    from chasquimq.aio.scheduler import Scheduler
    from chasquimq.aio.worker import Processor, Worker

__all__ = ["Consumer", "Job", "Processor", "Producer", "Queue", "QueueEvents", "Scheduler", "Worker"]

_MODULES = {
    "Consumer": "consumer",
    "Job": "job",
    "Processor": "worker",
    "Producer": "producer",
    "Queue": "queue",
    "QueueEvents": "queue_events",
    "Scheduler": "scheduler",
    "Worker": "worker",
}

# Hidden from type checkers, for which it would make every name exist.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
