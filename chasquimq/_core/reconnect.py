"""What becomes of a Call whose connection failed, and how long to wait before the next attempt.

Decides once, for every frontend: how often and how fast to connect again, which Calls are sent a second
time, how the answers of repeated scripts are put in their places, and what the caller is told. It must
never wait, look at a clock or draw a random number: delays are returned, randomness (``draw``, from 0 up to
1) is a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from chasquimq._core.call import Call, Reply
from chasquimq.errors import AuthenticationError, RedisConnectionError, RedisTimeoutError, ServerReplyError

if TYPE_CHECKING:
    from logging import Logger

__all__ = [
    "Outage",
    "connect_delay_ms",
    "eval_request",
    "lost_call_error",
    "may_resend",
    "result_of",
    "splice",
    "unreachable_error",
    "worker_delay_ms",
]

T = TypeVar("T")

CONNECT_ATTEMPTS = 3
"""A producer's attempts for one connection: enough for a restart's blink, over before a web request is."""

SEND_ATTEMPTS = 3
"""How often one Call is sent at most."""

_SLOWEST_STEP = 8
_FIRST_WORKER_DELAY_MS = 100.0
_LONGEST_WORKER_DELAY_MS = 5_000.0


def connect_delay_ms(attempt: int, error: RedisConnectionError, draw: float, left_ms: float = 0.0) -> float | None:
    """How long a producer waits after its failed ``attempt`` (from 1) to connect; None: give up.

    ``left_ms``: how much longer it may go on where another server may take over (Sentinel, Cluster). Elsewhere a
    timeout has already cost the caller its patience. Wrong credentials do not get better by waiting.
    """
    if isinstance(error, AuthenticationError):
        return None
    is_out_of_attempts = attempt >= CONNECT_ATTEMPTS or isinstance(error, RedisTimeoutError)
    if is_out_of_attempts and left_ms <= 0:
        return None
    return 50.0 * min(attempt, _SLOWEST_STEP) + 100.0 * draw


def worker_delay_ms(attempt: int, draw: float) -> float:
    """How long a worker waits after its failed ``attempt`` (from 1); it never gives up.

    Doubles from 100 ms to 5 s; half of each delay is jitter, so that a fleet does not come back as one.
    """
    full = min(_FIRST_WORKER_DELAY_MS * 2.0 ** min(attempt - 1, 16), _LONGEST_WORKER_DELAY_MS)
    return full * (0.5 + 0.5 * draw)


class Outage:
    """The failures in a row of whoever keeps a connection: how many, and which are worth telling.

    Each kind is told once: "closed by the server" is followed by "wrong password" where the password was changed. Who
    told one logs its end, too: each owner for itself, since one that had nothing to send may not have noticed.
    """

    __slots__ = ("_all_clear", "_log", "_told", "failures")

    def __init__(self, log: Logger, all_clear: str) -> None:
        """``all_clear``: what works again when this is over."""
        self.failures = 0
        self._log = log
        self._all_clear = all_clear
        self._told: set[tuple[type, str]] = set()

    def failed(self, error: Exception) -> bool:
        """Counts a failure; True if there was none of this kind before."""
        self.failures += 1
        kind = type(error), getattr(error, "code", "")
        is_news = kind not in self._told
        self._told.add(kind)
        return is_news

    def refused(self) -> None:
        """Counts a failure that was told already."""
        self.failures += 1

    def over(self) -> None:
        """It works again."""
        if self.failures:
            self.failures = 0
            if self._told:
                self._told.clear()
                self._log.warning("It works again: %s.", self._all_clear)


def may_resend(call: Call[Any], error: RedisConnectionError, attempt: int) -> bool:
    """Whether a Call that failed with ``error`` in its ``attempt`` (from 1) is sent again.

    ``error.may_have_executed`` here is the transport's word for "bytes of the request may have left".
    """
    if attempt >= SEND_ATTEMPTS:
        return False
    if not error.may_have_executed:
        return True
    return call.idempotent and not isinstance(error, RedisTimeoutError)


def lost_call_error(call: Call[Any], error: RedisConnectionError, where: str = "") -> RedisConnectionError:
    """The caller's error for a Call that cannot be sent again. ``where``: its place in a stream."""
    kind = type(error)
    if not error.may_have_executed:
        return kind(f"{call.name}{where}: {error} The command was not sent, so it has had no effect.")
    if call.repeatable:
        return kind(
            f"{call.name}{where}: {error} Repeating the call is safe.", may_have_executed=True, is_repeatable=True
        )
    return kind(
        f"{call.name}{where}: {error} The command had been sent and its answer is lost: it may or may not "
        "have taken effect. Find out before you repeat it, or repeat it with a job_id, which makes it safe.",
        may_have_executed=True,
    )


def result_of(call: Call[T], replies: list[Reply], failure: RedisConnectionError | None) -> T:
    """The result of a Call. ``failure``: what became of an earlier sending.

    An error reply is a refusal of this sending alone: a server that comes back may answer LOADING to an add that it had
    executed before it went.
    """
    if failure is None or not failure.may_have_executed:
        return call.parse(replies)
    try:
        return call.parse(replies)
    except (ServerReplyError, AuthenticationError) as error:
        told = f"{failure} It was sent again, and refused: {error}"
        raise lost_call_error(call, RedisConnectionError(told, may_have_executed=True)) from error


def unreachable_error(display: str, reason: str) -> RedisConnectionError:
    """The server cannot be connected to at all."""
    return RedisConnectionError(
        f"Cannot connect to {display}: {reason}. "
        "Check that the server runs there, the address and port, and firewalls between."
    )


def eval_request(call: Call[Any], missing: Sequence[int]) -> bytes:
    """The commands that the server answered with NOSCRIPT once more, now with the scripts' text."""
    assert call.eval_form is not None  # noqa: S101  missing_scripts() is empty for such Calls
    return b"".join(map(call.eval_form, missing))


def splice(replies: list[Reply], missing: Sequence[int], repeated: Sequence[Reply]) -> None:
    """Puts the answers of ``eval_request`` where the NOSCRIPT answers were."""
    for number, reply in zip(missing, repeated, strict=True):
        replies[number] = reply
