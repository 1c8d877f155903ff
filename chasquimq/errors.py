"""Every error that chasquimq raises.

``ChasquiError`` is the root. Each class also derives from the builtin that a caller would naturally catch
(``ValueError``, ``TypeError``, ``TimeoutError``, ``ConnectionError``, ``RuntimeError``, ``NotImplementedError``).
Messages say what happened, what it means and what to do; data that a program may branch on is an attribute.
This module imports nothing of ours and never formats a password or a payload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "AbortError",
    "AuthenticationError",
    "BulkAddError",
    "ChasquiError",
    "ClosedError",
    "EmbeddedServerError",
    "EnvelopeError",
    "InvalidJobIdError",
    "InvalidOptionError",
    "InvalidOptionTypeError",
    "LeaseLostError",
    "NotSupportedError",
    "PayloadDecodeError",
    "PayloadEncodeError",
    "PayloadTooLargeError",
    "RateLimitError",
    "RedisConnectionError",
    "RedisTimeoutError",
    "ServerReplyError",
    "UnrecoverableError",
    "UnsupportedServerError",
    "WaitForResultTimeoutError",
    "WorkerProcessError",
]


class ChasquiError(Exception):
    """The root of all errors of this library. They can be pickled, attributes and notes included."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The builtin way calls the class with the message alone, which those with keyword-only attributes refuse.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[ChasquiError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> ChasquiError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


class InvalidOptionError(ChasquiError, ValueError):
    """An option or argument has a value outside its range. Raised before any I/O."""


class InvalidOptionTypeError(ChasquiError, TypeError):
    """An option or argument has the wrong type or is unknown. Raised before any I/O."""


class InvalidJobIdError(InvalidOptionTypeError):
    """``job_id`` is missing where it is required, blank, or not a text."""


class NotSupportedError(ChasquiError, NotImplementedError):
    """The product names this feature but does not support it; the message says what to use instead."""


class PayloadEncodeError(ChasquiError, TypeError):
    """Job data or a result cannot be written as MessagePack."""


class PayloadDecodeError(ChasquiError, ValueError):
    """Bytes are not one valid MessagePack value within the limits."""


class EnvelopeError(PayloadDecodeError):
    """Bytes are not a job envelope or a delayed member (docs/wire-format.md)."""


class PayloadTooLargeError(ChasquiError, ValueError):
    """The encoded job is larger than workers accept; refused before the write.

    ``size`` and ``limit`` are in bytes.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class RedisConnectionError(ChasquiError, ConnectionError):
    """The server could not be reached, or the connection broke during a command.

    ``may_have_executed`` is True when a command had been sent and its answer was lost: it may or may not have taken
    effect; and when some rows of an ``add_bulk`` are in the queue. ``safe_to_repeat`` is True when calling again is
    harmless all the same: nothing was sent, the call changes nothing, or a ``job_id`` protects it.
    """

    def __init__(self, message: str, *, may_have_executed: bool = False, is_repeatable: bool = False) -> None:
        super().__init__(message)
        self.may_have_executed = may_have_executed
        self._is_repeatable = is_repeatable

    @property
    def safe_to_repeat(self) -> bool:
        return self._is_repeatable or not self.may_have_executed


class RedisTimeoutError(RedisConnectionError, TimeoutError):
    """The server did not answer within the time allowed. The connection is given up."""


class AuthenticationError(RedisConnectionError):
    """The server refused the credentials (``NOAUTH``, ``WRONGPASS``)."""


class ServerReplyError(ChasquiError, RuntimeError):
    """The server answered a command with an error. ``code`` is its first word, for example ``OOM``.

    A command that was refused has had no effect: ``may_have_executed`` is False and ``safe_to_repeat`` True, as they
    would be of a RedisConnectionError.
    """

    may_have_executed: ClassVar[bool] = False
    safe_to_repeat: ClassVar[bool] = True

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class UnsupportedServerError(ChasquiError, RuntimeError):
    """The server is too old or lacks something that the library needs (``version``, ``missing``)."""

    def __init__(self, message: str, *, version: str, missing: str) -> None:
        super().__init__(message)
        self.version = version
        self.missing = missing


class ClosedError(ChasquiError, RuntimeError):
    """The object was used after ``close()``."""


class EmbeddedServerError(ChasquiError, RuntimeError):
    """The embedded server could not be found, started or reached."""


class WaitForResultTimeoutError(ChasquiError, TimeoutError):
    """``Job.wait_for_result`` saw no result within its time. The job itself is untouched."""


class AbortError(ChasquiError, RuntimeError):
    """A wait was ended by its ``signal``."""


class LeaseLostError(ChasquiError, RuntimeError):
    """A job ran longer than its lease could be renewed; another worker may have taken it over."""


class WorkerProcessError(ChasquiError, RuntimeError):
    """A process of a worker with ``processes=`` ended without being asked to, or could not be started.

    ``process`` is its consumer name, ``pid`` its process id, ``exit_code`` what it ended with: negative for the signal
    that killed it, None when that is not known or it never ran.
    """

    def __init__(
        self, message: str, *, process: str = "", pid: int | None = None, exit_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.process = process
        self.pid = pid
        self.exit_code = exit_code


class UnrecoverableError(ChasquiError, RuntimeError):
    """Raise it (or a subclass) in a handler: no retry, the job goes to the dead-letter queue at once."""


class RateLimitError(ChasquiError, RuntimeError):
    """Reserved by the product for rate-limited workers."""


class BulkAddError(ChasquiError, ValueError, TypeError):
    """Some rows of ``add_bulk`` were refused.

    ``errors`` maps the row number (from 0) to its error; ``jobs`` has one item per row that was read, ``None``
    where the row was not added; ``added`` counts the rows that are in the queue.
    """

    def __init__(self, message: str, *, errors: Mapping[int, Exception], jobs: Sequence[Any], added: int) -> None:
        super().__init__(message)
        self.errors = dict(errors)
        self.jobs = list(jobs)
        self.added = added


def shown(value: object) -> str:
    """A wrong value for a message; of what cannot be told in a line, the type.

    Python refuses to write a number of thousands of digits, which would hide the error that was meant.
    """
    if isinstance(value, int) and value.bit_length() > 100:
        return f"a number of {value.bit_length()} bits"
    return f"{value!r:.200}" if isinstance(value, str | float | int) else type(value).__name__
