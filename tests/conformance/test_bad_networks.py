"""Networks that are slow, that swallow what they are given, and that break under load."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from chasquimq import RedisConnectionError, RedisTimeoutError
from tests.conformance.test_following import follow, take, write
from tests.conformance.world import World
from tests.faults.proxy import FAIR, HOLE, Cut, Proxy, Weather
from tests.servers import RedisServer

HOW: list[Any] = ["close", "reset", "half"]
IMPATIENT_MS = 300
WEATHERS = {
    "late": Weather(pause_s=0.01),
    "in small pieces": Weather(piece=7),
    "byte by byte": Weather(piece=1),
}


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.port or 0) as proxy:
        yield proxy


def impatient(proxy: Proxy) -> dict[str, Any]:
    return {"url": proxy.url, "socket_timeout_ms": IMPATIENT_MS, "connect_timeout_ms": IMPATIENT_MS}


def stored(world: World) -> int:
    world.admin.ping()
    world.admin.ping()
    return int(world.admin.xlen(world.key("stream")))


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_slow_way_changes_nothing(world: World, proxy: Proxy, weather: str, way: Any) -> None:
    ran: list[int] = []

    async def handle(job: Any) -> str:
        ran.append(job.data)
        return f"result {job.data}"

    async with world.queue(connection=proxy.url) as queue:
        await queue.get_job_result("none")
        proxy.weather[way] = WEATHERS[weather]
        jobs = [await queue.add("w", 0), *await queue.add_bulk([("w", number) for number in range(1, 12)])]
        jobs += [await queue.add("w", 12, delay=1), await queue.add("w", 13, job_id="mine")]
        async with world.worker(handle, connection=proxy.url, store_results=True):
            await world.until(lambda: len(ran) == 14 and world.is_empty())
            for number, job in enumerate(jobs):
                assert await job.wait_for_result(interval_ms=5) == f"result {number}"
        proxy.weather[way] = FAIR
    assert sorted(ran) == list(range(14))
    await world.until(lambda: proxy.open_connections == 0)


async def test_an_add_bulk_that_was_cut_off_for_good_says_that_rows_are_there(
    own_world: World, own_server: RedisServer
) -> None:
    def rows() -> Iterator[Any]:
        for number in range(5_000):
            if number == 3_000:
                own_server.kill()
            yield "w", number

    async with own_world.queue() as queue:
        with pytest.raises(RedisConnectionError) as caught:
            await queue.add_bulk(rows())
    assert caught.value.may_have_executed
    assert not caught.value.safe_to_repeat
    (note,) = caught.value.__notes__
    assert 1_000 <= int(note.split()[1]) <= 3_000


@pytest.mark.parametrize("way", ["up", "down"])
async def test_an_add_into_a_hole_is_ambiguous_and_ends(world: World, proxy: Proxy, way: Any) -> None:
    """No answer within the time allowed: whether the request or the answer was swallowed cannot be known here."""
    async with world.queue(connection=impatient(proxy)) as queue:
        await queue.add("w", "before")
        for options in ({}, {"job_id": "mine"}):
            before = stored(world)
            proxy.weather[way] = HOLE
            with pytest.raises(RedisTimeoutError, match="did not answer") as caught:
                await queue.add("w", "swallowed", **options)
            proxy.weather[way] = FAIR
            assert caught.value.may_have_executed
            assert caught.value.safe_to_repeat is bool(options)
            assert stored(world) - before == (way == "down")
            if options:
                assert (await queue.add("w", "again", **options)).is_duplicate is (way == "down")
            await queue.add("w", "after")
        assert await queue.get_job_result("none") is None
    await world.until(lambda: proxy.open_connections == 0)


async def test_a_hole_from_the_first_word_on(world: World, proxy: Proxy) -> None:
    proxy.weather["down"] = HOLE
    async with world.queue(connection=impatient(proxy)) as queue:
        with pytest.raises(RedisTimeoutError, match="No command was sent") as caught:
            await queue.add("w", 1)
        assert not caught.value.may_have_executed
        proxy.weather["down"] = FAIR
        await queue.add("w", 2)
    assert len(world.stream()) == 1
    await world.until(lambda: proxy.open_connections == 0)


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_worker_climbs_out_of_a_hole(world: World, proxy: Proxy, way: Any) -> None:
    runs: Counter[int] = Counter()
    unsaid: list[int] = []

    async def handle(job: Any) -> None:
        if runs[job.data] and not job.redelivered:
            unsaid.append(job.data)
        runs[job.data] += 1
        await world.flavour.sleep(0.005)

    async with (
        world.queue() as queue,
        world.worker(handle, connection=impatient(proxy), lease_ms=1_000, drain_delay=200, concurrency=4) as worker,
    ):
        for hole in range(2):
            await queue.add_bulk([("w", 100 * hole + number) for number in range(100)])
            await world.until(lambda hole=hole: len(runs) > 100 * hole + 5)
            proxy.weather[way] = HOLE
            await world.flavour.sleep(2 * IMPATIENT_MS / 1000)
            proxy.weather[way] = FAIR
        await world.until(lambda: len(runs) == 200 and world.is_empty())
        assert worker.is_running()
        await world.until(lambda: proxy.open_connections <= 5)
    assert not unsaid
    assert not world.dead()
    await world.until(lambda: proxy.open_connections == 0)


async def test_a_worker_is_cut_off_again_and_again(world: World, proxy: Proxy) -> None:
    runs: Counter[int] = Counter()

    async def handle(job: Any) -> None:
        runs[job.data] += 1
        await world.flavour.sleep(0.002)

    async with world.queue() as queue, world.worker(handle, connection=proxy.url, lease_ms=500, concurrency=4):
        await queue.add_bulk([("w", number, {"delay": number % 3}) for number in range(300)])
        for severed in range(1, 12):
            await world.until(lambda severed=severed: len(runs) >= severed * 20)
            proxy.sever()
        await world.until(lambda: len(runs) == 300 and world.is_empty())
        await world.until(lambda: proxy.open_connections <= 5)
    assert not world.dead()
    await world.until(lambda: proxy.open_connections == 0)


@pytest.mark.parametrize("way", ["up", "down"])
async def test_events_are_read_once_wherever_the_reader_is_cut(world: World, proxy: Proxy, way: Any) -> None:
    """Its reads are cut a few bytes later each time; a reader waits longer after every failure in a row."""
    heard: list[str] = []
    async with follow(world, connection=proxy.url, blocking_timeout=50) as following:
        following.on("waiting", lambda event, _: heard.append(event.job_id))
        for number in range(12):
            proxy.cut = Cut(b"XREAD\r", way, 8 * number, HOW[number % 3])
            write(world, *range(10 * number, 10 * number + 10))
            await world.until(lambda number=number: len(heard) == 10 * number + 10)
            await world.until(lambda: proxy.cut is None)
        assert [event.job_id for event in await take(following, 120)] == heard
    assert heard == [str(number) for number in range(120)]
    await world.until(lambda: proxy.open_connections == 0)


async def test_no_answer_reaches_a_wrong_caller_when_shared_connections_break(world: World, proxy: Proxy) -> None:
    dice = random.Random(5)
    for number in range(50):
        world.admin.set(world.key(f"result:{number}"), msgpack.packb(number), ex=600)
    told: list[RedisConnectionError] = []
    answers: list[tuple[int, Any]] = []

    async def ask(queue: Any, number: int) -> None:
        for _ in range(15):
            try:
                answers.append((number, await queue.get_job_result(str(number))))
            except RedisConnectionError as error:
                told.append(error)

    async with world.queue(connection=proxy.url) as queue:
        for _ in range(8):
            marker = b"result:%d\r" % dice.randrange(50)
            proxy.cut = Cut(marker, "down", dice.randrange(1, 40), dice.choice(HOW), times=3)
            await world.flavour.together(*[lambda number=number: ask(queue, number) for number in range(50)])
        proxy.cut = None
    assert all(number == answer for number, answer in answers)
    assert len(answers) > 8 * 50 * 10
    assert all(error.safe_to_repeat for error in told)
    await world.until(lambda: proxy.open_connections == 0)
