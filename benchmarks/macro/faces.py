"""One face for every library that is measured: what a scenario may ask of a side.

A scenario is written twice, for sides with threads and for sides with an event loop, and knows no library; an adapter
knows one library and no scenario. Imports the standard library only, because it also runs in the environments of the
peers. Nothing here may cost a measured job more than a call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from benchmarks.macro.loop import Loop

if TYPE_CHECKING:
    from benchmarks.macro.case import Run

__all__ = ["AioSide", "Handling", "Nothing", "SyncSide"]


class Handling:
    """What a scenario wants done when a job runs; may raise, where jobs are to fail."""

    def by_number(self) -> Callable[[int], None]:
        """Called with the number of the job, for libraries that hand over arguments."""
        raise NotImplementedError

    def by_job(self) -> Callable[[Any], None]:
        """Called with an object that has ``id``, ``name`` and ``data``."""
        handle = self.by_number()
        return lambda job: handle(job.data["n"])


class Nothing(Handling):
    """A handler that does nothing, not even count."""

    def by_number(self) -> Callable[[int], None]:
        return lambda _number: None


class SyncSide:
    """A library with threads. ``open``, ``close`` and what follows them concern its producer, the rest its worker."""

    fills_itself = True
    """Its jobs have a form of their own: a backlog is added by itself, not by the runner."""
    imports = ""
    """What a program that adds and runs jobs imports."""
    tells_when_ready = True
    """Whether ``working`` is entered when the worker runs, not just when it was told to."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def open(self) -> None:
        """Connects, so that the first job pays for nothing but itself."""

    def close(self) -> None:
        """Leaves nothing behind."""

    def add(self, number: int) -> Any:
        """Adds one job and waits for the answer."""
        raise NotImplementedError

    def rows(self, numbers: range) -> Any:
        """Jobs in the form that ``add_rows`` takes."""
        return numbers

    def add_rows(self, rows: Any) -> Any:
        """Adds many, in the way that the library recommends for many."""
        for number in rows:
            self.add(number)

    def add_late(self, due_ms: Sequence[int]) -> None:
        """Adds one job per due time (milliseconds since 1970), in the library's fastest way."""
        raise NotImplementedError

    def working(self, handling: Handling) -> contextlib.AbstractContextManager[Any]:
        """A worker that is ready inside the block and ended after it."""
        raise NotImplementedError

    def waiting(self) -> int:
        """How many jobs the server still holds: waiting, running, delayed or not yet acknowledged."""
        raise NotImplementedError

    def failed(self) -> int:
        """How many jobs were given up."""
        return 0

    wants_main_thread = False
    """Its worker runs in the main thread only: ``serve`` is called there, and the scenario runs in another."""

    def serve(self) -> None:
        """Runs the worker when ``working`` asks for it, and returns when it has ended."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AioSide:
    """A library with an event loop; for the meaning of its methods see ``SyncSide``."""

    fills_itself = True
    imports = ""
    tells_when_ready = True

    def __init__(self, run: Run, loop: Loop) -> None:
        self.run = run
        self.loop = loop

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def add(self, number: int) -> Any:
        """An awaitable: a plain function that returns the library's own coroutine costs no second one."""
        raise NotImplementedError

    def rows(self, numbers: range) -> Any:
        return numbers

    async def add_rows(self, rows: Any) -> Any:
        """A hundred adds at a time, unless the library has something better."""
        numbers = list(rows)

        async def add_some(first: int) -> None:
            for number in numbers[first::100]:
                await self.add(number)

        await self.loop.together([add_some(first) for first in range(min(100, len(numbers)))])

    async def add_late(self, due_ms: Sequence[int]) -> None:
        raise NotImplementedError

    def working(self, handling: Handling) -> contextlib.AbstractAsyncContextManager[Any]:
        raise NotImplementedError

    def waiting(self) -> int:
        raise NotImplementedError

    def failed(self) -> int:
        return 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
