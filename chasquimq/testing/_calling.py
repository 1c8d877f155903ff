"""Calling a test's handler: the one thing that the two forms of ``drain`` do differently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from chasquimq._core.worker_settings import check_processor, is_coroutine_function
from chasquimq.errors import InvalidOptionTypeError

__all__ = ["call", "call_async", "check", "check_async"]


def check(handler: Any) -> None:
    """Refuses what is no handler for the synchronous form."""
    check_processor(handler)
    if is_coroutine_function(handler):
        raise InvalidOptionTypeError("the handler is a coroutine function. Use chasquimq.testing.aio for it.")


def check_async(handler: Any) -> None:
    """Refuses what is no handler for the asynchronous form."""
    check_processor(handler)


def call(handler: Callable[[Any], Any], job: Any) -> Any:
    """The handler's result, in the caller's thread."""
    return handler(job)


async def call_async(handler: Callable[[Any], Any], job: Any) -> Any:
    """The handler's result: of a coroutine function in this task, of a plain function in a thread, as in a Worker."""
    if is_coroutine_function(handler):
        result: Awaitable[Any] = handler(job)
        return await result
    from anyio.to_thread import run_sync  # noqa: PLC0415 - the synchronous form imports this file too

    return await run_sync(handler, job)
