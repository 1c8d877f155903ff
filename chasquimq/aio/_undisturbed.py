"""What has to come to its end though its caller is cancelled.

A shielded scope is not enough for that: asyncio's own cancellation (``Task.cancel``, ``asyncio.timeout``) does not know
of anyio's scopes and strikes whatever its task awaits. So the work is a task of its own, which nobody else can reach,
and the caller waits for it at the end of a task group, which no cancellation leaves early.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import anyio.abc

__all__ = ["run_apart", "undisturbed"]


async def undisturbed(function: Callable[[], Awaitable[object]]) -> None:
    """Awaits ``function()`` to its end. A cancellation of the caller goes on afterwards.

    The function bounds its time itself, and raises nothing.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_shielded, function)


async def _shielded(function: Callable[[], Awaitable[object]]) -> None:
    with anyio.CancelScope(shield=True):
        await function()


async def run_apart(
    keep: Callable[[], Awaitable[None]],
    ask_to_end: Callable[[], None],
    beside: Callable[..., Coroutine[Any, Any, None]] | None = None,
) -> BaseException | None:
    """Awaits ``keep()`` to its end as ``undisturbed`` does, and when it is interrupted, asks it to come to that end.

    ``beside`` is started in the same task group, and cancelled when the work has ended. Returns what interrupted the
    caller, if anything did.
    """
    interrupt: BaseException | None = None
    has_ended = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_kept, keep, has_ended, tasks.cancel_scope)
        try:
            if beside is not None:
                await tasks.start(beside)
            await has_ended.wait()
        except BaseException as error:
            if has_ended.is_set():
                raise
            interrupt = error
            ask_to_end()
    return interrupt


async def _kept(keep: Callable[[], Awaitable[None]], has_ended: anyio.Event, caller: anyio.CancelScope) -> None:
    try:
        await _shielded(keep)
    finally:
        has_ended.set()
        caller.cancel()
