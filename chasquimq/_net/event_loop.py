"""Which event loop runs here, and how to reach one that runs elsewhere.

Decides between asyncio and trio, once for all that must tell loops apart. It must never start or stop a loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import anyio

__all__ = ["call_in", "has_ended", "is_asyncio", "loop_kind", "new_lock", "protect_from_interrupts", "running_loop"]


def is_asyncio() -> bool:
    """Whether the current task is asyncio's rather than trio's."""
    # In trio's guest mode both run in one thread, so a running asyncio loop proves nothing where trio is in
    # use.
    # While another thread still loads trio, it lacks its parts, and nobody can be in a task of it.
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    return lowlevel is None or not lowlevel.in_trio_task()


def running_loop() -> Any:
    """What identifies the running event loop: asyncio's loop object, or trio's token of this run."""
    if is_asyncio():
        return asyncio.get_running_loop()
    return sys.modules["trio"].lowlevel.current_trio_token()


def new_lock() -> asyncio.Lock | anyio.Lock:
    """A lock for tasks of the running loop. Without need, anyio's takes longer to load than all else before a job."""
    return asyncio.Lock() if is_asyncio() else anyio.Lock()


def loop_kind() -> tuple[str, dict[str, Any]]:
    """What ``anyio.run`` needs to run a loop of the same kind in another process: backend and its options."""
    if not is_asyncio():
        return "trio", {}
    loop = asyncio.get_running_loop()
    return "asyncio", {"loop_factory": type(loop), "debug": loop.get_debug()}


def has_ended(loop: Any) -> bool:
    """Whether a loop of ``running_loop`` will never run anything again."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.is_closed()
    return not call_in(loop, _nothing)


def call_in(loop: Any, function: Callable[[], object]) -> bool:
    """Has ``loop`` call ``function`` soon, from any thread. False: the loop has ended and never will."""
    try:
        if isinstance(loop, asyncio.AbstractEventLoop):
            loop.call_soon_threadsafe(function)
        else:
            loop.run_sync_soon(function)
    except RuntimeError:  # asyncio's "loop is closed", trio's RunFinishedError
        return False
    return True


def protect_from_interrupts(*functions: Callable[..., Any]) -> None:
    """On trio a Ctrl-C is to reach the program's main task, not whichever of our tasks happens to run.

    What a protected function calls is protected too; asyncio does not look at this.
    """
    if is_asyncio():
        return
    for function in functions:
        sys.modules["trio"].lowlevel.enable_ki_protection(function)


def _nothing() -> None:
    pass
