"""What may come of an input: a value or one of the documented errors, the same from each twin, within limits.

Whatever is none of that raises, which is how a fuzzer and pytest hear of it.
"""

from __future__ import annotations

import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Outcome: TypeAlias = tuple[str, Any]

LONGEST_S = 10
"""No input may take longer. All that is given here is done in milliseconds: this finds what does not end."""
MOST_BYTES = 4 << 20
MOST_BYTES_PER_BYTE = 400
"""What one input may make allocate at a time: a fixed part, and what its own size accounts for. The densest input is
a MessagePack array of empty maps, of which each byte becomes an object of 64 bytes and a place in a list, and several
results are held at once to be compared."""


def outcome(function: Callable[..., Any], *arguments: Any, allowed: tuple[type[Exception], ...]) -> Outcome:
    """``("gave", value)`` or, for an error that is allowed, ``(its type, its text)``."""
    try:
        return "gave", function(*arguments)
    except allowed as error:
        return type(error).__name__, str(error)


def same(outcomes: list[Outcome]) -> Outcome:
    """The one outcome of all twins. They are told apart by their repr: 1 is not 1.0 or True, NaN is NaN."""
    first = outcomes[0]
    for other in outcomes[1:]:
        assert repr(first) == repr(other), f"the twins differ:\n{first!r:.2000}\n{other!r:.2000}"
    return first


@contextmanager
def little_memory(size: int) -> Iterator[None]:
    """Fails when the block holds more memory at a time than an input of ``size`` bytes accounts for."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start(1)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1] - before
        if not was_tracing:
            tracemalloc.stop()
    limit = MOST_BYTES + MOST_BYTES_PER_BYTE * size
    assert peak <= limit, f"an input of {size} bytes took {peak} bytes of memory; {limit} would have been plenty"


@contextmanager
def little_time() -> Iterator[None]:
    """Fails when the block does not end. Only in a main thread: it uses the alarm signal."""

    def give_up(_number: int, _frame: Any) -> None:
        raise AssertionError(f"an input was not dealt with after {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    remaining = signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(remaining)
        signal.signal(signal.SIGALRM, before)


def hexed(data: bytes) -> str:
    """For messages: the input, so that it can be kept as a regression."""
    return data.hex() if len(data) <= 500 else f"{data[:500].hex()}… ({len(data)} bytes)"


def complain(target: str, data: bytes) -> None:
    """Names the input that is about to fail."""
    print(f"target {target}, input {hexed(data)}", file=sys.stderr)
