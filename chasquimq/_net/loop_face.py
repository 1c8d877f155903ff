"""What a connection that waits on its own socket needs of the event loop, as trio or as anyio offers it.

Decides that under trio its own functions are called: a third of an exchange would go into a layer above them. It
must never touch a connection.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

from chasquimq._dataclass import dataclass
from chasquimq._net.event_loop import is_asyncio

__all__ = ["LoopFace", "Ticket", "Timer", "loop_face"]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> object: ...


class Ticket(Protocol):
    """Where one task waits until another one sets it: ``wait`` comes first, later calls of ``set`` do nothing."""

    async def wait(self) -> None: ...
    def set(self) -> object: ...


@dataclass(frozen=True, slots=True)
class LoopFace:
    """The loop's functions.

    ``identity`` gives what ``running_loop`` gives and raises ``RuntimeError`` where no loop of this kind runs;
    ``closed`` is what the waits raise when ``notify_closing`` is told of their socket; ``call_later`` calls a
    function after so many seconds, and no task of the program waits for it. ``ticket`` makes a new ``Ticket``.
    """

    identity: Callable[[], object]
    wait_readable: Callable[[Any], Awaitable[None]]
    wait_writable: Callable[[Any], Awaitable[None]]
    notify_closing: Callable[[Any], None]
    closed: type[Exception]
    call_later: Callable[[float, Callable[[], None]], Timer]
    ticket: Callable[[], Ticket]


def loop_face() -> LoopFace:
    """The face of the running loop."""
    if is_asyncio():
        return LoopFace(
            identity=asyncio.get_running_loop,
            wait_readable=anyio.wait_readable,
            wait_writable=anyio.wait_writable,
            notify_closing=anyio.notify_closing,
            closed=anyio.ClosedResourceError,
            call_later=asyncio.get_running_loop().call_later,
            ticket=anyio.Event,
        )
    trio = sys.modules["trio"]
    return LoopFace(
        identity=trio.lowlevel.current_trio_token,
        wait_readable=trio.lowlevel.wait_readable,
        wait_writable=trio.lowlevel.wait_writable,
        notify_closing=trio.lowlevel.notify_closing,
        closed=trio.ClosedResourceError,
        call_later=_TrioTimer,
        ticket=_trio_ticket(),
    )


@functools.cache
def _trio_ticket() -> type[Ticket]:
    """The class of tickets under trio, whose own events cost ten times as much: many tasks may wait for one."""
    lowlevel = sys.modules["trio"].lowlevel
    current_task, reschedule, sleep = lowlevel.current_task, lowlevel.reschedule, lowlevel.wait_task_rescheduled
    gone = lowlevel.Abort.SUCCEEDED

    class TrioTicket:
        __slots__ = ("_task",)

        def __init__(self) -> None:
            self._task: Any = None

        async def wait(self) -> None:
            self._task = current_task()
            await sleep(self._forget)

        def set(self) -> None:
            task, self._task = self._task, None
            if task is not None:
                reschedule(task)

        def _forget(self, _raise_cancel: object) -> Any:
            self._task = None
            return gone

    return TrioTicket


class _TrioTimer:
    """trio has no timers without a task: a system task sleeps, and ends with the run at the latest."""

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self._trio = sys.modules["trio"]
        self._scope = self._trio.CancelScope(deadline=self._trio.current_time() + seconds)
        self._is_cancelled = False
        self._function = function
        self._trio.lowlevel.spawn_system_task(self._sleep)

    def cancel(self) -> None:
        self._is_cancelled = True
        self._scope.cancel()

    async def _sleep(self) -> None:
        with self._scope:
            await self._trio.sleep_forever()
        if not self._is_cancelled:
            self._function()
