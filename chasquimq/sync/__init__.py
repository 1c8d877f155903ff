"""ChasquiMQ for synchronous programs: no event loop, and no thread behind a plain call.

Each class is loaded when it is first asked for: a program that only adds jobs loads no worker.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chasquimq.sync.consumer import Consumer
    from chasquimq.sync.job import Job
    from chasquimq.sync.producer import Producer
    from chasquimq.sync.queue import Queue
    from chasquimq.sync.queue_events import QueueEvents
    from chasquimq.sync.scheduler import Scheduler
    from chasquimq.sync.worker import Processor, Worker

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
