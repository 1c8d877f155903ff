"""Plays a schedule of faults with real processes, lets everything come to rest, and looks at what is left.

It must never tell the library anything: what the processes and the server wrote down is all that is used afterwards.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from chasquimq import sync
from tests.conftest import PERMANENT
from tests.faults.chaos.actors import Actor
from tests.faults.chaos.journal import Journal
from tests.faults.chaos.schedule import CAST, SERVER, Step, draw_schedule
from tests.faults.ledger import wait_until
from tests.faults.state import QueueState
from tests.servers import RedisServer, ServerBinary

QUEUE = "chaos"
LOOK_S = 0.05
REST_S = 120.0
"""How long everything may take to come to rest after the last fault; leases are 1.5 s."""


class Stage:
    """One run: ``play``, then ``settle``, then ``journals``."""

    def __init__(self, seed: int, seconds: float, folder: Path, binary: ServerBinary) -> None:
        self.seed = seed
        self.folder = folder
        self.steps = draw_schedule(seed, seconds)
        # The journal is read from its beginning, so the server must not write a shorter one.
        self.server = RedisServer(binary, appendonly=True, config={"auto-aof-rewrite-percentage": "0"})
        self.cast = {name: Actor(name, seed, QUEUE, self.server.url, folder) for name in CAST}
        self.happened: list[tuple[float, float, Step]] = []
        """Each step with the (monotonic) times of its begin and end."""
        self.deaths: Counter[str] = Counter()
        """Processes that ended by themselves, for a good reason, by role."""
        self.wrong: list[str] = []
        self._lives: list[Path] = []

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
        return QueueState(self.server.client, QUEUE)

    def actors(self, role: str) -> list[Actor]:
        return [actor for actor in self.cast.values() if actor.role == role]

    # -- the play ------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        for actor in self.cast.values():
            actor.start()
        begun = time.monotonic()
        for step in self.steps:
            while (wait := begun + step.at_ms / 1000 - time.monotonic()) > 0:
                self._replace_the_dead()
                time.sleep(min(wait, LOOK_S))
            at = time.monotonic()
            if step.target == SERVER:
                getattr(self, f"_{step.action}_server")()
            else:
                getattr(self.cast[step.target], step.action)()
            self.happened.append((at, time.monotonic(), step))

    def _replace_the_dead(self) -> None:
        for actor in self.cast.values():
            if actor.take_its_end():
                self.deaths[actor.role] += 1
                actor.start()

    def _kill_server(self) -> None:
        self.server.kill()

    def _start_server(self) -> None:
        self.server.start()

    def _lose_server(self) -> None:
        """It is killed, and its data is gone; kept aside, it still tells what had become of every job."""
        self.server.kill()
        self._lives.append(self._keep_journal())

    def _pause_server(self) -> None:
        self.server.pause()

    def _resume_server(self) -> None:
        self.server.resume()

    def _cut_server(self) -> None:
        self.server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _flush_server(self) -> None:
        self.server.client.script_flush("SYNC")

    def _fill_server(self) -> None:
        self.server.client.config_set("maxmemory", "1")

    def _empty_server(self) -> None:
        self.server.client.config_set("maxmemory", "0")

    def _demote_server(self) -> None:
        self.server.client.replicaof("127.0.0.1", "1")

    def _promote_server(self) -> None:
        self.server.client.replicaof("NO", "ONE")

    def _ungroup_server(self) -> None:
        with contextlib.suppress(redis.ResponseError):  # no stream yet: the server has just come back with nothing
            self.server.client.xgroup_destroy(self.state.key("stream"), "default")

    # -- coming to rest ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing is added any more; what there is must end, and everybody must leave. Raises when it does not."""
        self._send_home("producer", "scheduler")
        with sync.Queue[object, object](QUEUE, connection=self.server.url) as queue:
            for spec in queue.get_repeatable_jobs():
                queue.remove_repeatable_by_key(spec.key)
        for actor in [*self.actors("worker"), *self.actors("reader")]:
            actor.start()
        state = self.state
        self._wait(state.is_empty, "every job ends")
        self._wait(lambda: not self._strangers(state), "the names of dead workers leave the group")
        self._send_home("worker")
        self._wait(self._readers_are_there, "every event is read")
        self._send_home("reader")
        self._wait(lambda: not self._locks(state), "every lock is released, or expires")
        self._look_at_what_is_left(state)
        self.server.stop()
        self._lives.append(self._keep_journal())

    def _send_home(self, *roles: str) -> None:
        leaving = [actor for role in roles for actor in self.actors(role)]
        for actor in leaving:
            actor.stop()
        for actor in leaving:
            actor.await_departures()

    def _wait(self, condition: object, what: str) -> None:
        def look() -> bool:
            self._replace_the_dead()
            return bool(condition())  # type: ignore[operator]

        wait_until(look, what, within=REST_S)

    def _strangers(self, state: QueueState) -> set[str]:
        living = {f"{actor.name}.{actor.number}" for actor in self.actors("worker")}
        return {row["name"].decode() for row in state.consumers()} - living - {"handed-back"}

    def _readers_are_there(self) -> bool:
        last = self.server.client.xrevrange(self.state.key("events"), count=1)
        return not last or all(actor.last_event_id() == last[0][0].decode() for actor in self.actors("reader"))

    def _locks(self, state: QueueState) -> list[bytes]:
        return list(self.server.client.scan_iter(match=f"*{QUEUE}*:lock"))

    def _look_at_what_is_left(self, state: QueueState) -> None:
        client = self.server.client
        if consumers := [row["name"] for row in state.consumers() if row["name"] != b"handed-back" or row["pending"]]:
            self.wrong.append(f"consumers are left in the group: {consumers}")
        prefix = f"{{chasqui:{QUEUE}}}:".encode()
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
        self.left = {
            "stream": {entry_id for entry_id, _ in client.xrange(state.key("stream"))},
            "delayed": {member for member, _ in state.delayed()},
            "dlq": {entry_id for entry_id, _ in client.xrange(state.key("dlq"))},
        }

    def wrongs(self) -> list[str]:
        """What should not have happened, as far as it shows without the books."""
        return [*self.wrong, *(text for actor in self.cast.values() for text in actor.wrong)]

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def _keep_journal(self) -> Path:
        return Path(shutil.move(self.server.folder / "appendonlydir", self.folder / f"life-{len(self._lives) + 1}"))

    def journals(self) -> list[Journal]:
        """One for each life of the server, the last one checked against what the server itself showed."""
        journals = [Journal.read(folder, QUEUE) for folder in self._lives]
        for key, there in self.left.items():
            if journals[-1].places(key) != there:
                self.wrong.append(f"the journal and the server do not agree about {key}")
        return journals
