"""A connection may break at any byte. Producers are told the truth about it, wherever it was.

Every exchange is repeated with the connection cut one byte later, first on the way to the server, then on the way back,
until it gets through. What is said is held against what the server has then.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from chasquimq import RedisConnectionError
from tests.conformance.world import World
from tests.faults.proxy import Cut, Proxy, Way
from tests.servers import RedisServer

MARK = "cut-me"
HOW = ("close", "reset", "half")
WAYS: tuple[Way, ...] = ("up", "down")
ADDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with an id": {"job_id": "id"},
    "delayed": {"delay": 5_000},
    "delayed for long": {"delay": 60_000},
    "delayed with an id": {"delay": 60_000, "job_id": "id"},
}
STEPS = {"plain": 1, "with an id": 1}
"""The other kinds go through the same code: every third byte of them will do."""


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.port or 0) as proxy:
        yield proxy


@asynccontextmanager
async def queue_through(world: World, proxy: Proxy) -> AsyncIterator[Any]:
    """A queue behind the proxy, connected, with every script known to the server."""
    async with world.queue(connection=proxy.url) as queue:
        for number, options in enumerate(ADDS.values()):
            identity = {"job_id": f"first-{number}"} if "job_id" in options else {}
            await queue.add("w", 0, **{**options, **identity})
        yield queue


def count(world: World) -> int:
    """How many jobs there are. What the server has received of a broken connection is dealt with when it has
    answered twice."""
    world.admin.ping()
    world.admin.ping()
    return int(world.admin.xlen(world.key("stream")) + world.admin.zcard(world.key("delayed")))


def cuts(marker: str, way: Way, step: int, times: int) -> Iterator[Cut]:
    """One after the other, until one is beyond the end of the exchange."""
    for at in itertools.count(0, step):
        yield (cut := Cut(marker.encode(), way, at, HOW[at // step % 3], times))
        if not cut.fired:
            assert at > (cut.length if way == "up" else 0)
            return


async def outcome(attempt: Callable[[], Awaitable[Any]]) -> RedisConnectionError | None:
    try:
        await attempt()
    except RedisConnectionError as error:
        return error
    return None


@pytest.mark.parametrize("times", [1, 9], ids=["once", "always"])
@pytest.mark.parametrize("kind", ADDS)
async def test_an_add_cut_at_every_byte(world: World, proxy: Proxy, kind: str, times: int) -> None:
    ids = itertools.count()
    told = 0
    async with queue_through(world, proxy) as queue:
        for way in WAYS:
            for cut in cuts(MARK, way, STEPS.get(kind, 3) if times == 1 else 23, times):
                options = dict(ADDS[kind])
                if "job_id" in options:
                    options["job_id"] = f"id-{next(ids)}"
                before = count(world)
                proxy.cut = cut
                error = await outcome(lambda options=options: queue.add("w", MARK, **options))
                proxy.cut = None
                there = count(world) - before
                place = f"{way} {cut.at}: {error}"
                if error is None:
                    assert there == 1, place
                    continue
                told += 1
                assert there in ((0, 1) if error.may_have_executed else (0,)), place
                if error.safe_to_repeat:
                    again = await queue.add("w", MARK, **options)
                    assert count(world) - before == 1, place
                    assert again.is_duplicate is (there == 1), place
                assert await queue.get_job_result("none") is None
    # Cut once, what is safe to send again comes through unseen; cut for ever, nothing does.
    assert told > 0 if times > 1 else True
    await world.until(lambda: proxy.open_connections == 0)


async def test_a_bulk_add_cut_at_every_byte(world: World, proxy: Proxy) -> None:
    numbers = itertools.count()
    async with queue_through(world, proxy) as queue:
        for way in WAYS:
            for cut in cuts(MARK, way, 3, 1):
                number = next(numbers)
                rows = [("w", MARK, {**options}) for options in ADDS.values()]
                for _, _, options in rows:
                    if "job_id" in options:
                        options["job_id"] = f"{number}-{options.get('delay', 0)}"
                before = count(world)
                proxy.cut = cut
                error = await outcome(lambda rows=rows: queue.add_bulk(rows))
                proxy.cut = None
                there = count(world) - before
                place = f"{way} {cut.at}: {error}"
                if error is None:
                    assert there == len(rows), place
                else:
                    assert 0 <= there <= len(rows), place
                    assert there == 0 or error.may_have_executed, place
                    assert "rows were confirmed" in "".join(error.__notes__)
                assert await queue.get_job_result("none") is None
    await world.until(lambda: proxy.open_connections == 0)


@pytest.mark.parametrize("times", [1, 9], ids=["once", "always"])
async def test_a_handshake_cut_anywhere(world: World, proxy: Proxy, times: int) -> None:
    """Nothing of the user's has been sent then, and another attempt is made."""
    for way in WAYS:
        for cut in cuts("HELLO", way, 67 if times == 1 else 301, times):
            before = count(world)
            async with world.queue(connection={"url": proxy.url, "connect_timeout_ms": 2_000}) as queue:
                proxy.cut = cut
                error = await outcome(lambda queue=queue: queue.add("w", MARK))
                proxy.cut = None
                place = f"{way} {cut.at}: {error}"
                there = count(world) - before
                if error is not None and error.may_have_executed:
                    assert way == "down", place
                    assert there == 1, place
                    break  # the handshake was answered in fewer bytes, and the cut has hit the answer to the add
                assert there == (error is None), place
                assert error is None or times > 1, place
    await world.until(lambda: proxy.open_connections == 0)


async def test_no_row_of_a_long_bulk_add_is_doubled(world: World, proxy: Proxy) -> None:
    """Several buffers are under way when the connection breaks; those before the break may have been executed."""
    for number in range(24):
        world.admin.delete(world.key("stream"))
        rows = [("w", f"row-{n}-of-{number}") for n in range(1_500)]
        async with world.queue(connection=proxy.url) as queue:
            await queue.get_job_result("none")  # the connection is there
            proxy.cut = Cut(f"row-{50 * number}-of".encode(), WAYS[number % 2], 700 * number, HOW[number % 3])
            error = await outcome(lambda queue=queue, rows=rows: queue.add_bulk(rows, return_jobs=False))
            proxy.cut = None
            count(world)
            stored = [msgpack.unpackb(msgpack.unpackb(fields[b"d"])[1]) for _, fields in world.stream()]
            assert len(stored) == len(set(stored))
            if error is None:
                assert len(stored) == len(rows)
            else:
                confirmed = int(re.search(r"(\d+) rows were confirmed", "".join(error.__notes__))[1])
                assert set(stored) >= {data for _, data in rows[:confirmed]}
                assert not stored or error.may_have_executed
    await world.until(lambda: proxy.open_connections == 0)
