"""Plays a schedule of faults with real processes, lets everything come to rest, and looks at what is left.

It must never tell the library anything: what the processes and the server wrote down is all that is used afterwards.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import redis

from tests.faults.chaos.actors import Actor
from tests.faults.chaos.journal import Journal
from tests.faults.chaos.schedule import CAST, SERVER, Step, draw_schedule
from tests.faults.company import Company
from tests.servers import RedisServer, ServerBinary

QUEUE = "chaos"


class Stage(Company):
    """One run: ``play``, then ``settle``, then ``journals``."""

    def __init__(self, seed: int, seconds: float, folder: Path, binary: ServerBinary) -> None:
        self.seed = seed
        self.folder = folder
        self.steps = draw_schedule(seed, seconds)
        # The journal is read from its beginning, so the server must not write a shorter one.
        server = RedisServer(binary, appendonly=True, config={"auto-aof-rewrite-percentage": "0"})
        super().__init__(server, QUEUE, {name: Actor(name, seed, QUEUE, server.url, folder) for name in CAST})
        self.happened: list[tuple[float, float, Step]] = []
        """Each step with the (monotonic) times of its begin and end."""
        self.left: dict[str, set[bytes]] = {}
        self._lives: list[Path] = []

    # -- the play ------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        self.start_all()
        begun = time.monotonic()
        for step in self.steps:
            self.rest_until(begun + step.at_ms / 1000)
            at = time.monotonic()
            if step.target == SERVER:
                getattr(self, f"_{step.action}_server")()
            else:
                getattr(self.cast[step.target], step.action)()
            self.happened.append((at, time.monotonic(), step))

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
        """Everything comes to rest; what is there then is noted, and the server stops. Raises when it does not."""
        self.come_to_rest()
        state, client = self.state, self.server.client
        self.left = {
            "stream": {entry_id for entry_id, _ in client.xrange(state.key("stream"))},
            "delayed": {member for member, _ in state.delayed()},
            "dlq": {entry_id for entry_id, _ in client.xrange(state.key("dlq"))},
        }
        self.server.stop()
        self._lives.append(self._keep_journal())

    def readers_are_there(self) -> bool:
        last = self.server.client.xrevrange(self.state.key("events"), count=1)
        return not last or all(actor.last_event_id() == last[0][0].decode() for actor in self.actors("reader"))

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
