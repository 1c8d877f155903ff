"""Programs with several worker processes, seen from outside: what they note, what is done to them, who is alive."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

import chasquimq.sync
from tests.conformance.world import World
from tests.faults.ledger import Ledger, wait_until

ROOT = Path(__file__).parents[2]
GONE_S = 20.0


def add(world: World, *data: str, **options: Any) -> list[str]:
    """Adds one job for each; their ids."""
    with chasquimq.sync.Queue[str, Any](world.name, connection=world.url) as queue:
        return [job.id for job in queue.add_bulk([("job", what, options) for what in data])]


class Running:
    """One running program and all that descends from it."""

    def __init__(self, folder: Path, configuration: dict[str, Any]) -> None:
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.gate = folder / "gate"
        self.log = folder / "log.txt"
        self.options = configuration["options"]
        configuration = {**configuration, "ledger": str(self.ledger.path), "gate": str(self.gate)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tests.processes.program", json.dumps(configuration)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._seen: dict[int, psutil.Process] = {}

    @property
    def pid(self) -> int:
        return self.process.pid

    # -- what it says --------------------------------------------------------------------------------------------------

    def lines(self, event: str, *, inside: bool | None = None) -> list[dict[str, Any]]:
        """What was noted: in the worker processes (``inside``), in the program itself (False), in both."""
        return [line for line in self.ledger.lines(event) if inside is None or inside is (line["pid"] != self.pid)]

    def pids(self, event: str) -> list[int]:
        """In which worker processes something happened."""
        return [line["pid"] for line in self.lines(event, inside=True)]

    def await_lines(
        self, event: str, count: int = 1, *, inside: bool | None = None, alone: bool = False
    ) -> list[dict[str, Any]]:
        """Until something was noted so often; ``alone``: by worker processes whose program may be gone."""

        def there() -> bool:
            return len(self.lines(event, inside=inside)) >= count

        def over() -> bool:
            return not alone and self.process.poll() is not None

        wait_until(lambda: there() or over(), f"{count} x {event}: {self}")
        assert there(), f"it ended without {count} x {event}: {self}"
        return self.lines(event, inside=inside)

    def await_ready(self) -> "Running":
        """Until all processes take jobs."""
        self.await_lines("ready", inside=False)
        self.remember()
        return self

    def __str__(self) -> str:
        return f"{self.ledger}; {self.log.read_text(errors='replace')[-3000:]}"

    # -- what is done to it --------------------------------------------------------------------------------------------

    def open_gate(self) -> None:
        self.gate.touch()

    def send(self, number: signal.Signals, pid: int | None = None) -> None:
        if self.process.poll() is None or pid is not None:
            os.kill(pid or self.pid, number)

    def send_to_group(self, number: signal.Signals) -> None:
        """As a terminal does with Ctrl-C: to every process of the program, at once."""
        os.killpg(self.pid, number)

    def end(self) -> int:
        """Waits for the program's end; its exit code."""
        wait_until(lambda: self.process.poll() is not None, f"the end: {self}")
        return self.process.wait()

    # -- its processes -------------------------------------------------------------------------------------------------

    def remember(self) -> list[psutil.Process]:
        """Its living descendants, also those that have no parent any more."""
        if self.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for found in psutil.Process(self.pid).children(recursive=True):
                    self._seen.setdefault(found.pid, found)
        return [known for known in self._seen.values() if _is_alive(known)]

    def supervisor(self) -> psutil.Process:
        """The process between the program and the worker processes."""
        return psutil.Process(psutil.Process(self.pids("ready")[0]).ppid())

    def await_nobody(self) -> None:
        """Until the program and all of its processes are gone."""
        wait_until(lambda: not self.remember(), f"the end of {self._seen}: {self}", within=GONE_S)

    def kill(self) -> None:
        living = self.remember()
        if self.process.poll() is None:
            self.process.kill()
        for known in living:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends by itself, since the program is gone
                known.kill()
        self.process.wait()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
