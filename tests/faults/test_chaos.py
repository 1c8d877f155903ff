"""Workers of every flavour are killed at random while producers add: the invariants hold all the same.

Seeded: the sequence of decisions is repeatable, their timing is the machine's. Every added id is run to its end at
least once, nothing is left, and no job is acknowledged twice: each entry leaves the stream once, by an ack, a
retry or a move, so that the entries ever added are the jobs plus the retries that were scheduled.
"""

import os
import random
import threading
import time
from typing import Any

from chasquimq import sync
from tests.servers import RedisServer

from .ledger import Ledger, wait_until
from .processes import FLAVOURS, Workers
from .state import QueueState

SEED = int(os.environ.get("CHASQUIMQ_CHAOS_SEED", "20"))
SECONDS = float(os.environ.get("CHASQUIMQ_CHAOS_SECONDS", "9"))
FORMS = (*FLAVOURS, "asyncio+thread", "trio+thread")


class Adding(threading.Thread):
    """A producer that adds jobs of all kinds until it is told to end."""

    def __init__(self, url: str, queue: str, seed: int, over: threading.Event) -> None:
        super().__init__(name=f"producer-{seed}")
        self.url, self.queue, self.dice, self.over = url, queue, random.Random(seed), over
        self.added: dict[str, int] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with sync.Queue[Any, Any](self.queue, connection=self.url) as queue:
                while not self.over.wait(0.05):
                    self.add_some(queue)
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.failure = error

    def add_some(self, queue: sync.Queue[Any, Any]) -> None:
        dice = self.dice
        rows: list[tuple[str, Any, dict[str, Any]]] = []
        for _ in range(dice.randrange(1, 8)):
            fails = dice.choice([0, 0, 0, 1, 2])
            options: dict[str, Any] = {"attempts": 50, "backoff": dice.choice([5, 50])}
            if dice.random() < 0.3:
                options["delay"] = dice.choice([10, 200, 900])
            if dice.random() < 0.2:
                options["job_id"] = f"{self.name}-{len(self.added)}-{dice.random()}"
            rows.append(("job", {"fails": fails, "wait_ms": dice.choice([0, 0, 5, 50, 300])}, options))
        for row, job in zip(rows, queue.add_bulk(rows), strict=True):
            self.added[job.id] = row[1]["fails"]


def test_chaos(
    durable_server: RedisServer, queue_name: str, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    dice = random.Random(SEED)
    over = threading.Event()
    producers = [Adding(durable_server.url, queue_name, SEED + number, over) for number in range(2)]
    alive = workers.start_fleet(*FLAVOURS, lease_ms=1_500, concurrency=6)
    for producer in producers:
        producer.start()
    kills = 0
    ends_at = time.monotonic() + SECONDS
    try:
        while time.monotonic() < ends_at:
            time.sleep(dice.uniform(0.2, 1.0))
            alive.remove(victim := dice.choice(alive))
            if dice.random() < 0.75 or not victim.has_written("ready"):
                victim.kill()
                kills += 1
            else:
                assert victim.stop(within=60) == 0, victim.log_text()
            if dice.random() < 0.15:
                durable_server.client.script_flush("SYNC")
            alive.append(workers.launch(dice.choice(FORMS), lease_ms=1_500, concurrency=6))
    finally:
        over.set()
        for producer in producers:
            producer.join()
    assert [producer.failure for producer in producers] == [None, None]
    added = {job_id: fails for producer in producers for job_id, fails in producer.added.items()}
    wait_until(lambda: ledger.ended().keys() >= added.keys(), f"all ended; {ledger}", within=60)
    wait_until(state.is_empty, "acknowledged", within=60)

    assert kills > 3
    assert set(ledger.ended()) == set(added), "nothing ran that was not added"
    assert not state.dead()
    entries = durable_server.client.xinfo_stream(state.key("stream"))["entries-added"]
    assert entries == len(added) + sum(added.values()), "each entry was acknowledged, retried or moved once"
    for job_id, fails in added.items():
        rows = ledger.starts(job_id) if len(added) < 300 else []
        assert all(row["run"] <= fails + 1 for row in rows)
