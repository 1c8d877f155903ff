"""The processes of a chaos run: who they are, and how they are started, killed, stopped and started again.

A role keeps its name, and each process that plays it has a number, a ledger of its own, and a form that the seed has
drawn for this number.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.ledger import Ledger
from tests.faults.processes import FLAVOURS, WorkerProcess

PROGRAM = Path(__file__).with_name("program.py")
LEASE_MS = 1_500
FORGETS_AFTER_MS = 3_000
LEAVES_S = 60.0
TAIL = 2_000
SERVER_AWAY = ("RedisConnectionError", "RedisTimeoutError", "ServerReplyError")


class Actor:
    """One role of the cast and the process that plays it just now."""

    def __init__(self, name: str, seed: int, queue: str, connection: str, folder: Path) -> None:
        self.name = name
        self.role = name.partition("-")[0]
        self.number = 0
        self.process: WorkerProcess | None = None
        self.forms: Counter[str] = Counter()
        self.wrong: list[str] = []
        """What processes did that they should not have."""
        self._seed = seed
        self._queue = queue
        self._connection = connection
        self._folder = folder
        self._is_paused = False
        self._leaving: list[WorkerProcess] = []

    @property
    def is_playing(self) -> bool:
        return self.process is not None and self.process.is_alive

    @property
    def is_ready(self) -> bool:
        return self.process is not None and self.process.has_written("ready")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """What all processes of this role have written down of these events."""
        ledgers = [Ledger(path) for path in self._folder.glob(f"{self.name}.*.jsonl")]
        return [row for ledger in ledgers for event in events for row in ledger.lines(event)]

    def _was_killed_by_its_job(self, code: int) -> bool:
        """Some jobs kill their worker, also while it leaves."""
        return code == -signal.SIGKILL and self.role == "worker"

    def take_its_end(self) -> bool:
        """Whether its process has ended by itself; it is forgotten, and told if there was no good reason."""
        process = self.process
        if process is None or process.is_alive:
            return False
        self.process = None
        code = process.wait()
        if not (self._was_killed_by_its_job(code) or _could_not_start(process, code)):
            self.wrong.append(f"{self.name} ended by itself with {code}: {process.log_text()}")
        return True

    def start(self) -> None:
        """The next process of this role, if there is none."""
        if self.is_playing:
            return
        if self.role == "reader":
            self.await_departures()  # it goes on where the one before it has really ended
        self.number += 1
        configuration = self._configuration(random.Random(f"{self._seed} {self.name} {self.number}"))
        self.forms[configuration["flavour"]] += 1
        self._is_paused = False
        ledger = Ledger(self._folder / f"{self.name}.{self.number}.jsonl")
        self.process = WorkerProcess({"queue": self._queue, **configuration}, ledger, self._program)

    @property
    def _program(self) -> Path:
        return WorkerProcess.PROGRAM if self.role == "worker" else PROGRAM

    def _configuration(self, dice: random.Random) -> dict[str, Any]:
        """What the next process of this role is told."""
        flavour = dice.choice(FLAVOURS)
        if self.role == "worker":
            return self._worker_configuration(dice)
        return {
            "flavour": flavour,
            "role": self.role,
            "connection": self._connection,
            "seed": f"{self._seed}.{self.name}.{self.number}",
            "tasks": 3,
            "last_event_id": self.last_event_id() if self.role == "reader" else "0",
        }

    def _worker_configuration(self, dice: random.Random) -> dict[str, Any]:
        options = {
            "connection": self._connection,
            "lease_ms": LEASE_MS,
            "concurrency": dice.choice([1, 4, 12]),
            "store_results": True,
            "run_scheduler": dice.random() < 0.5,
            "scheduler_tick_ms": 100,
            "ack": dice.choice(["batch", "batch", "each"]),
            "name": f"{self.name}.{self.number}",
        }
        flavour = dice.choice([*FLAVOURS, "asyncio+thread", "trio+thread"])
        return {"flavour": flavour, "options": options, "forgets_after_ms": FORGETS_AFTER_MS}

    def last_event_id(self) -> str:
        """Behind which event the next reader goes on: the last one that this role has written down."""
        for number in range(self.number, 0, -1):
            if not (path := self._folder / f"{self.name}.{number}.jsonl").exists():
                continue  # that is the process which is just being started
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                # What stands before the first line break is the end of a line; behind the last one, its beginning.
                for line in reversed(file.read().split(b"\n")[:-1]):
                    if line.startswith(b"{") and (row := json.loads(line))["event"] == "seen":
                        return str(row["event_id"])
        return "0"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process = None

    def stop(self) -> None:
        """Asks it to leave; that it did is checked by ``await_departures``."""
        if self.process is not None and self.is_playing:
            if not self.is_ready:
                # Python has not set up its handlers yet; a start may also be waiting for a server that is away.
                self.kill()
                return
            self.process.stop_later()
            self.resume()
            self._leaving.append(self.process)
            self.process = None

    def pause(self) -> None:
        if self.process is not None:
            self.process.pause()
            self._is_paused = True

    def resume(self) -> None:
        if self.process is not None and self._is_paused:
            self.process.resume()
            self._is_paused = False

    def await_departures(self) -> None:
        """Waits for those that were asked to leave."""
        for process in self._leaving:
            try:
                code = process.wait(within=LEAVES_S)
            except AssertionError as error:
                self.wrong.append(f"{self.name} does not leave: {error}")
                process.kill()
            else:
                if code and not (self._was_killed_by_its_job(code) or _could_not_start(process, code)):
                    self.wrong.append(f"{self.name} left with {code}: {process.log_text()}")
        self._leaving.clear()

    def end(self) -> None:
        for process in [*self._leaving, self.process]:
            if process is not None:
                process.kill()


def _could_not_start(process: WorkerProcess, code: int) -> bool:
    """Whoever starts while the server is in trouble says so and ends, unless a signal finds it at its end."""
    failures = process.ledger.lines("failed")
    was_told = bool(failures) and any(kind in failures[0]["text"] for kind in SERVER_AWAY)
    return was_told and code in (1, -signal.SIGTERM)
