"""Programs that end while work is in flight, in every way in which a Python program can."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from typing import Any

import anyio

from chasquimq import aio, sync
from tests.faults.notes import Notes
from tests.faults.programs import run_scenario


def handler(notes: Notes, worker: list[Any]) -> Any:
    def handle(job: Any) -> None:
        notes.note("start", id=job.id, redelivered=job.redelivered)
        if job.name == "slow":
            time.sleep(60)
        elif job.name == "stop":
            worker[0].close()
        notes.note("end", id=job.id)

    return handle


def new_worker(url: str, name: str, ledger: str, **options: Any) -> tuple[Any, Notes]:
    notes = Notes(ledger, "program")
    holder: list[Any] = []
    worker = sync.Worker[Any, Any](name, handler(notes, holder), connection=url, lease_ms=2_000, **options)
    holder.append(worker)
    return worker, notes


def await_starts(ledger: str, count: int) -> None:
    while open(ledger, encoding="utf-8").read().count('"start"') < count:  # noqa: PTH123, SIM115
        time.sleep(0.01)


def daemon_thread(url: str, name: str, ledger: str) -> None:
    """The main thread ends while the worker runs in a daemon thread."""
    worker, _ = new_worker(url, name, ledger)
    threading.Thread(target=worker.run, daemon=True).start()
    await_starts(ledger, 4)


def entered(url: str, name: str, ledger: str) -> None:
    """The worker was entered by hand and never left."""
    worker, _ = new_worker(url, name, ledger)
    worker.__enter__()
    await_starts(ledger, 4)


def other_thread(url: str, name: str, ledger: str) -> None:
    """The main thread ends; the worker's own, which is no daemon, goes on until a job says stop."""
    worker, notes = new_worker(url, name, ledger)
    ready = threading.Event()
    worker.on("ready", ready.set)
    threading.Thread(target=worker.run).start()
    ready.wait()
    notes.note("ready")


def exit_in_block(url: str, name: str, ledger: str) -> None:
    """``sys.exit`` inside the worker's block, as soon as jobs run."""
    worker, _ = new_worker(url, name, ledger, drain_timeout_ms=100)
    with worker:
        await_starts(ledger, 4)
        sys.exit(5)


def exit_in_task(url: str, name: str, ledger: str, backend: str) -> None:
    """The same in a task."""
    notes = Notes(ledger, "program")

    async def handle(job: Any) -> None:
        notes.note("start", id=job.id, redelivered=job.redelivered)
        await anyio.sleep(60)

    async def main() -> None:
        options: dict[str, Any] = {"connection": url, "lease_ms": 2_000, "drain_timeout_ms": 100}
        async with aio.Worker[Any, Any](name, handle, **options):
            await anyio.to_thread.run_sync(await_starts, ledger, 4)
            sys.exit(5)

    anyio.run(main, backend=backend)


def main_returns(url: str, name: str, ledger: str, backend: str) -> None:
    """The main task returns, and leaves a worker behind as a task, a Queue open, and a subscription."""
    notes = Notes(ledger, "program")
    queue = aio.Queue[Any, Any](name, connection=url)

    async def handle(job: Any) -> None:
        notes.note("start", id=job.id, redelivered=job.redelivered)
        await anyio.sleep(60)

    async def main() -> None:
        worker = aio.Worker[Any, Any](name, handle, connection=url, lease_ms=2_000, drain_timeout_ms=100)
        await queue.add("late", None, delay=3_600_000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await anyio.to_thread.run_sync(await_starts, ledger, 4)
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def adds_in_flight(url: str, name: str, ledger: str) -> None:
    """Daemon threads add jobs, wait for results and follow events while the main thread ends; nothing is closed."""
    notes = Notes(ledger, "program")
    queue = sync.Queue[Any, Any](name, connection=url)
    events = sync.QueueEvents(name, connection=url)
    events.__enter__()

    def add(who: int) -> None:
        number = 0
        while True:
            notes.note("added", id=queue.add("job", who, job_id=f"{who}-{number}").id)
            number += 1

    def wait() -> None:
        queue.add("job", "waited for", job_id="waited-for").wait_for_result(timeout_ms=60_000)

    for target, arguments in [*((add, (who,)) for who in range(4)), (wait, ())]:
        threading.Thread(target=target, args=arguments, daemon=True).start()
    while queue.get_job_result("none") or len(open(ledger, encoding="utf-8").readlines()) < 100:  # noqa: PTH123, SIM115
        time.sleep(0.01)


def at_exit(url: str, name: str, ledger: str) -> None:
    """What the program has registered for its end still uses the Queue and the worker, and closes them."""
    worker, notes = new_worker(url, name, ledger)
    queue = sync.Queue[Any, Any](name, connection=url)

    def close() -> None:
        worker.close()
        queue.close()
        notes.note("closed")

    atexit.register(close)
    atexit.register(lambda: notes.note("added", id=queue.add("last", None, job_id="last").id))
    threading.Thread(target=worker.run, daemon=True).start()
    queue.add("job", None, job_id="first")
    await_starts(ledger, 1)
    sys.exit(3)


if __name__ == "__main__":
    run_scenario(globals())
