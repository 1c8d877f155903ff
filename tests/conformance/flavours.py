"""The forms that the library comes in, behind the same words, so that every promise is tested by one function.

A conformance test is one coroutine function that says ``await queue.add(...)``. On asyncio and trio that is what
happens. The synchronous form has no event loop: there the coroutine runs straight through in the calling thread,
because everything that a test awaits (``Spoken``, ``BlockingGate``, ``SyncFlavour``) blocks instead of yielding. So
the real ``chasquimq.sync`` classes are called, handlers are plain functions in the worker's threads, and nothing in
between decides anything.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import anyio
import anyio.to_thread

import chasquimq.aio
import chasquimq.sync

T = TypeVar("T")
Step = Callable[[], Coroutine[Any, Any, T]]

PATIENCE_S = 20.0
"""How long anything may take before the test gives up; nothing that works takes a tenth of it."""
POLL_S = 0.005


def straight(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that blocks where others yield."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("the synchronous form awaited something that needs an event loop")


class Spoken:
    """A synchronous Queue, Worker or Job whose blocking methods are called with ``await``, so that tests read alike.

    Which methods block is not listed anywhere: those that the asynchronous twin has as coroutine functions.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self._twin = getattr(chasquimq.aio, type(target).__name__)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not inspect.iscoroutinefunction(getattr(self._twin, name, None)):
            return value

        async def blocking(*arguments: Any, **options: Any) -> Any:
            return spoken(value(*arguments, **options))

        return blocking

    async def __aenter__(self) -> Self:
        self._target.__enter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        return self._target.__exit__(*exc_info)

    def __repr__(self) -> str:
        return repr(self._target)


def spoken(value: Any) -> Any:
    if isinstance(value, chasquimq.sync.Job):
        return Spoken(value)
    return [spoken(item) for item in value] if isinstance(value, list) else value


class BlockingGate:
    """Something that happens once, and that threads wait for."""

    def __init__(self) -> None:
        self.signal = threading.Event()

    def open(self) -> None:
        self.signal.set()

    @property
    def is_open(self) -> bool:
        return self.signal.is_set()

    async def passed(self) -> None:
        assert self.signal.wait(PATIENCE_S), "what the test waits for did not happen"


class SyncFlavour:
    """``chasquimq.sync``, on threads."""

    name = "sync"
    is_async = False
    Queue: Any = chasquimq.sync.Queue
    Worker: Any = chasquimq.sync.Worker

    def queue(self, *arguments: Any, **options: Any) -> Any:
        return Spoken(chasquimq.sync.Queue(*arguments, **options))

    def worker(self, queue_name: str, handler: Any, **options: Any) -> Any:
        return Spoken(chasquimq.sync.Worker(queue_name, self.handler(handler), **options))

    def handler(self, handler: Any) -> Any:
        """A test's coroutine function as the plain function that it stands for."""
        if not inspect.iscoroutinefunction(handler):
            return handler
        return lambda job: straight(handler(Spoken(job)))

    def run(self, test: Step[T]) -> T:
        return straight(test())

    def gate(self) -> Any:
        return BlockingGate()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def in_thread(self, function: Callable[[], T]) -> T:
        return function()

    async def together(self, *steps: Step[Any]) -> list[Any]:
        """Runs the steps at the same time; their results."""
        results: dict[int, Any] = {}
        errors: list[BaseException] = []

        def run(number: int, step: Step[Any]) -> None:
            try:
                results[number] = straight(step())
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(steps)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "one of the steps did not end"
        if errors:
            raise errors[0]
        return [results[number] for number in range(len(steps))]

    @asynccontextmanager
    async def beside(self, step: Step[Any]) -> AsyncIterator[None]:
        """Runs ``step`` beside the block, and waits for its end there."""
        errors: list[BaseException] = []

        def run() -> None:
            try:
                straight(step())
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "what ran beside the block did not end"
        if errors:
            raise errors[0]


class AnyioGate:
    """Something that happens once, and that tasks wait for."""

    def __init__(self) -> None:
        self.signal = anyio.Event()

    def open(self) -> None:
        self.signal.set()

    @property
    def is_open(self) -> bool:
        return self.signal.is_set()

    async def passed(self) -> None:
        with anyio.move_on_after(PATIENCE_S):
            await self.signal.wait()
            return
        raise AssertionError("what the test waits for did not happen")


class AioFlavour:
    """``chasquimq.aio``, on the event loop that it is named after."""

    is_async = True
    Queue: Any = chasquimq.aio.Queue
    Worker: Any = chasquimq.aio.Worker

    def __init__(self, name: str, backend: str, **options: Any) -> None:
        self.name = name
        self._backend, self._options = backend, options

    def queue(self, *arguments: Any, **options: Any) -> Any:
        return chasquimq.aio.Queue(*arguments, **options)

    def worker(self, queue_name: str, handler: Any, **options: Any) -> Any:
        return chasquimq.aio.Worker(queue_name, handler, **options)

    def handler(self, handler: Any) -> Any:
        return handler

    def run(self, test: Step[T]) -> T:
        async def bounded() -> T:
            with anyio.fail_after(2 * PATIENCE_S):
                return await test()

        return anyio.run(bounded, backend=self._backend, backend_options=self._options)

    def gate(self) -> Any:
        return AnyioGate()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def in_thread(self, function: Callable[[], T]) -> T:
        """For what blocks and is not ours: a subprocess, a server that restarts."""
        return await anyio.to_thread.run_sync(function)

    async def together(self, *steps: Step[Any]) -> list[Any]:
        results: dict[int, Any] = {}
        errors: list[Exception] = []

        async def run(number: int, step: Step[Any]) -> None:
            try:
                results[number] = await step()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                for pair in enumerate(steps):
                    tasks.start_soon(run, *pair)
        if errors:
            raise errors[0]
        return [results[number] for number in range(len(steps))]

    @asynccontextmanager
    async def beside(self, step: Step[Any]) -> AsyncIterator[None]:
        errors: list[Exception] = []
        ended = anyio.Event()

        async def run() -> None:
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
            finally:
                ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            yield
            with anyio.move_on_after(PATIENCE_S):
                await ended.wait()
            tasks.cancel_scope.cancel()
            assert ended.is_set(), "what ran beside the block did not end"
        if errors:
            raise errors[0]


Flavour = SyncFlavour | AioFlavour

FLAVOURS: dict[str, Flavour] = {
    "sync": SyncFlavour(),
    "asyncio": AioFlavour("asyncio", "asyncio"),
    "trio": AioFlavour("trio", "trio"),
    "uvloop": AioFlavour("uvloop", "asyncio", use_uvloop=True),
}
EVERY_FORM = ("sync", "asyncio", "trio")
