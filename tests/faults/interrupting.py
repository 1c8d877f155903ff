"""Interrupts a blocking call at its n-th opportunity, as a signal handler that raises would.

The interpreter runs signal handlers at certain instructions only: after calls, at the start of functions and when it
jumps back. A trace function raises at exactly these, in the library's own code, so that every place is tried and every
run is the same. (Inside C functions a signal can only come while they wait; that is what alarms are for.)

The interpreter raises while it still counts to the call, a trace function only before the next instruction. Where a
block ends between the two (``with lock: return f()``), they differ: a real interrupt there has the lock released. Such
places are left out.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import chasquimq

T = TypeVar("T")

PACKAGE = str(Path(chasquimq.__file__).parent)
CHECKED = tuple(dis.opmap[name] for name in dis.opmap if name.startswith(("CALL", "RESUME", "JUMP_BACKWARD")))


class Interrupted(BaseException):
    """What the handler raises; like KeyboardInterrupt it is no Exception."""


class Opportunities:
    """Counts the places where a handler could have run, and raises at the ``at``-th."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._before: dict[FrameType, int] = {}
        """Where each frame's last instruction stands."""
        self.count = 0

    @property
    def was_interrupted(self) -> bool:
        return self.count >= self._at

    def run(self, function: Callable[[], T]) -> T:
        """Calls the function; raises Interrupted where its time has come."""
        sys.settrace(self._begin)
        try:
            return function()
        finally:
            sys.settrace(None)
            self._before.clear()

    def _begin(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._follow

    def _follow(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            before, now, code = self._before.get(frame), frame.f_lasti, frame.f_code
            self._before[frame] = now
            if before is not None and code.co_code[before] in CHECKED and _block(code, before) == _block(code, now):
                self.count += 1
                if self.count == self._at:
                    raise Interrupted
        elif event == "return":
            self._before.pop(frame, None)
        return self._follow


def _block(code: CodeType, at: int) -> int | None:
    """Where an exception of this instruction is handled; None: by the caller."""
    return next((target for start, end, target in _blocks(code) if start <= at < end), None)


@functools.cache
def _blocks(code: CodeType) -> list[tuple[int, int, int]]:
    return [(entry.start, entry.end, entry.target) for entry in dis.Bytecode(code).exception_entries]
