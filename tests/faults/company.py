"""A company of processes around one server and one queue: replaced when they die, and brought to rest at the end.

Whoever directs it (``chaos.stage``, ``soak.stage``) decides what happens in between. It must never tell the library
anything: all it knows is what the processes wrote down and what the server shows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from chasquimq import sync
from tests.conftest import PERMANENT
from tests.faults.chaos.actors import Actor
from tests.faults.ledger import wait_until
from tests.faults.state import QueueState
from tests.servers import RedisServer

LOOK_S = 0.05
REST_S = 120.0
"""How long everything may take to come to rest after the last fault; leases are 1.5 s."""


class Company:
    """The processes of one run, by name."""

    def __init__(self, server: RedisServer, queue: str, cast: Mapping[str, Actor]) -> None:
        self.server = server
        self.queue = queue
        self.cast = cast
        self.deaths: Counter[str] = Counter()
        """Processes that ended by themselves, for a good reason, by role."""
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for actor in self.cast.values():
            actor.end()
        self.server.close()

    @property
    def state(self) -> QueueState:
        return QueueState(self.server.client, self.queue)

    def actors(self, role: str) -> list[Actor]:
        return [actor for actor in self.cast.values() if actor.role == role]

    def start_all(self) -> None:
        for actor in self.cast.values():
            actor.start()

    def rest_until(self, at: float) -> None:
        """Waits for this (monotonic) time, and replaces who dies in the meantime."""
        while (wait := at - time.monotonic()) > 0:
            self.replace_the_dead()
            time.sleep(min(wait, LOOK_S))

    def replace_the_dead(self) -> None:
        for actor in self.cast.values():
            if actor.take_its_end():
                self.deaths[actor.role] += 1
                actor.start()

    def come_to_rest(self) -> None:
        """Nothing is added any more; what there is must end, and everybody must leave. Raises when it does not."""
        self.send_home("producer", "scheduler")
        with sync.Queue[object, object](self.queue, connection=self.server.url) as queue:
            for spec in queue.get_repeatable_jobs():
                queue.remove_repeatable_by_key(spec.key)
        for actor in [*self.actors("worker"), *self.actors("reader")]:
            actor.start()
        state = self.state
        self.wait(state.is_empty, "every job ends")
        self.wait(lambda: not self._strangers(state), "the names of dead workers leave the group")
        self.send_home("worker")
        self.wait(self.readers_are_there, "every event is read")
        self.send_home("reader")
        self.wait(lambda: not self._locks(), "every lock is released, or expires")
        self._look_at_what_is_left(state)

    def send_home(self, *roles: str) -> None:
        leaving = [actor for role in roles for actor in self.actors(role)]
        for actor in leaving:
            actor.stop()
        for actor in leaving:
            actor.await_departures()

    def wait(self, condition: Callable[[], object], what: str) -> None:
        def look() -> bool:
            self.replace_the_dead()
            return bool(condition())

        wait_until(look, what, within=REST_S)

    def readers_are_there(self) -> bool:
        """Whether the readers of events have seen all that there is."""
        return True

    def wrongs(self) -> list[str]:
        """What should not have happened, as far as it shows without the processes' books."""
        return [*self.wrong, *(text for actor in self.cast.values() for text in actor.wrong)]

    def _strangers(self, state: QueueState) -> set[str]:
        living = {f"{actor.name}.{actor.number}" for actor in self.actors("worker")}
        return {row["name"].decode() for row in state.consumers()} - living - {"handed-back"}

    def _locks(self) -> list[bytes]:
        return list(self.server.client.scan_iter(match=f"*{self.queue}*:lock", count=1000))

    def _look_at_what_is_left(self, state: QueueState) -> None:
        client = self.server.client
        if consumers := [row["name"] for row in state.consumers() if row["name"] != b"handed-back" or row["pending"]]:
            self.wrong.append(f"consumers are left in the group: {consumers}")
        prefix = state.prefix.encode()
        kept = [
            key
            for key in client.scan_iter(count=1000)
            if client.pttl(key) == -1 and not (key.startswith(prefix) and PERMANENT.fullmatch(key[len(prefix) :]))
        ]
        if kept:
            self.wrong.append(f"keys without a TTL are left: {kept}")
        own = len(client.client_list()) - 1
        if own:
            self.wrong.append(f"{own} connections are left")
