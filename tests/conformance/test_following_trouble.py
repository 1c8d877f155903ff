"""QueueEvents in trouble: connections break, servers restart, streams are trimmed; nothing is lost in silence."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from chasquimq import RedisConnectionError, events
from chasquimq._core import feed
from tests.conformance.test_following import blocked, follow, handle, readers, take, write
from tests.conformance.world import World
from tests.servers import RedisServer


def kill(world: World, client_id: str) -> None:
    world.admin.client_kill_filter(_id=client_id)


def ids(found: list[events.QueueEvent]) -> list[str]:
    return [getattr(event, "job_id", event.event) for event in found]


def meanwhile(world: World, client_id: str, *job_ids: object, keep: int | None = None) -> None:
    """While the reader's connection is down: events are written, and the stream is trimmed to the last ``keep``."""
    with world.admin.pipeline(transaction=True) as pipeline:
        pipeline.execute_command("CLIENT", "KILL", "ID", client_id)
        for job_id in job_ids:
            pipeline.xadd(world.key("events"), {"e": "waiting", "id": str(job_id), "ts": "1"})
        if keep is not None:
            pipeline.xtrim(world.key("events"), maxlen=keep, approximate=False)
        pipeline.execute()


# -- connections ---------------------------------------------------------------------------------------------------


async def test_nothing_is_lost_when_connections_break(world: World) -> None:
    heard: list[str] = []
    errors: list[Exception] = []
    before = readers(world)
    async with follow(world) as following:
        following.on("waiting", lambda event, _: heard.append(event.job_id))
        following.on("error", errors.append)
        for start in range(0, 50, 10):
            client_id = await blocked(world, before)
            meanwhile(world, client_id, *range(start, start + 10))
            await world.until(lambda start=start: len(heard) == start + 10)
        found = await take(following, 50)
    assert heard == ids(found) == [str(number) for number in range(50)]
    assert len(errors) == 5
    assert all(isinstance(error, RedisConnectionError) for error in errors)


async def test_nothing_is_lost_while_jobs_run_and_connections_break(world: World) -> None:
    before = readers(world)
    async with follow(world) as following:
        found: list[events.QueueEvent] = []
        for kind in ("active", "completed"):
            following.on(kind, lambda event, _: found.append(event))
        async with world.queue() as queue, world.worker(handle):
            for _ in range(5):
                await queue.add_bulk([("w", number) for number in range(50)], return_jobs=False)
                for client_id in set(readers(world)) - set(before):
                    kill(world, client_id)
            await world.until(lambda: len(found) >= 500)
            written = [(event["e"], event["id"]) for event in world.events() if event["e"] in ("active", "completed")]
    assert [(event.event, event.job_id) for event in found] == written


async def test_a_server_that_restarts_is_survived(
    own_world: World, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    world = own_world
    errors: list[Exception] = []
    async with follow(world) as following:
        following.on("error", errors.append)
        write(world, 1)
        assert ids(await take(following, 1)) == ["1"]
        await world.flavour.in_thread(lambda: own_server.restart(kill=True))
        write(world, 2)
        assert ids(await take(following, 1)) == ["2"]
        await world.until(lambda: f"It works again: the events of {world.name!r} are read." in caplog.messages)
    assert len(errors) == 1, "an outage is told once, not at every attempt"
    told = [record for record in caplog.records if record.name == "chasquimq.events"]
    assert len(told) == 2, "its beginning and its end"


async def test_a_server_that_is_not_there_is_told_at_the_start(world: World) -> None:
    nowhere = {"connection": "redis://127.0.0.1:1"}
    with pytest.raises(RedisConnectionError):
        async with follow(world, **nowhere):
            pass
    for start in ("run", "wait_until_ready"):
        following = follow(world, **nowhere)
        with pytest.raises(RedisConnectionError):
            await getattr(following, start)()
        await following.close()


async def test_another_programs_key_is_told_and_survived(world: World) -> None:
    errors: list[Exception] = []
    before = readers(world)
    async with follow(world) as following:
        following.on("error", errors.append)
        await blocked(world, before)
        world.admin.set(world.key("events"), "not ours")
        for client_id in set(readers(world)) - set(before):
            kill(world, client_id)
        await world.until(lambda: errors)
        world.admin.delete(world.key("events"))
        await blocked(world, before)
        write(world, 1)
        assert ids(await take(following, 1)) == ["1"]


async def test_closing_while_there_is_no_server(own_world: World, own_server: RedisServer) -> None:
    errors: list[Exception] = []
    async with follow(own_world) as following:
        following.on("error", errors.append)
        await own_world.flavour.in_thread(own_server.stop)
        await own_world.until(lambda: errors)
        await following.close()
    await own_world.flavour.in_thread(own_server.start)


@pytest.mark.forms("asyncio", "trio")
async def test_closing_while_a_connection_is_opened_ends_the_reader(world: World) -> None:
    """It may not begin to read for a minute with a connection that came too late."""
    following = follow(world)
    await following.wait_until_ready()
    opened = following._client.dedicated

    async def too_late() -> Any:
        connection = await opened()
        await following.close()
        return connection

    following._client.dedicated = too_late
    async with world.flavour.beside(following.run):
        pass
    assert following.is_closed


@pytest.mark.forms("sync")
async def test_closing_from_a_listener_and_from_other_threads(world: World) -> None:
    following = follow(world, last_event_id="0")
    following.on("waiting", lambda event, event_id: following._target.close())
    write(world, 1)
    async with following:
        await world.until(lambda: following.is_closed)
    before = readers(world)
    other = follow(world)
    async with world.flavour.beside(other.run):
        await blocked(world, before)
        closer = threading.Thread(target=other._target.close)
        closer.start()
        closer.join()


# -- gaps ----------------------------------------------------------------------------------------------------------


async def test_a_gap_that_trimming_tore_is_told(world: World) -> None:
    gaps: list[tuple[events.Gap, str]] = []
    before = readers(world)
    async with follow(world) as following:
        following.on("gap", lambda gap, event_id: gaps.append((gap, event_id)))
        (last_read,) = write(world, 0)
        await take(following, 1)
        meanwhile(world, await blocked(world, before), *range(1, 11), keep=2)
        gap, *found = await take(following, 3)
        assert ids(found) == ["9", "10"]
        assert gap == events.Gap(event_id=found[0].event_id, after=last_read)
        assert gaps == [(gap, gap.event_id)]
        write(world, 11)
        assert ids(await take(following, 1)) == ["11"], "it is told once"


async def test_trimming_what_was_read_is_no_gap(world: World) -> None:
    before = readers(world)
    async with follow(world) as following:
        write(world, 0, 1, 2)
        await take(following, 3)
        meanwhile(world, await blocked(world, before), *range(3, 6), keep=4)
        assert ids(await take(following, 3)) == ["3", "4", "5"]


async def test_a_reader_that_lags_behind_is_told_of_a_gap(world: World) -> None:
    """Nobody interrupted it; it was only slower than the trimming."""
    following = follow(world, last_event_id="0")
    (last_read,) = write(world, "first")
    await take(following, 1)
    write(world, *range(1_000))
    world.admin.xtrim(world.key("events"), maxlen=400, approximate=False)
    gap, *found = await take(following, 401)
    assert gap == events.Gap(event_id=found[0].event_id, after=last_read)
    assert ids(found) == [str(number) for number in range(600, 1_000)]
    await following.close()


async def test_going_on_behind_an_event_that_was_trimmed_is_told(world: World) -> None:
    """The program was down for longer than the stream remembers."""
    (last_read, *_) = write(world, *range(10))
    world.admin.xtrim(world.key("events"), maxlen=3, approximate=False)
    following = follow(world, last_event_id=last_read)
    gap, *found = await take(following, 3)
    await following.close()
    assert gap == events.Gap(event_id=found[0].event_id, after=last_read)
    assert ids(found) == ["7", "8"]


async def test_events_that_nobody_iterates_over_are_dropped_and_that_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CAPACITY", 3)
    heard: list[str] = []
    async with follow(world) as following:
        following.on("waiting", lambda event, _: heard.append(event.job_id))
        written = write(world, *range(10))
        await world.until(lambda: len(heard) == 10)
        gap, *found = await take(following, 4)
    assert ids(found) == ["7", "8", "9"]
    assert isinstance(gap, events.Gap)
    assert (gap.event_id, gap.after) == (found[0].event_id, written[0])


@pytest.fixture
def blind(own_world: World, own_server: RedisServer) -> str:
    """The address of a user who may read events, but not look for gaps."""
    own_server.client.acl_setuser(
        "blind", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-xrange"]
    )
    return own_server.url.replace("redis://", "redis://blind:secret@")


async def test_a_look_for_a_gap_that_fails_loses_no_event(own_world: World, blind: str) -> None:
    world = own_world
    before = readers(world)
    async with follow(world, connection=blind) as following:
        write(world, 0)
        await take(following, 1)
        meanwhile(world, await blocked(world, before), 1, 2, 3)
        assert ids(await take(following, 3)) == ["1", "2", "3"]


# -- what others wrote ---------------------------------------------------------------------------------------------


async def test_entries_of_every_shape_are_told(world: World) -> None:
    client: redis.Redis = world.admin
    key = world.key("events")
    client.xadd(key, {"d": "x"})
    client.xadd(key, {"e": b"\xff", "id": b"\xfe"})
    client.xadd(key, {"e": "active", "id": "j", "ts": "soon", "attempt": "many"})
    client.xadd(key, {"e": "completed", "id": "j", "returnvalue": "[" * 100_000})
    client.xadd(key, {"e": "dlq", "id": "", "reason": "decode_failed"})
    following = follow(world, last_event_id="0")
    found = await take(following, 5)
    await following.close()
    kinds = [events.Unknown, events.Unknown, events.Active, events.Completed, events.Dlq]
    assert [type(event) for event in found] == kinds
    assert (found[2].ts, found[2].attempt) == (0, 0)
