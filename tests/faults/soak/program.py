"""What the processes of a soak run do: ``program.py '<json configuration>'``.

They are the worker of all fault tests and the producer, scheduler and reader of a chaos run, but count what happens to
each job instead of writing it down, and add as much as the workers can bear.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import redis

from chasquimq import ChasquiError, NotSupportedError
from tests.conformance.flavours import FLAVOURS
from tests.faults import worker_program
from tests.faults.chaos import program as chaos_program
from tests.faults.notes import Notes

TOLD_EVERY_S = 0.5
MANY = 8_000
"""So many waiting jobs are enough: the workers shall be busy, and the server's memory shall tell of leaks only."""
ROWS = 300
WINDOW_MS = 2_000
"""How long the marker of a job id lives."""
WAITS_MS = 30_000
SPECS: list[dict[str, Any]] = [{"every": 100}, {"every": 250}, {"pattern": "* * * * * *"}]


class Tally(Notes):
    """Counts what happens to each job, and writes down the count now and then, and everything else at once."""

    COUNTED = ("end", "seen", "added")
    LEFT_OUT = ("start", "gap")
    """A reader that is slower than all the workers together is told of gaps."""

    def __init__(self, path: str, by: str) -> None:
        super().__init__(path, by)
        self.jobs = 0
        """Threads may miss one another's; a per mille more or less does not matter here."""
        threading.Thread(target=self._tell, daemon=True).start()

    def note(self, event: str, **fields: Any) -> None:
        if event in self.COUNTED:
            self.jobs += fields.get("count", 1)
        elif event not in self.LEFT_OUT:
            super().note(event, **fields)

    def _tell(self) -> None:
        while True:
            super().note("stand", jobs=self.jobs)
            time.sleep(TOLD_EVERY_S)


class Program(chaos_program.Program):
    """A producer, a scheduler, or a reader of events."""

    def _queue(self) -> Any:
        return FLAVOURS[self.flavour].queue(
            self.queue_name, connection=self.connection, dedup_window_ms=WINDOW_MS, events=self.flavour == "sync"
        )

    async def produce(self, queue: Any, number: int, goes_on: Callable[[], bool], pause: Any) -> None:
        loading = Loading(f"{self.configuration['seed']}.{number}", self.notes, self.connection, self.queue_name)
        while goes_on():
            await loading.act(queue, pause)


class Loading:
    """One producer's dice and steps. One function serves all three forms."""

    def __init__(self, seed: str, notes: Notes, url: str, queue_name: str) -> None:
        self._dice = random.Random(seed)
        self._seed = seed
        self._notes = notes
        self._server = redis.Redis.from_url(url)
        self._stream = f"{{chasqui:{queue_name}}}:stream"
        self._count = 0

    async def act(self, queue: Any, pause: Callable[[float], Awaitable[None]]) -> None:
        """A bulk of jobs if there is room, or something else."""
        kind = self._dice.choices(
            [self.add_bulk, self.add_and_wait, self.add_and_remove, self.add_twice, self.replay, self.repeat],
            [60, 20, 8, 8, 2, 2],
        )[0]
        if self._server.xlen(self._stream) > MANY:
            await pause(0.02)
            return
        try:
            await kind(queue)
        except ChasquiError as error:  # nothing is wrong with the server here
            self._notes.note("trouble", text=f"{kind.__name__}: {type(error).__name__}: {error}"[:300])

    def _token(self) -> str:
        self._count += 1
        return f"{self._seed}/{self._count}"

    def _row(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        fate = self._dice.random()
        if fate < 0.03:
            return "fails", {"fails": 1}, {"attempts": 3, "backoff": self._dice.choice([5, 50, 500])}
        if fate < 0.06:
            return "delayed", {}, {"delay": self._dice.choice([20, 200, 900])}
        if fate < 0.08:
            return "with an id", {}, {"job_id": self._token()}
        if fate < 0.10:
            return "with a result", {"returns": "x" * self._dice.randrange(200)}, {}
        if fate < 0.101:
            return "dies", {"unrecoverable": True}, {}
        return "job", {"text": "x" * self._dice.randrange(100)}, {}

    async def add_bulk(self, queue: Any) -> None:
        added = await queue.add_bulk([self._row() for _ in range(ROWS)])
        self._notes.note("added", count=len(added))

    async def add_and_wait(self, queue: Any) -> None:
        token = self._token()
        job = await queue.add("answer", {"returns": token})
        self._notes.note("added")
        answer = await job.wait_for_result(timeout_ms=WAITS_MS)
        if answer != token:
            self._notes.note("trouble", text=f"the result of {token} is {answer!r}")

    async def add_and_remove(self, queue: Any) -> None:
        token = self._token()
        await queue.add("removed", {}, job_id=token, delay=30_000)
        try:
            await queue.remove(token)
        except NotSupportedError:
            self._notes.note("trouble", text=f"{token} cannot be removed")

    async def add_twice(self, queue: Any) -> None:
        token = self._token()
        await queue.add("once", {}, job_id=token)
        again = await queue.add_unique("once", {}, job_id=token)
        self._notes.note("added")
        if not again.is_duplicate:
            self._notes.note("trouble", text=f"{token} was added twice")

    async def replay(self, queue: Any) -> None:
        await queue.peek_dlq(20)
        await queue.replay_dlq(20)

    async def repeat(self, queue: Any) -> None:
        for repeat in SPECS:
            await queue.add("tick", {}, repeat=repeat)


if __name__ == "__main__":
    if json.loads(sys.argv[1])["role"] == "worker":
        worker_program.main(partial(worker_program.Program, notes=Tally))
    else:
        chaos_program.main(partial(Program, notes=Tally))
