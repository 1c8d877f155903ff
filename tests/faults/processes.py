"""Worker processes of a test: started, signalled, and certainly gone at its end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ledger import Ledger, wait_until

ROOT = Path(__file__).parents[2]
FLAVOURS = ("sync", "asyncio", "trio")


class WorkerProcess:
    """One running ``worker_program.py``, or another program that keeps a ledger as it does."""

    PROGRAM = Path(__file__).with_name("worker_program.py")

    def __init__(self, configuration: dict[str, Any], ledger: Ledger, program: Path = PROGRAM) -> None:
        self.ledger = ledger
        self.log = ledger.path.parent / f"process-{len(list(ledger.path.parent.glob('process-*')))}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(program), json.dumps({**configuration, "ledger": str(ledger.path)})],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def has_written(self, event: str) -> bool:
        return any(row["pid"] == self.pid for row in self.ledger.lines(event))

    def wait_until_ready(self) -> "WorkerProcess":
        wait_until(lambda: self.has_written("ready") or not self.is_alive, f"ready; {self.log_text()}")
        assert self.has_written("ready"), f"the worker did not start: {self.log_text()}"
        return self

    def signal(self, number: signal.Signals) -> None:
        # The child is not reaped before poll() has told its end, so its pid cannot be anybody else's.
        if self.is_alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop_later(self) -> None:
        """Asks it to drain and does not wait for that."""
        self.signal(signal.SIGTERM)

    def stop(self, *, within: float = 40.0) -> int:
        """Asks it to drain; its exit code."""
        self.stop_later()
        return self.wait(within=within)

    def wait(self, *, within: float = 40.0) -> int:
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGUSR1)
            time.sleep(0.2)  # it writes its stacks into the log
            raise AssertionError(
                f"the worker {self.pid} still runs after {within:.0f} s: {self.ledger} {self.log_text()}"
            ) from None

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


class Workers:
    """Starts workers of one server and queue that write to one ledger."""

    def __init__(self, url: str, queue: str, ledger: Ledger) -> None:
        self.url, self.queue, self.ledger = url, queue, ledger
        self.started: list[WorkerProcess] = []

    def launch(self, flavour: str = "sync", *, clock_offset_ms: int = 0, **options: Any) -> WorkerProcess:
        """Starts one and does not wait for it. Further keywords are options of the Worker."""
        configuration = {
            "flavour": flavour,
            "queue": self.queue,
            "options": {"run_scheduler": False, "connection": self.url, **options},
            "clock_offset_ms": clock_offset_ms,
        }
        self.started.append(WorkerProcess(configuration, self.ledger))
        return self.started[-1]

    def start(self, flavour: str = "sync", **options: Any) -> WorkerProcess:
        """Starts one and returns when it takes jobs."""
        return self.launch(flavour, **options).wait_until_ready()

    def start_fleet(self, *flavours: str, **options: Any) -> list[WorkerProcess]:
        """One of each flavour, all at the same time."""
        fleet = [self.launch(flavour, **options) for flavour in flavours or FLAVOURS]
        return [worker.wait_until_ready() for worker in fleet]

    def end(self) -> None:
        for worker in self.started:
            worker.kill()


@contextmanager
def workers_of(url: str, queue: str, folder: Path) -> Iterator[Workers]:
    """Workers that are gone when the block ends, however it ends."""
    workers = Workers(url, queue, Ledger(folder / "ledger.jsonl"))
    try:
        yield workers
    finally:
        workers.end()
