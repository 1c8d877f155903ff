"""The ends of jobs that take a while gather for a moment, and are written together."""

from __future__ import annotations

from typing import Any

import pytest

from chasquimq._core import reading
from tests.conformance.world import World, command_calls

pytestmark = pytest.mark.forms("sync", "asyncio", "trio", "uvloop")

JOBS = 40


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every pace ends gather, and so long that nothing can be mistaken for it."""
    monkeypatch.setattr(reading, "GATHERING_MS", 1_000.0)
    monkeypatch.setattr(reading, "SLOWEST_GATHERING", 0.0)
    monkeypatch.setattr(reading, "FASTEST_GATHERING", float("inf"))


def writes_of_ends(world: World) -> int:
    """Ends are written by scripts where the server has no XACKDEL; a few scripts are the housekeeper's."""
    calls = command_calls(world.admin)
    return calls.get("xackdel", 0) + calls.get("evalsha", 0)


async def _run(world: World, **options: Any) -> None:
    ended: list[int] = []

    async def handle(job: Any) -> None:
        await world.flavour.sleep(0.01 * job.data)
        ended.append(job.data)

    async with world.queue() as queue:
        await queue.add_bulk([("w", number) for number in range(JOBS)])
        world.admin.config_resetstat()
        async with world.worker(handle, concurrency=JOBS, **options):
            await world.until(lambda: len(ended) == JOBS and world.is_empty())


async def test_ends_that_follow_one_another_are_written_together(own_world: World) -> None:
    await _run(own_world)
    assert writes_of_ends(own_world) <= JOBS / 4


async def test_whoever_stores_results_writes_at_once(own_world: World) -> None:
    await _run(own_world, store_results=True)
    assert writes_of_ends(own_world) > JOBS / 4


async def test_whoever_acknowledges_each_job_writes_at_once(own_world: World) -> None:
    await _run(own_world, ack="each")
    assert writes_of_ends(own_world) > JOBS / 4


async def test_what_gathers_is_written_when_the_worker_closes(own_world: World) -> None:
    ended: list[Any] = []

    async def handle(job: Any) -> None:
        ended.append(job.data)

    async with own_world.queue() as queue, own_world.worker(handle):
        await queue.add("w", 1)
        await own_world.until(lambda: ended)
    assert own_world.is_empty()
    assert not own_world.pending()
