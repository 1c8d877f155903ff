"""ChasquiMQ: a job queue on Redis Streams, synchronous and asynchronous (asyncio and trio).

The names here are the synchronous form and everything that both forms share; the asynchronous form is
``chasquimq.aio``. The classes that wait are loaded when they are first asked for, so that asynchronous programs load
nothing of the synchronous form.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from chasquimq._fast import IMPLEMENTATION, decode_payload, encode_payload
from chasquimq._version import __version__
from chasquimq.address import ConnectionOptions
from chasquimq.errors import (
    AbortError,
    AuthenticationError,
    BulkAddError,
    ChasquiError,
    ClosedError,
    EmbeddedServerError,
    EnvelopeError,
    InvalidJobIdError,
    InvalidOptionError,
    InvalidOptionTypeError,
    LeaseLostError,
    NotSupportedError,
    PayloadDecodeError,
    PayloadEncodeError,
    PayloadTooLargeError,
    RateLimitError,
    RedisConnectionError,
    RedisTimeoutError,
    ServerReplyError,
    UnrecoverableError,
    UnsupportedServerError,
    WaitForResultTimeoutError,
    WorkerProcessError,
)
from chasquimq.options import (
    BackoffOptions,
    BackoffSpec,
    BulkJob,
    JobsOptions,
    MissedFires,
    QueueEventsOptions,
    QueueOptions,
    RepeatOptions,
    WaitForResultOptions,
    WorkerOptions,
)

if TYPE_CHECKING:
    from chasquimq._core.dead_letters import DlqEntry
    from chasquimq._core.repeat import RepeatableMeta
    from chasquimq.sync import Consumer, Job, Producer, Queue, QueueEvents, Scheduler, Worker

__all__ = [
    "IMPLEMENTATION",
    "AbortError",
    "AuthenticationError",
    "BackoffOptions",
    "BackoffSpec",
    "BulkAddError",
    "BulkJob",
    "ChasquiError",
    "ClosedError",
    "ConnectionOptions",
    "Consumer",
    "DlqEntry",
    "EmbeddedServerError",
    "EnvelopeError",
    "InvalidJobIdError",
    "InvalidOptionError",
    "InvalidOptionTypeError",
    "Job",
    "JobsOptions",
    "LeaseLostError",
    "MissedFires",
    "NotSupportedError",
    "PayloadDecodeError",
    "PayloadEncodeError",
    "PayloadTooLargeError",
    "Producer",
    "Queue",
    "QueueEvents",
    "QueueEventsOptions",
    "QueueOptions",
    "RateLimitError",
    "RedisConnectionError",
    "RedisTimeoutError",
    "RepeatOptions",
    "RepeatableMeta",
    "Scheduler",
    "ServerReplyError",
    "UnrecoverableError",
    "UnsupportedServerError",
    "WaitForResultOptions",
    "WaitForResultTimeoutError",
    "Worker",
    "WorkerOptions",
    "WorkerProcessError",
    "__version__",
    "decode_payload",
    "encode_payload",
    "engine_version",
]

_MODULES = {
    "Consumer": "sync",
    "DlqEntry": "_core.dead_letters",
    "Job": "sync",
    "Producer": "sync",
    "Queue": "sync",
    "QueueEvents": "sync",
    "RepeatableMeta": "_core.repeat",
    "Scheduler": "sync",
    "Worker": "sync",
}


def engine_version() -> str:
    """The version of the engine, and which implementation of the hot path runs: ``"0.1.0 (cython)"``."""
    return f"{__version__} ({IMPLEMENTATION})"


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
