"""What becomes of a job: pure decisions, no I/O.

On arrival an entry is run or dead-lettered (``admit``); after a failed run it is retried or dead-lettered
(``after_failure``). Success needs no decision: the entry is acknowledged. See docs/wire-format.md, consumer and
failure.
"""

from __future__ import annotations

from typing import Final

from chasquimq._dataclass import dataclass
from chasquimq._fast import BackoffTuple, Entry, backoff_ms, encode_member, with_attempt
from chasquimq._first_use import first_use
from chasquimq.errors import UnrecoverableError

__all__ = ["DeadLetter", "Retry", "RetryPolicy", "admit", "after_failure", "describe_error"]

MALFORMED: Final = "malformed"
RETRIES_EXHAUSTED: Final = "retries_exhausted"
UNRECOVERABLE: Final = "unrecoverable"

_MAX_REASON_CHARACTERS = 2_000
_MAX_DETAIL_CHARACTERS = 4_000
_TRACEBACK_LINES = 12


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a worker does with jobs that say nothing themselves."""

    max_attempts: int = 3
    kind: str = "exponential"
    delay_ms: int = 100
    max_delay_ms: int = 30_000
    multiplier: float = 2.0
    jitter_ms: int = 100


@dataclass(frozen=True, slots=True)
class Retry:
    """Run it again: ``member`` goes into the delayed set for ``wait_ms``."""

    wait_ms: int
    member: bytes
    coming_run: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Do not run it (again). ``failed_run`` is the number of the run that failed, for the event; 0 = none."""

    reason: str
    detail: str
    failed_run: int
    show_id: bool = True


def admit(entry: Entry, policy: RetryPolicy) -> DeadLetter | None:
    """Whether an entry that was just read may run."""
    if entry.fault is not None:
        return DeadLetter(entry.fault, entry.detail, 0, show_id=False)
    # An earlier delivery that ended in neither an ack nor a retry is a worker that died over the job. The first
    # one is forgiven, which is also what every other implementation of this protocol does.
    prior = max(entry.attempt, entry.deliveries - 1)
    limit = _limit(entry, policy)
    if prior + 1 > limit:
        lost = entry.deliveries
        detail = (
            f"delivered {lost} times before without an end: its workers died or lost their leases"
            if prior > entry.attempt
            else f"{entry.attempt} runs are behind it and {limit} are allowed"
        )
        return DeadLetter(RETRIES_EXHAUSTED, detail, prior)
    return None


def after_failure(entry: Entry, error: BaseException, policy: RetryPolicy, unit_random: float) -> Retry | DeadLetter:
    """Retry or dead letter, after a run that raised ``error``."""
    runs = entry.attempt + 1
    if isinstance(error, UnrecoverableError):
        return DeadLetter(UNRECOVERABLE, describe_error(error), runs)
    if runs >= _limit(entry, policy):
        return DeadLetter(RETRIES_EXHAUSTED, describe_error(error), runs)
    wait = _wait_ms(entry.backoff, policy, runs, unit_random)
    member = encode_member(entry.name.encode(), with_attempt(entry.raw, runs))
    return Retry(wait, member, runs + 1)


def _limit(entry: Entry, policy: RetryPolicy) -> int:
    return policy.max_attempts if entry.max_attempts is None else entry.max_attempts


def _wait_ms(backoff: BackoffTuple | None, policy: RetryPolicy, retry: int, unit_random: float) -> int:
    if backoff is None:
        return backoff_ms(
            policy.kind,
            policy.delay_ms,
            policy.max_delay_ms,
            policy.multiplier,
            policy.jitter_ms,
            retry,
            unit_random,
        )
    kind, delay, max_delay, multiplier, jitter = backoff
    return backoff_ms(
        kind,
        delay,
        policy.max_delay_ms if max_delay is None else max_delay,
        policy.multiplier if multiplier is None else multiplier,
        # Whoever names a wait and no jitter gets the wait that was named.
        0 if jitter is None else jitter,
        retry,
        unit_random,
    )


def error_text(error: BaseException) -> str:
    """The error's own text; of an error whose ``__str__`` is broken, what can be said about it."""
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - user code: no __str__, however broken, may hurt the worker
        text = f"<{type(error).__name__} whose __str__ raised {type(broken).__name__}>"
    return _clean(text)[:_MAX_REASON_CHARACTERS]


def describe_error(error: BaseException) -> str:
    """Type, message and the last lines of the traceback: what a person needs beside a dead letter."""
    with first_use:
        import traceback  # noqa: PLC0415  only a job that fails for good needs it

    head = _clean(f"{type(error).__qualname__}: {error_text(error)}")
    try:
        frames = traceback.extract_tb(error.__traceback__)
        lines = "".join(traceback.format_list(frames[-_TRACEBACK_LINES:]))
    except BaseException as broken:  # noqa: BLE001 - user code: e.g. a source file with a broken encoding
        lines = f"<no traceback: {type(broken).__name__}>"
    text = f"{head}\n{_clean(lines)}".rstrip()
    return text if len(text) <= _MAX_DETAIL_CHARACTERS else text[: _MAX_DETAIL_CHARACTERS - 1] + "…"


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
