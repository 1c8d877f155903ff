"""A worker of this library as a process of its own: ``worker_program.py '<json configuration>'``.

What a handler does stands in the job's data, so that one program serves every test. It appends what happens to
the ledger file and takes SIGINT and SIGTERM as a program of a user would.

Configuration: ``flavour`` (sync, asyncio, trio; with ``+thread`` the handler of an asynchronous worker is a plain
function), ``queue``, ``ledger``, ``options`` of the Worker, ``clock_offset_ms`` (this machine's clock is
wrong by that much), ``forgets_after_ms`` (names of dead workers leave the group after that time, not after ten
minutes).
"""

import asyncio
import faulthandler
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import anyio

import chasquimq._core.worker
import chasquimq._net.housekeeper
from chasquimq import UnrecoverableError, aio, sync
from chasquimq._fast import wall_ms
from chasquimq._net.clock import SystemClock
from tests.faults.notes import Notes


class BrokenText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class DyingText(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


RAISES: dict[str, Any] = {
    "Exception": lambda: Exception("as told"),
    "BaseException": lambda: BaseException("as told"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "CancelledError": asyncio.CancelledError,
    "ExceptionGroup": lambda: ExceptionGroup("two", [ValueError("one"), OSError("two")]),
    "BrokenText": BrokenText,
    "DyingText": DyingText,
    "Surrogates": lambda: ValueError("\ud800 is no text"),
    "Long": lambda: ValueError("x" * 10_000_000),
}


def _endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


RETURNS: dict[str, Any] = {
    "object": object,
    "lambda": lambda: lambda: None,
    "set": lambda: {1, 2},
    "huge int": lambda: 1 << 100,
    "surrogates": lambda: "\ud800",
    "endless": _endless,
    "exception": lambda: ValueError("a value"),
}


class Program:
    def __init__(self, configuration: dict[str, Any], notes: type[Notes] = Notes) -> None:
        self.configuration = configuration
        self.note = notes(configuration["ledger"], configuration["flavour"]).note

    # -- the handler ---------------------------------------------------------------------------------------------------

    def begin(self, job: Any) -> dict[str, Any]:
        options = {"attempts": job.opts.attempts, "backoff": job.opts.backoff and job.opts.backoff.type}
        self.note("start", data=job.data, **_about(job), **options)
        data = job.data if isinstance(job.data, dict) else {}
        time.sleep(data.get("block_ms", 0) / 1000)
        return data

    def finish(self, job: Any, data: dict[str, Any]) -> Any:
        """The end that the job asks for."""
        if job.deliveries < data.get("kills", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if kind := data.get("raises"):
            error: BaseException = RAISES[kind]()
            raise error
        if data.get("unrecoverable"):
            raise UnrecoverableError("as told")
        if job.attempts_made <= data.get("fails", 0):
            raise ValueError(f"run {job.attempts_made} fails as told")
        self.note("end", lost=job.lease_lost, **_about(job))
        if kind := data.get("returns_odd"):
            return RETURNS[kind]()
        return data.get("returns")

    def handle(self, job: Any) -> Any:
        data = self.begin(job)
        time.sleep(data.get("wait_ms", 0) / 1000)
        return self.finish(job, data)

    async def handle_as_task(self, job: Any) -> Any:
        data = self.begin(job)
        await anyio.sleep(data.get("wait_ms", 0) / 1000)
        return self.finish(job, data)

    # -- the worker ----------------------------------------------------------------------------------------------------

    def listen(self, worker: Any) -> None:
        worker.on("ready", lambda: self.note("ready"))
        worker.on("closing", lambda _message: self.note("closing"))
        worker.on("error", lambda error: self.note("error", text=f"{type(error).__name__}: {error}"[:300]))

    def run(self) -> None:
        flavour, _, thread = self.configuration["flavour"].partition("+")
        options = self.configuration["options"]
        queue = self.configuration["queue"]
        if flavour == "sync":
            worker = sync.Worker(queue, self.handle, **options)
            self.listen(worker)
            worker.run(handle_signals=True)
            return
        handler = self.handle if thread else self.handle_as_task

        async def main() -> None:
            worker: aio.Worker[Any, Any] = aio.Worker(queue, handler, **options)
            self.listen(worker)
            await worker.run(handle_signals=True)

        anyio.run(main, backend=flavour)


def _about(job: Any) -> dict[str, Any]:
    return {"id": job.id, "name": job.name, "run": job.attempts_made, "redelivered": job.redelivered}


def main(make: Callable[[dict[str, Any]], Program] = Program) -> None:
    logging.basicConfig(level=logging.INFO)
    faulthandler.register(signal.SIGUSR1)  # a worker that does not end is asked where it is
    configuration = json.loads(sys.argv[1])
    if offset_ms := configuration.get("clock_offset_ms"):
        SystemClock.wall_ms = staticmethod(lambda: wall_ms() + offset_ms)
    if forgets_after_ms := configuration.get("forgets_after_ms"):
        chasquimq._core.worker.DEAD_CONSUMER_MS = forgets_after_ms
        chasquimq._net.housekeeper.REAP_INTERVAL_MS = forgets_after_ms // 2
    program = make(configuration)
    try:
        program.run()
    except Exception as error:
        program.note("failed", text=f"{type(error).__name__}: {error}"[:300])
        raise
    program.note("left")


if __name__ == "__main__":
    main()
