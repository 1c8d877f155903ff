"""ChasquiMQ: a job queue on Redis Streams, synchronous and asynchronous (asyncio and trio).

The names here are the synchronous form and everything that both forms share; the asynchronous form is
``chasquimq.aio``.
"""

from chasquimq._core.dead_letters import DlqEntry
from chasquimq._core.repeat import RepeatableMeta
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
from chasquimq.sync import Job, Queue, QueueEvents, Worker

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
    "Queue",
    "QueueEvents",
    "QueueEventsOptions",
    "QueueOptions",
    "RateLimitError",
    "RedisConnectionError",
    "RedisTimeoutError",
    "RepeatOptions",
    "RepeatableMeta",
    "ServerReplyError",
    "UnrecoverableError",
    "UnsupportedServerError",
    "WaitForResultOptions",
    "WaitForResultTimeoutError",
    "Worker",
    "WorkerOptions",
    "__version__",
    "decode_payload",
    "encode_payload",
    "engine_version",
]


def engine_version() -> str:
    """The version of the engine, and which implementation of the hot path runs: ``"0.1.0 (cython)"``."""
    return f"{__version__} ({IMPLEMENTATION})"
