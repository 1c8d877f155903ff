"""Delayed jobs: how a delay is said, where the job waits, and that it comes out on time by the server's clock."""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chasquimq import InvalidJobIdError, NotSupportedError
from tests.conformance.world import World, envelope


def member(name: bytes, body: bytes) -> bytes:
    return struct.pack("<I", len(name)) + name + body


@pytest.mark.parametrize("delay", [60_000, 60_000.7, timedelta(minutes=1)])
async def test_a_delayed_job_waits_in_the_sorted_set(world: World, delay: Any) -> None:
    async with world.queue() as queue:
        before = world.server_ms()
        job = await queue.add("発送", [1, 2], delay=delay)
        after = world.server_ms()
    ((found, due),) = world.delayed()
    assert found == member("発送".encode(), envelope(job.id, [1, 2], job.timestamp))
    assert before + 60_000 <= due <= after + 60_000
    assert (job.delay, job.is_delayed()) == (60_000, True)
    assert not world.stream()


async def test_an_instant_is_kept_exactly(world: World) -> None:
    at = datetime.now(UTC).replace(microsecond=123_000) + timedelta(hours=1)
    async with world.queue() as queue:
        job = await queue.add("w", 1, delay=at)
    ((_, due),) = world.delayed()
    assert due == int(at.timestamp() * 1000)
    assert 3_590_000 < job.delay <= 3_601_000


@pytest.mark.parametrize(
    "delay", [0, 0.5, timedelta(0), datetime(2020, 1, 1, tzinfo=UTC)], ids=["0", "less than 1 ms", "timedelta", "past"]
)
async def test_no_delay_and_a_time_gone_by_mean_at_once(world: World, delay: Any) -> None:
    async with world.queue() as queue:
        await queue.add("w", 1, delay=delay)
    assert (len(world.stream()), len(world.delayed())) == (1, 0)


async def test_the_longest_delay_can_be_raised(world: World) -> None:
    async with world.queue(max_delay_ms=0) as queue:
        await queue.add("w", 1, delay=timedelta(days=400))
    async with world.queue(max_delay_ms=1000) as queue:
        with pytest.raises(ValueError, match="max_delay_ms"):
            await queue.add("w", 1, delay=1001)


async def test_a_delayed_job_runs_when_it_is_due_and_not_before(world: World) -> None:
    ran_at: list[int] = []

    async def handle(job: Any) -> None:
        ran_at.append(world.server_ms())

    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", 1, delay=300)
        ((_, due),) = world.delayed()
        await world.until(lambda: ran_at and world.is_empty())
    assert due <= ran_at[0] <= due + 2000
    assert len(ran_at) == 1


async def test_an_earlier_job_added_later_wakes_the_promoter(world: World) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append((job.data, world.server_ms()))

    async with world.queue() as queue, world.worker(handle):
        await world.flavour.sleep(0.2)  # the worker has looked and found nothing; its next slow look is 2 s away
        begun = time.monotonic()
        await queue.add("w", "far", delay=3_600_000)
        await world.until(lambda: world.admin.exists(world.key("promoter:lock")))
        assert time.monotonic() - begun < 1.5
        await queue.add("w", "near", delay=100)
        due = min(score for _, score in world.delayed())
        await world.until(lambda: ran)
    ((data, at),) = ran
    assert (data, due <= at < due + 1000) == ("near", True)


async def test_a_delayed_job_of_a_foreign_producer_is_found(world: World) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append((job.name, job.data, job.id))

    async with world.worker(handle):
        await world.flavour.sleep(0.1)  # the worker has looked and found nothing; nobody will wake it
        due = world.server_ms() + 50
        world.admin.zadd(world.key("delayed"), {member(b"n", envelope("foreign", {"x": 1})): due})
        await world.until(lambda: ran)
    assert ran == [("n", {"x": 1}, "foreign")]


async def test_jobs_become_due_in_the_order_of_their_times(world: World) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    async with world.queue() as queue:
        await queue.add_bulk([("w", n, {"delay": delay}) for n, delay in ((3, 90), (1, 30), (2, 60))])
        async with world.worker(handle, concurrency=1):
            await world.until(lambda: len(ran) == 3)
    assert ran == [1, 2, 3]


async def test_more_jobs_than_one_batch_become_due_at_once(world: World) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    async with world.queue() as queue:
        await queue.add_bulk([("w", n, {"delay": 1}) for n in range(700)], return_jobs=False)
        async with world.worker(handle, events=False):
            await world.until(lambda: len(ran) >= 700 and world.is_empty())
    assert sorted(ran) == list(range(700))


@pytest.mark.parametrize("bytes_", [b"", b"abc", struct.pack("<I", 500) + b"short"], ids=["empty", "short", "beyond"])
async def test_a_malformed_delayed_entry_is_set_aside_and_stops_nobody(world: World, bytes_: bytes) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    world.admin.zadd(world.key("delayed"), {bytes_: 1})
    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", "good", delay=50)
        await world.until(lambda: ran == ["good"] and world.is_empty())
    ((letter),) = world.dead()
    assert (letter[b"d"], letter[b"reason"]) == (bytes_, b"malformed")


# -- taking a delayed job back -----------------------------------------------------------------------------------------


async def test_a_delayed_job_with_an_id_can_be_removed_and_added_again(world: World) -> None:
    async with world.queue() as queue:
        await queue.add("w", 1, job_id="d-1", delay=60_000)
        assert await queue.remove("d-1") == 1
        assert world.is_empty()
        assert not world.admin.exists(world.key("dlid:d-1"), world.key("didx:d-1"))
        with pytest.raises(NotSupportedError, match="d-1"):
            await queue.remove("d-1")
        assert not (await queue.add("w", 1, job_id="d-1", delay=60_000)).is_duplicate


async def test_what_cannot_be_removed_says_so(world: World) -> None:
    async with world.queue() as queue:
        in_stream = await queue.add("w", 1, job_id="s-1")
        without_id = await queue.add("w", 1, delay=60_000)
        for job_id in (in_stream.id, without_id.id, "never-heard-of"):
            with pytest.raises(NotSupportedError):
                await queue.remove(job_id)
        with pytest.raises(InvalidJobIdError):
            await queue.remove(" ")
    assert (len(world.stream()), len(world.delayed())) == (1, 1)


async def test_a_promoted_job_cannot_be_removed_any_more(world: World) -> None:
    started, gate = world.gate(), world.gate()

    async def handle(job: Any) -> None:
        started.open()
        await gate.passed()

    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", 1, job_id="p-1", delay=20)
        await started.passed()
        with pytest.raises(NotSupportedError):
            await queue.remove("p-1")
        gate.open()
    assert world.is_empty()
