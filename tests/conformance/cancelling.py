"""Cancels a coroutine where it suspends for the n-th time, and says what became of it.

A suspension is whatever reaches the event loop. Counting them there makes every run the same: no clock and no luck is
involved in where the cancellation comes. The ways of cancelling differ in when and how the exception is thrown:

``scope``     a cancel scope of anyio: again and again until the scope is left, but not into what is shielded
``native``    ``Task.cancel`` at once, before anything else has run: once, and no shield of anyio holds it off
``late``      the same when what is waited for is there already, and its task has not gone on yet: the answer is lost
``timeout``   ``asyncio.timeout``, which cancels its own task and takes the cancellation back
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import anyio

from chasquimq import RedisConnectionError

Way = Callable[[Callable[[], Awaitable[Any]], int], Awaitable["Ended"]]


@dataclass(frozen=True)
class Ended:
    """How it ended. ``was_struck``: whether it got as far as to suspend that often."""

    was_struck: bool
    is_done: bool
    result: Any = None


class Steps:
    """A coroutine on its way, which is struck where it suspends for the ``at``-th time."""

    def __init__(self, start: Callable[[], Awaitable[Any]], at: int, strike: Callable[[Any], object]) -> None:
        self._start = start
        self._at = at
        self._strike = strike
        self.count = 0

    @property
    def was_struck(self) -> bool:
        return self.count >= self._at

    async def run(self) -> Any:
        return await self._steps(as_coroutine(self._start()))

    @types.coroutine
    def _steps(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        proceed: Callable[[Any], Any] = coroutine.send
        value: Any = None
        while True:
            try:
                trap = proceed(value)
            except StopIteration as end:
                return end.value
            self.count += 1
            if self.count == self._at:
                self._strike(trap)
            try:
                proceed, value = coroutine.send, (yield trap)
            except BaseException as error:  # noqa: BLE001 - thrown in, where it comes out again
                proceed, value = coroutine.throw, error


async def as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def by_scope(start: Callable[[], Awaitable[Any]], at: int) -> Ended:
    with anyio.CancelScope() as scope:
        steps = Steps(start, at, lambda _trap: scope.cancel())
        result = await steps.run()
        return Ended(steps.was_struck, is_done=True, result=result)
    return Ended(was_struck=True, is_done=False)


async def by_task(start: Callable[[], Awaitable[Any]], at: int) -> Ended:
    return await _in_a_task(start, at, lambda task, _trap: task.cancel())


async def by_late_task(start: Callable[[], Awaitable[Any]], at: int) -> Ended:
    def strike(task: asyncio.Task[Any], trap: Any) -> None:
        # These callbacks come before the one that lets the task go on.
        if trap is None:
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            trap.add_done_callback(lambda _trap: task.cancel())

    return await _in_a_task(start, at, strike)


async def by_timeout(start: Callable[[], Awaitable[Any]], at: int) -> Ended:
    steps = None
    try:
        async with asyncio.timeout(None) as limit:
            steps = Steps(start, at, lambda _trap: limit.reschedule(0))
            result = await steps.run()
    except RedisConnectionError:
        raise  # some of its kinds are a TimeoutError
    except TimeoutError:
        return Ended(was_struck=True, is_done=False)
    assert not steps.was_struck, "it swallowed a cancellation"
    return Ended(was_struck=False, is_done=True, result=result)


async def _in_a_task(
    start: Callable[[], Awaitable[Any]], at: int, strike: Callable[[asyncio.Task[Any], Any], object]
) -> Ended:
    steps = Steps(start, at, lambda trap: strike(task, trap))
    task = asyncio.create_task(steps.run())
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
    if task.cancelled():
        return Ended(was_struck=True, is_done=False)
    result = task.result()
    assert not steps.was_struck, "it swallowed a cancellation"
    return Ended(was_struck=False, is_done=True, result=result)


WAYS: dict[str, dict[str, Way]] = {
    "asyncio": {"scope": by_scope, "native": by_task, "late": by_late_task, "timeout": by_timeout},
    "uvloop": {"scope": by_scope, "native": by_task, "late": by_late_task, "timeout": by_timeout},
    "trio": {"scope": by_scope},
}
