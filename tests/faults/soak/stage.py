"""One soak run: processes that stay, processes that come and go, and looks at them from outside."""

from __future__ import annotations

import os
import platform
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.faults.chaos.actors import FORGETS_AFTER_MS, LEASE_MS, Actor
from tests.faults.chaos.run import trouble_in_logs
from tests.faults.company import Company
from tests.faults.ledger import wait_until
from tests.faults.processes import FLAVOURS
from tests.faults.soak.books import KIB, MIB, Growth, Life, Sample, ServerBook, ServerSample, growth_of, server_book
from tests.servers import RedisServer, ServerBinary

QUEUE = "soak"
PROGRAM = Path(__file__).with_name("program.py")
STAYING = (*(f"{role}-{form}" for role in ("worker", "producer") for form in FLAVOURS), "scheduler-1", "reader-sync")
CHURNED = ("worker-a", "worker-b")
LOOK_S = 0.5
LIVES_S = (1.0, 4.0)
"""How long a worker lives that comes and goes."""
EXPIRES_MS = 2_000
LEVELS_S = 30.0
SHOWN = 10


class SoakActor(Actor):
    """A process that stays has the form that its name says; the dice choose that of the others."""

    _program = PROGRAM

    def _configuration(self, dice: random.Random) -> dict[str, Any]:
        form = self.name.rpartition("-")[2]
        common = {"role": self.role, "connection": self._connection}
        if self.role != "worker":
            flavour = form if form in FLAVOURS else "trio"
            seed = f"{self._seed}.{self.name}.{self.number}"
            return {**common, "flavour": flavour, "seed": seed, "tasks": 2, "last_event_id": "0"}
        return {
            **common,
            "flavour": form if form in FLAVOURS else dice.choice([*FLAVOURS, "asyncio+thread", "trio+thread"]),
            "forgets_after_ms": FORGETS_AFTER_MS,
            "options": {
                "connection": self._connection,
                "name": f"{self.name}.{self.number}",
                "lease_ms": LEASE_MS,
                "concurrency": 8,
                "store_results": True,
                "result_ttl_ms": EXPIRES_MS,
                "scheduler_tick_ms": 100,
            },
        }


class Soak(Company):
    """``play``, ``come_to_rest``, ``empty``, and then the books."""

    def __init__(self, seed: int, seconds: float, folder: Path, binary: ServerBinary) -> None:
        server = RedisServer(binary)
        cast = {name: SoakActor(name, seed, QUEUE, server.url, folder) for name in (*STAYING, *CHURNED)}
        super().__init__(server, QUEUE, cast)
        self.seconds = seconds
        self.begin = self.end = 0.0
        # A scheduler is not told what became of its jobs, and counts none.
        self.lives = {name: Life(name, counts=not name.startswith("scheduler")) for name in STAYING}
        self.churn: Counter[str] = Counter()
        self.passed = 0
        """Entries that went through the stream, by the server's own count."""
        self.new = self.emptied = 0
        self._looks: list[ServerSample] = []
        self._dice = random.Random(f"soak {seed}")
        self._changes_at = dict.fromkeys(CHURNED, 0.0)

    def play(self) -> None:
        self.new = self._memory()
        self.start_all()
        self.wait(lambda: all(self.cast[name].is_ready for name in STAYING), "everybody is there")
        watched = {name: psutil.Process(self.cast[name].pid) for name in STAYING}
        self.begin = time.monotonic()
        self._changes_at = {name: self.begin + self._lifetime() for name in CHURNED}
        while (now := time.monotonic()) < self.begin + self.seconds:
            self._churn(now)
            self._look(watched, now)
            self.rest_until(now + LOOK_S)
        self.end = time.monotonic()
        self.passed = int(self.server.client.xinfo_stream(self.state.key("stream"))["entries-added"])

    def _lifetime(self) -> float:
        return self._dice.uniform(*LIVES_S)

    def _churn(self, now: float) -> None:
        for name, changes_at in self._changes_at.items():
            if changes_at <= now:
                how = self._dice.choice(["kill", "stop"])
                getattr(self.cast[name], how)()
                self.churn[how] += 1
                self.cast[name].start()
                self._changes_at[name] = now + self._lifetime()

    def _look(self, watched: dict[str, psutil.Process], now: float) -> None:
        for name, process in watched.items():
            if self.cast[name].number == 1:  # who has died and was replaced is a breach anyway
                memory = process.memory_full_info().uss
                self.lives[name].samples.append(Sample(now, memory, process.num_fds(), process.num_threads()))
        connections = int(self.server.client.info("clients")["connected_clients"])
        self._looks.append(ServerSample(now, self._memory(), connections))

    def _memory(self) -> int:
        return int(self.server.client.info("memory")["used_memory"])

    def empty(self) -> None:
        """What is left by design is removed, what has a lifetime expires; then the server has nothing any more."""
        client, state = self.server.client, self.state
        client.delete(*(state.key(name) for name in ("stream", "events", "dlq")))
        wait_until(lambda: client.dbsize() == 0, f"every key expires: {client.randomkey()!r}", within=LEVELS_S)
        client.execute_command("MEMORY", "PURGE")
        self.emptied = self._memory()

    def read_stands(self) -> None:
        for name, life in self.lives.items():
            life.stands = [(row["at"], row["jobs"]) for row in self.cast[name].lines("stand")]

    def troubles(self) -> list[str]:
        """What the processes found wrong."""
        rows = [(actor.name, row) for actor in self.cast.values() for row in actor.lines("trouble", "error")]
        return [f"{name}: {row['text']}" for name, row in rows]

    def server_book(self) -> ServerBook:
        return server_book(self._looks, self.begin, self.end, self.new, self.emptied)


@dataclass
class Report:
    """What was measured, and what should not have been."""

    heading: str
    growths: list[Growth]
    server: ServerBook
    breaches: list[str]

    def __str__(self) -> str:
        rows = [("process", "jobs", "MiB after warm-up", "at the end", "bytes per job", "descriptors", "threads")]
        rows += [
            (
                growth.name,
                f"{growth.jobs:,}",
                f"{growth.before / MIB:.1f}",
                f"{growth.after / MIB:.1f}",
                f"{growth.bytes_per_job:+.2f}" if growth.jobs_between else "",
                "{} -> {}".format(*growth.fds),
                "{} -> {}".format(*growth.threads),
            )
            for growth in self.growths
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{cell:{'>' if number else '<'}{widths[number]}}" for number, cell in enumerate(row))
            for row in rows
        ]
        server = self.server
        before, after = server.connections
        told = (
            f"server: {server.new / KIB:,.0f} KiB when new, {server.fullest / KIB:,.0f} KiB at its fullest, "
            f"{server.emptied / KIB:,.0f} KiB when emptied; up to {before} connections, {after} later on"
        )
        verdict = "all is well" if not self.breaches else f"{len(self.breaches)} BREACHES:"
        return "\n".join([self.heading, "", *lines, "", told, "", verdict, *self.breaches[:SHOWN]])


def run(seed: int, seconds: float, folder: Path, binary: ServerBinary) -> Report:
    """Works for so long, lets everything end, and judges. ``folder`` then holds ledgers and logs."""
    with Soak(seed, seconds, folder, binary) as soak:
        soak.play()
        soak.come_to_rest()
        soak.empty()
        soak.read_stands()
    growths = [growth_of(life, soak.begin, soak.end) for life in soak.lives.values()]
    server = soak.server_book()
    churn = ", ".join(f"{count} {_PAST[how]}" for how, count in sorted(soak.churn.items()))
    heading = (
        f"{seconds:.0f} s of work, {soak.passed:,} entries through the stream, workers that came and went: {churn}; "
        f"{binary.command[-1].rsplit('/')[-1]} {binary.version}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores"
    )
    breaches = [*soak.wrongs(), *soak.troubles(), *trouble_in_logs(folder), *server.breaches()]
    return Report(heading, growths, server, [*breaches, *_of_all(growths)])


def _of_all(growths: Iterable[Growth]) -> list[str]:
    return [breach for growth in growths for breach in growth.breaches()]


_PAST = {"kill": "killed", "stop": "stopped"}
