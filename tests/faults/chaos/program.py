"""A producer, a scheduler or a reader of events as a process of its own: ``program.py '<json configuration>'``.

Configuration: ``role``, ``flavour`` (sync, asyncio, trio), ``queue``, ``connection``, ``ledger``, ``seed``, ``tasks``
(of a producer, at the same time), ``last_event_id`` (of a reader). SIGTERM ends it; a step that has begun is finished.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio

import chasquimq.aio
import chasquimq.sync
from tests.conformance.flavours import FLAVOURS, straight
from tests.faults.chaos.producing import Producing
from tests.faults.notes import Notes

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Program:
    def __init__(self, configuration: dict[str, Any], notes: type[Notes] = Notes) -> None:
        self.flavour: str = configuration["flavour"]
        self.queue_name: str = configuration["queue"]
        self.connection: str = configuration["connection"]
        self.configuration = configuration
        self.notes = notes(configuration["ledger"], self.flavour)
        self.namespace: Any = chasquimq.sync if self.flavour == "sync" else chasquimq.aio

    def run(self) -> None:
        role = getattr(self, f"run_{self.configuration['role']}")
        if self.flavour == "sync":
            role()
        else:
            anyio.run(role, backend=self.flavour)

    # -- producer ------------------------------------------------------------------------------------------------------

    async def produce(self, queue: Any, number: int, goes_on: Callable[[], bool], pause: Any) -> None:
        producing = Producing(f"{self.configuration['seed']}.{number}", self.notes)
        while goes_on():
            await producing.act(queue, pause)

    @property
    def run_producer(self) -> Callable[[], Any]:
        return self._run_sync_producer if self.flavour == "sync" else self._run_async_producer

    def _queue(self) -> Any:
        return FLAVOURS[self.flavour].queue(self.queue_name, connection=self.connection)

    def _run_sync_producer(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        over = threading.Event()
        queue = self._queue()

        async def pause(seconds: float) -> None:
            time.sleep(seconds)

        def work(number: int) -> None:
            straight(self.produce(queue, number, lambda: not over.is_set(), pause))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(self.configuration["tasks"])]
        for thread in threads:
            thread.start()
        self.notes.note("ready")
        signal.sigwait(SIGNALS)
        over.set()
        for thread in threads:
            thread.join()
        straight(queue.close())

    async def _run_async_producer(self) -> None:
        over = anyio.Event()
        async with self._queue() as queue, anyio.create_task_group() as tasks:
            with anyio.open_signal_receiver(*SIGNALS) as signals:
                for number in range(self.configuration["tasks"]):
                    tasks.start_soon(self.produce, queue, number, lambda: not over.is_set(), anyio.sleep)
                self.notes.note("ready")
                async for _ in signals:
                    over.set()
                    break

    # -- scheduler -----------------------------------------------------------------------------------------------------

    def run_scheduler(self) -> Awaitable[None] | None:
        scheduler = self.namespace.Scheduler(self.queue_name, connection=self.connection, tick_ms=100)
        self.notes.note("ready")
        ended: Awaitable[None] | None = scheduler.run(handle_signals=True)
        return ended

    # -- reader --------------------------------------------------------------------------------------------------------

    @property
    def run_reader(self) -> Callable[[], Any]:
        events = partial(
            self.namespace.QueueEvents,
            self.queue_name,
            connection=self.connection,
            last_event_id=self.configuration["last_event_id"],
            blocking_timeout=500,
        )
        return partial(self._read if self.flavour == "sync" else self._read_async, events)

    def _saw(self, event: Any) -> None:
        self.notes.note("gap" if event.event == "gap" else "seen", event_id=event.event_id)

    def _read(self, events: Callable[[], Any]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        queue_events = events()

        def read() -> None:
            for event in queue_events:
                self._saw(event)

        reader = threading.Thread(target=read)
        reader.start()
        self.notes.note("ready")
        signal.sigwait(SIGNALS)
        queue_events.close()
        reader.join()

    async def _read_async(self, events: Callable[[], Any]) -> None:
        queue_events = events()

        async def read() -> None:
            async for event in queue_events:
                self._saw(event)

        async with anyio.create_task_group() as tasks:
            with anyio.open_signal_receiver(*SIGNALS) as signals:
                tasks.start_soon(read)
                self.notes.note("ready")
                async for _ in signals:
                    await queue_events.close()
                    break


def main(make: Callable[[dict[str, Any]], Program] = Program) -> None:
    logging.basicConfig(level=logging.INFO)
    faulthandler.register(signal.SIGUSR1)
    program = make(json.loads(sys.argv[1]))
    try:
        program.run()
    except Exception as error:
        program.notes.note("failed", text=f"{type(error).__name__}: {error}"[:300])
        raise
    program.notes.note("left")


if __name__ == "__main__":
    main()
