"""A worker's connection may break at any byte of a read or of an acknowledgement: it goes on by itself, and every job
runs and is acknowledged.

Each form takes another third of the offsets; with ``CHASQUIMQ_EVERY_BYTE=1`` each takes all of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from tests.conformance.flavours import EVERY_FORM, POLL_S, Flavour
from tests.conformance.world import World, envelope
from tests.conftest import remove_keys
from tests.faults.proxy import Cut, Proxy, Way
from tests.servers import RedisServer

LANES = 12
"""Workers at the same time, each with a queue and a proxy of its own: after a cut they rest for a moment."""
HOW = ("close", "reset", "half")
FURTHEST = 2_000
LEASES_MS = {"read": 300, "ack": 30_000}
"""Entries whose read was cut come again when their lease is over. A renewal, which names the entry too, must not be
taken for its acknowledgement."""
ARRIVES_S = 1.0
"""So long after the server has done its part, an answer that has not come to the offset does not reach it."""
EXCHANGES: dict[str, tuple[str, Way, int]] = {
    "the read": ("read", "up", 100),
    "its answer": ("read", "down", 100),
    "the acknowledgement": ("ack", "up", 200),
    "its answer too": ("ack", "down", 40),
}
"""What is cut, on which way, and how many bytes it has at least."""


class Lane:
    """One worker, whose connection is cut again and again."""

    def __init__(self, world: World, proxy: Proxy, what: str, way: Way) -> None:
        self.world, self.proxy, self.what, self.way = world, proxy, what, way
        self.runs: Counter[str] = Counter()
        self.unsaid: list[str] = []
        self.started, self.gate = world.gate(), world.gate()

    async def handle(self, job: Any) -> None:
        if self.runs[job.id] and not job.redelivered:
            self.unsaid.append(job.id)
        self.runs[job.id] += 1
        self.started.open()
        await self.gate.passed()

    def put(self, job_id: str) -> bytes:
        return self.world.put({b"d": envelope(job_id, "data"), b"n": b"w"})

    async def cut_at(self, at: int) -> bool:
        """One job while the connection breaks there; False: that is beyond the end of the exchange."""
        job_id = f"job-{at}"
        cut = Cut(b"XREADGROUP", self.way, at, HOW[at % 3])
        self.started, self.gate = self.world.gate(), self.world.gate()
        if self.what == "read":
            self.gate.open()
            self.proxy.cut = cut
            self.put(f"before-{at}")  # it ends the read that stands already
            self.put(job_id)
        else:
            cut.marker = self.put(job_id)
            await self.started.passed()
            self.proxy.cut = cut
            self.gate.open()
        await self.world.until(lambda: self.runs[job_id] and self.world.is_empty(), f"{job_id} ends; {cut}")
        assert not self.world.pending()
        has_fired = await self._fires(cut)
        self.proxy.cut = None
        if cut.withheld and self.what == "ack":
            # The worker says again what it has not been answered; else the next job's end would go along with it.
            await self.world.until(lambda: self.proxy.accepted > cut.accepted, "it connects again")
        return has_fired

    async def _fires(self, cut: Cut) -> bool:
        for _ in range(int(ARRIVES_S / POLL_S)):
            if cut.fired:
                return True
            await self.world.flavour.sleep(POLL_S)
        return False


def offsets(flavour: Flavour) -> Iterator[int]:
    if os.environ.get("CHASQUIMQ_EVERY_BYTE"):
        return iter(range(FURTHEST))
    return iter(range(EVERY_FORM.index(flavour.name), FURTHEST, len(EVERY_FORM)))


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_worker_cut_at_every_byte(
    world: World, redis_server: RedisServer, admin: redis.Redis, exchange: str
) -> None:
    what, way, least = EXCHANGES[exchange]
    left = offsets(world.flavour)
    ended: list[int] = []

    async def drive(lane: Lane) -> None:
        handler = world.flavour.handler(lane.handle)
        options = {"connection": lane.proxy.url, "lease_ms": LEASES_MS[what], "drain_delay": 200}
        async with lane.world.worker(handler, **options) as worker:
            for at in left:
                if ended:
                    break
                if not await lane.cut_at(at):
                    ended.append(at)
            assert worker.is_running()
        assert not lane.unsaid
        assert not lane.world.dead()
        await lane.world.until(lambda: lane.proxy.open_connections == 0)

    with ExitStack() as stack:
        lanes = []
        for number in range(LANES):
            own = World(world.flavour, world.url, f"{world.name}-{number}", admin)
            stack.callback(remove_keys, admin, own.name)
            lanes.append(Lane(own, stack.enter_context(Proxy(redis_server.port or 0)), what, way))
        await world.flavour.together(*[lambda lane=lane: drive(lane) for lane in lanes])
    assert min(ended) > least, "it was not cut at every byte"
