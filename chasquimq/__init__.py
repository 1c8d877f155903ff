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
    from chasquimq._core.repeatable_meta import RepeatableMeta
    from chasquimq.native import (
        AddOptions,
        AddResult,
        ConsumerOpts,
        JobRetryOverride,
        MissedFiresPolicy,
        NamedPayload,
        ProducerOpts,
        RawJob,
        RepeatableSpec,
        RepeatPattern,
        RetryOpts,
        SchedulerOpts,
    )
    from chasquimq.states import JobProgress, JobState, JobType
    from chasquimq.sync import Consumer, Job, Processor, Producer, Queue, QueueEvents, Scheduler, Worker

__all__ = [
    "IMPLEMENTATION",
    "AbortError",
    "AddOptions",
    "AddResult",
    "AuthenticationError",
    "BackoffOptions",
    "BackoffSpec",
    "BulkAddError",
    "BulkJob",
    "ChasquiError",
    "ClosedError",
    "ConnectionOptions",
    "Consumer",
    "ConsumerOpts",
    "DlqEntry",
    "EmbeddedServerError",
    "EnvelopeError",
    "InvalidJobIdError",
    "InvalidOptionError",
    "InvalidOptionTypeError",
    "Job",
    "JobProgress",
    "JobRetryOverride",
    "JobState",
    "JobType",
    "JobsOptions",
    "LeaseLostError",
    "MissedFires",
    "MissedFiresPolicy",
    "NamedPayload",
    "NotSupportedError",
    "PayloadDecodeError",
    "PayloadEncodeError",
    "PayloadTooLargeError",
    "Processor",
    "Producer",
    "ProducerOpts",
    "Queue",
    "QueueEvents",
    "QueueEventsOptions",
    "QueueOptions",
    "RateLimitError",
    "RawJob",
    "RedisConnectionError",
    "RedisTimeoutError",
    "RepeatOptions",
    "RepeatPattern",
    "RepeatableMeta",
    "RepeatableSpec",
    "RetryOpts",
    "Scheduler",
    "SchedulerOpts",
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
    "AddOptions": "native",
    "AddResult": "native",
    "Consumer": "sync",
    "ConsumerOpts": "native",
    "DlqEntry": "_core.dead_letters",
    "Job": "sync",
    "JobProgress": "states",
    "JobRetryOverride": "native",
    "JobState": "states",
    "JobType": "states",
    "MissedFiresPolicy": "native",
    "NamedPayload": "native",
    "Processor": "sync",
    "Producer": "sync",
    "ProducerOpts": "native",
    "Queue": "sync",
    "QueueEvents": "sync",
    "RawJob": "native",
    "RepeatPattern": "native",
    "RepeatableMeta": "_core.repeatable_meta",
    "RepeatableSpec": "native",
    "RetryOpts": "native",
    "Scheduler": "sync",
    "SchedulerOpts": "native",
    "Worker": "sync",
}


def engine_version() -> str:
    """The version of the engine, which is that of the package; ``IMPLEMENTATION`` says whether it runs compiled."""
    return __version__


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
