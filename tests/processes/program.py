"""A program whose worker has several processes: ``python -m tests.processes.program '<json configuration>'``.

What a handler does stands in the job's data; it appends what happens to the ledger file. The configuration is in the
environment too, where the worker processes find it, however they are started.

Configuration: ``flavour`` (sync, asyncio, trio, uvloop), ``queue``, ``ledger``, ``gate`` (a file: what waits goes on
when it is there), ``options`` of the Worker. ``way``: ``run``, ``scope`` (a block that lasts until the gate opens),
``cancelled`` (a task that is cancelled when the gate opens), ``abandoned`` (a thread; the program ends when the gate
opens). Further: ``handle_signals``, ``closure`` (the processor and a listener are local functions), ``adds`` (data of
jobs that the program adds before), ``timings`` (other values for END_S, FORCED_END_S and RESPITE_MS), ``login`` (what a
process does when it is asked for credentials: it ends with this code, or blocks if that is None),
``closes_when_ready`` (a listener of ``ready`` in the program closes the worker).
"""

from __future__ import annotations

import faulthandler
import functools
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio

import chasquimq.aio
import chasquimq.sync
from chasquimq._core import restarts
from chasquimq._processes import supervisor

CONFIGURATION = "TESTS_PROCESSES_CONFIGURATION"
POLL_S = 0.01


class Program:
    """What this process does and writes down."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.flavour: str = configuration["flavour"]
        self.form: Any = chasquimq.sync if self.flavour == "sync" else chasquimq.aio
        self.ledger = os.open(configuration["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.gate = Path(configuration["gate"])
        self.pid = os.getpid()

    def note(self, event: str, **fields: Any) -> None:
        line = {"event": event, "pid": os.getpid(), **fields}
        os.write(self.ledger, json.dumps(line).encode() + b"\n")

    # -- the handler ---------------------------------------------------------------------------------------------------

    def begin(self, job: Any) -> str:
        what: str = job.data
        self.note("start", id=job.id, redelivered=job.redelivered)
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "exit":
            os._exit(7)
        elif what == "stay":
            threading.Thread(target=time.sleep, args=(60,), daemon=False).start()  # no process ends before it
        elif what == "nest":
            try:
                with chasquimq.sync.Worker("nested", print, processes=2):
                    self.note("nested")
            except chasquimq.NotSupportedError as error:
                self.note("refused", text=str(error))
        return what

    def end(self, job: Any) -> None:
        self.note("end", id=job.id)

    # -- the worker ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def worker(self) -> Any:
        """The program's; a forked process has its copy, a spawned one makes one like it, as a module would."""
        asynchronous = self.flavour != "sync"
        processor: Any = handle_as_task if asynchronous else handle
        if self.configuration.get("closure"):
            processor = self.local_handler(processor)
        worker = self.form.Worker(self.configuration["queue"], processor, **self.options())
        for event, listener in LISTENERS.items():
            worker.on(event, listener)
        if self.configuration.get("closure"):
            worker.on("completed", lambda job, _result, _previous: self.note("completed locally", id=job.id))
        if self.configuration.get("closes_when_ready"):
            worker.on("ready", self.close_all_as_task if asynchronous else self.close_all)
        return worker

    def close_all(self) -> None:
        if os.getpid() == self.pid:
            self.worker.close()

    async def close_all_as_task(self) -> None:
        if os.getpid() == self.pid:
            await self.worker.close()

    def local_handler(self, processor: Any) -> Any:
        def local_function(job: Any) -> None:
            processor(job)

        async def local_task(job: Any) -> None:
            await processor(job)

        return local_function if self.flavour == "sync" else local_task

    def options(self) -> dict[str, Any]:
        options = dict(self.configuration["options"])
        if "login" in self.configuration:
            options["connection"] = chasquimq.ConnectionOptions(
                url=options["connection"], credential_provider=BadCredentials(self.configuration["login"])
            )
        return options

    def run(self) -> None:
        queue, connection = self.configuration["queue"], self.configuration["options"]["connection"]
        jobs = [("job", what) for what in self.configuration.get("adds", [])]
        way = self.configuration.get("way", "run")
        if self.flavour == "sync":
            with chasquimq.sync.Queue(queue, connection=connection) as adding:
                adding.add_bulk(jobs)
            self.run_sync(way)
            return

        async def main() -> None:
            async with chasquimq.aio.Queue(queue, connection=connection) as adding:
                await adding.add_bulk(jobs)
            await self.run_aio(way)

        uvloop = {"use_uvloop": True} if self.flavour == "uvloop" else {}
        anyio.run(main, backend="trio" if self.flavour == "trio" else "asyncio", backend_options=uvloop)

    def run_sync(self, way: str) -> None:
        if way == "run":
            self.worker.run(handle_signals=self.configuration.get("handle_signals", True))
        elif way == "scope":
            with self.worker:
                self.note("inside")
                self.await_gate()
        else:
            threading.Thread(target=self.worker.run, daemon=True).start()
            self.await_gate()

    async def run_aio(self, way: str) -> None:
        if way == "run":
            await self.worker.run(handle_signals=self.configuration.get("handle_signals", True))
        elif way == "scope":
            async with self.worker:
                self.note("inside")
                await self.await_gate_as_task()
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.worker.run)
                await self.await_gate_as_task()
                tasks.cancel_scope.cancel()

    def await_gate(self) -> None:
        while not self.gate.exists():
            time.sleep(POLL_S)

    async def await_gate_as_task(self) -> None:
        while not self.gate.exists():
            await anyio.sleep(POLL_S)


class BadCredentials:
    """Credentials that nobody comes to use."""

    def __init__(self, exit_code: int | None) -> None:
        self.exit_code = exit_code

    def get_credentials(self) -> tuple[str, str]:
        program().note("login")
        if self.exit_code is not None:
            os._exit(self.exit_code)
        while True:
            time.sleep(60)


@functools.cache
def program() -> Program:
    return Program(json.loads(os.environ[CONFIGURATION]))


# At the top level, so that a spawned process can import them.


def handle(job: Any) -> None:
    this = program()
    what = this.begin(job)
    if what == "wait":
        this.await_gate()
    elif what == "close":
        this.worker.close()
    this.end(job)


async def handle_as_task(job: Any) -> None:
    this = program()
    what = this.begin(job)
    if what == "wait":
        await this.await_gate_as_task()
    elif what == "close":
        await this.worker.close()
    this.end(job)


def on_completed(job: Any, _result: Any, _previous: str) -> None:
    program().note("completed", id=job.id)


def on_error(error: Exception) -> None:
    told = {name: getattr(error, name, None) for name in ("process", "exit_code")}
    program().note("error", text=f"{type(error).__name__}: {error}", ended=getattr(error, "pid", None), **told)


def on_ready() -> None:
    program().note("ready")


def on_closing(_message: str) -> None:
    program().note("closing")


def on_closed() -> None:
    program().note("closed")


LISTENERS: dict[str, Any] = {
    "ready": on_ready,
    "completed": on_completed,
    "error": on_error,
    "closing": on_closing,
    "closed": on_closed,
}


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
    faulthandler.register(signal.SIGUSR1)  # a process that does not end is asked where it is
    os.environ[CONFIGURATION] = sys.argv[1]
    this = program()
    for name, value in this.configuration.get("timings", {}).items():
        setattr(restarts if name == "RESPITE_MS" else supervisor, name, value)
    try:
        this.run()
    except Exception as error:
        this.note("failed", text=f"{type(error).__name__}: {error}", exit_code=getattr(error, "exit_code", None))
        raise
    this.note("left")


if __name__ == "__main__":
    main()
