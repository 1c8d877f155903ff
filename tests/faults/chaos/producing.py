"""What the producers of a chaos run do, and what they write down before and after each step.

A token is what a producer calls a job before it knows the job's id: it stands in the job's data. What was ``adding``
and was never answered stays open; the server's journal says what became of it. One function serves all three forms, as
in the conformance tests.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from chasquimq import ChasquiError, NotSupportedError, RedisConnectionError, ServerReplyError
from tests.faults.notes import Notes

REMEMBERED = 300
REPEATS = 20
"""Repeatable jobs and how often they fire; every producer stores them again from time to time."""
SPECS: list[dict[str, Any]] = [{"every": 300}, {"every": 1_000}, {"pattern": "* * * * * *"}]


class Producing:
    """One producer's dice, memory and ledger."""

    def __init__(self, seed: str, notes: Notes) -> None:
        self._dice = random.Random(seed)
        self._seed = seed
        self._notes = notes
        self._count = 0
        self._known: dict[str, str] = {}
        """Job ids by token, of the last jobs that were added."""

    async def act(self, queue: Any, pause: Callable[[float], Awaitable[None]]) -> None:
        """One step of a kind that the dice choose, and a short rest."""
        kind = self._dice.choices(
            [self.add, self.add_bulk, self.add_and_remove, self.ask, self.replay, self.repeat],
            [40, 15, 8, 30, 4, 3],
        )[0]
        try:
            await kind(queue)
        except ChasquiError as error:
            # A step that is repeated by nobody: what it may have done is in the journal.
            self._notes.note("trouble", text=f"{kind.__name__}: {type(error).__name__}: {error}"[:300])
        await pause(self._dice.choice([0.01, 0.05, 0.1, 0.2]))

    def _row(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        dice = self._dice
        self._count += 1
        token = f"{self._seed}/{self._count}"
        options: dict[str, Any] = {}
        data: dict[str, Any] = {"token": token, "returns": token, "wait_ms": dice.choice([0, 0, 0, 5, 50, 400])}
        fate = dice.random()
        if fate < 0.25:
            data["fails"] = dice.choice([1, 2])
            options |= {"attempts": 30, "backoff": dice.choice([5, 60])}
        elif fate < 0.29:
            data["unrecoverable"] = True
        elif fate < 0.293:
            data["kills"] = 1
        if dice.random() < 0.3:
            options["delay"] = dice.choice([20, 200, 900])
        if dice.random() < 0.3:
            options["job_id"] = token
        return "job", data, options

    async def add(self, queue: Any) -> None:
        """Adds a job; with an id of its own it is added again until an answer comes."""
        row = self._row()
        for _ in range(REPEATS if "job_id" in row[2] else 1):
            outcome = await self._try_to_add([row], lambda: queue.add(row[0], row[1], **row[2]))
            if outcome != "unknown":
                return

    async def add_bulk(self, queue: Any) -> None:
        rows = [self._row() for _ in range(self._dice.randrange(2, 25))]
        await self._try_to_add(rows, lambda: queue.add_bulk(rows))

    async def _try_to_add(self, rows: list[Any], send: Callable[[], Awaitable[Any]]) -> str:
        delays = [row[2].get("delay", 0) for row in rows]
        tokens = [row[1]["token"] for row in rows]
        self._notes.note("adding", tokens=tokens, delays=delays)
        try:
            added = await send()
        except RedisConnectionError as error:
            # False is a promise: nothing of it is in Redis, and never will be.
            outcome = "unknown" if error.may_have_executed else "refused"
            self._notes.note(outcome, tokens=tokens, error=type(error).__name__)
            return outcome
        except ServerReplyError as error:
            self._notes.note("refused", tokens=tokens, error=error.code)
            return "refused"
        except ChasquiError as error:  # rows that the server refused one by one
            refused = [tokens[number] for number in getattr(error, "errors", {})]
            self._notes.note("refused", tokens=refused, error=type(error).__name__)
            added = [job for job in getattr(error, "jobs", []) if job is not None]
        jobs = added if isinstance(added, list) else [added]
        self._notes.note("added", tokens=[job.data["token"] for job in jobs], ids=[job.id for job in jobs])
        for job in jobs:
            self._known[job.data["token"]] = job.id
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return "added"

    async def add_and_remove(self, queue: Any) -> None:
        """A job that is due so late that it can be taken back: then it must never run."""
        name, data, options = self._row()
        token = data["token"]
        options = {**options, "job_id": token, "delay": self._dice.choice([400, 5_000])}
        outcome = await self._try_to_add([(name, data, options)], lambda: queue.add(name, data, **options))
        if outcome == "added":
            try:
                await queue.remove(token)
            except NotSupportedError:
                return  # it was due already, or the server has forgotten it
            self._notes.note("removed", tokens=[token])

    async def ask(self, queue: Any) -> None:
        """The result of a job, which is its token: any other answer was meant for somebody else."""
        if self._known:
            token, job_id = self._dice.choice(list(self._known.items()))
            answer = await queue.get_job_result(job_id)
            if answer is not None:
                self._notes.note("answered" if answer == token else "wrong answer", token=token, answer=answer)

    async def replay(self, queue: Any) -> None:
        self._notes.note("replayed", count=await queue.replay_dlq(5), seen=len(await queue.peek_dlq(5)))

    async def repeat(self, queue: Any) -> None:
        for repeat in SPECS:
            await queue.add("tick", {"tick": True}, repeat=repeat)
