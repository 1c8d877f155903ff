"""``job_id``: added once, for a known time, whoever adds it, and the caller learns which add won."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from chasquimq import InvalidJobIdError
from tests.conformance.world import World, command_calls

HOUR_S = 3600


@pytest.mark.parametrize("options", [{}, {"job_id": ""}, {"job_id": " \t"}, {"job_id": None}, {"opts": {"delay": 5}}])
async def test_add_unique_needs_an_id(world: World, options: Any) -> None:
    async with world.flavour.queue("q", connection="redis://127.0.0.1:1/0") as nowhere:
        with pytest.raises(InvalidJobIdError):
            await nowhere.add_unique("w", 1, **options)


@pytest.mark.parametrize("delay", [0, 60_000], ids=["immediate", "delayed"])
@pytest.mark.parametrize("method", ["add", "add_unique"])
@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_the_first_add_of_an_id_wins(world: World, method: str, delay: int) -> None:
    async with world.queue() as one, world.queue() as other:
        first = await getattr(one, method)("w", "first", job_id="invoice-42", delay=delay)
        again = await getattr(one, method)("w", "again", job_id="invoice-42", delay=delay)
        elsewhere = await getattr(other, method)("w", "elsewhere", opts={"job_id": "invoice-42", "delay": delay})
    assert [job.is_duplicate for job in (first, again, elsewhere)] == [False, True, True]
    assert {job.id for job in (first, again, elsewhere)} == {"invoice-42"}
    assert len(world.stream()) + len(world.delayed()) == 1


@pytest.mark.parametrize("delay", [0, 60_000], ids=["immediate", "delayed"])
async def test_of_many_at_once_one_wins(world: World, delay: int) -> None:
    async with world.queue() as one, world.queue() as other:
        jobs = await world.flavour.together(
            *[
                lambda queue=queue: queue.add_unique("w", "same data", job_id="x", delay=delay)
                for queue in [one, other] * 10
            ]
        )
    assert sorted(job.is_duplicate for job in jobs) == [False] + [True] * 19
    assert len(world.stream()) + len(world.delayed()) == 1


@pytest.mark.parametrize("delay", [0, 60_000], ids=["immediate", "delayed"])
async def test_the_very_same_job_added_twice_is_a_duplicate(world: World, delay: int) -> None:
    """Same id, data and time of submission: the two calls differ in nothing."""
    async with world.queue() as queue:
        jobs = [await queue.add_unique("w", 1, job_id="x", delay=delay, timestamp=1_000) for _ in range(2)]
    assert [job.is_duplicate for job in jobs] == [False, True]


@pytest.mark.parametrize(("first", "second"), [(0, 60_000), (60_000, 0)])
async def test_immediate_and_delayed_adds_share_the_ids(world: World, first: int, second: int) -> None:
    async with world.queue() as queue:
        assert not (await queue.add_unique("w", 1, job_id="x", delay=first)).is_duplicate
        assert (await queue.add_unique("w", 1, job_id="x", delay=second)).is_duplicate
    assert len(world.stream()) + len(world.delayed()) == 1


async def test_another_process_is_no_exception(world: World) -> None:
    program = (
        "import sys; from chasquimq import Queue\n"
        "with Queue(sys.argv[1], connection=sys.argv[2]) as queue:\n"
        "    print(queue.add_unique('w', 1, job_id='x').is_duplicate)"
    )

    def elsewhere() -> str:
        ran = subprocess.run(
            [sys.executable, "-c", program, world.name, world.url], capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()

    async with world.queue() as queue:
        assert await world.flavour.in_thread(elsewhere) == "False"
        assert (await queue.add_unique("w", 1, job_id="x")).is_duplicate
        assert await world.flavour.in_thread(elsewhere) == "True"


async def test_the_id_outlives_the_job_for_the_window(world: World) -> None:
    done: list[str] = []

    async def handle(job: Any) -> None:
        done.append(job.id)

    async with world.queue(dedup_window_ms=1000) as queue, world.worker(handle):
        await queue.add_unique("w", 1, job_id="x")
        await world.until(lambda: done and world.is_empty())
        assert (await queue.add_unique("w", 2, job_id="x")).is_duplicate
        await world.until(lambda: not world.admin.exists(world.key("dlid:x")))
        assert not (await queue.add_unique("w", 3, job_id="x")).is_duplicate
        await world.until(lambda: len(done) == 2)


@pytest.mark.parametrize(
    ("delay", "window", "seconds"),
    [
        (0, {}, HOUR_S),
        (60_000, {}, 60 + HOUR_S),
        (1_500, {}, 1 + HOUR_S),
        (300, {}, 1 + HOUR_S),
        (0, {"dedup_window_ms": 1_500}, 2),
        (60_000, {"dedup_window_ms": 10_000}, 70),
    ],
)
async def test_the_markers_expire_when_the_window_is_over(world: World, delay: int, window: Any, seconds: int) -> None:
    async with world.queue(**window) as queue:
        await queue.add_unique("w", 1, job_id="x", delay=delay)
    assert seconds - 1 <= world.admin.ttl(world.key("dlid:x")) <= seconds
    if delay:
        assert seconds - 1 <= world.admin.ttl(world.key("didx:x")) <= seconds
        assert world.admin.get(world.key("didx:x")) == world.delayed()[0][0]


async def test_promotion_deletes_the_cancel_index_and_keeps_the_marker(world: World) -> None:
    done: list[str] = []

    async def handle(job: Any) -> None:
        done.append(job.id)

    async with world.queue() as queue, world.worker(handle):
        await queue.add_unique("w", 1, job_id="x", delay=20)
        await world.until(lambda: done and not world.admin.exists(world.key("didx:x")))
        assert world.admin.exists(world.key("dlid:x"))
        assert (await queue.add_unique("w", 1, job_id="x", delay=20)).is_duplicate


@pytest.mark.parametrize("job_id", ["ünïcode:{x}\n\0", "i" * 5_000, "0"])
async def test_any_text_is_an_id(world: World, job_id: str) -> None:
    ran: list[str] = []

    async def handle(job: Any) -> None:
        ran.append(job.id)

    async with world.queue() as queue, world.worker(handle):
        for delay in (0, 1):
            await queue.add_unique("w", 1, job_id=job_id + str(delay), delay=delay)
        await world.until(lambda: len(ran) == 2)
    assert set(ran) == {job_id + "0", job_id + "1"}


async def test_ids_that_nobody_chose_need_no_marker(world: World) -> None:
    async with world.queue() as queue:
        await queue.add("w", 1)
        await queue.add("w", 1, delay=60_000)
    assert not list(world.admin.scan_iter(match=world.key("d") + "l?d:*"))


async def test_a_duplicate_in_one_round_trip(world: World) -> None:
    async with world.queue() as queue:
        await queue.add_unique("w", 1, job_id="x")
        await queue.add_unique("w", 1, job_id="x")
        world.admin.config_resetstat()
        await queue.add_unique("w", 1, job_id="x")
        assert command_calls(world.admin)["evalsha"] == 1
