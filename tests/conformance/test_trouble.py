"""Trouble with the server: what was accepted is done, and workers come back by themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from chasquimq import RedisConnectionError
from tests.conformance.world import GROUP, World
from tests.faults.proxy import Cut, Proxy
from tests.servers import RedisServer


class Handler:
    """Keeps what it was given."""

    def __init__(self) -> None:
        self.ran: list[Any] = []

    def __call__(self) -> Any:
        async def handle(job: Any) -> None:
            self.ran.append(job.data)

        return handle


def destroy_group(world: World) -> None:
    world.admin.xgroup_destroy(world.key("stream"), GROUP)


def delete_stream(world: World) -> None:
    world.admin.delete(world.key("stream"))


def flush_scripts(world: World) -> None:
    world.admin.script_flush()


def flush_everything(world: World) -> None:
    world.admin.flushall()


DAMAGE: list[Callable[[World], None]] = [destroy_group, delete_stream, flush_scripts, flush_everything]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("moment", ["idle", "running"])
async def test_a_worker_survives_what_happens_to_its_keys(
    world: World, damage: Callable[[World], None], moment: str
) -> None:
    started, gate = world.gate(), world.gate()
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        if job.data == "wait":
            started.open()
            await gate.passed()
        ran.append(job.data)

    async with world.queue() as queue, world.worker(handle, lease_ms=600, store_results=True) as worker:
        await queue.add("w", "first")
        await world.until(lambda: ran == ["first"] and world.is_empty())
        if moment == "running":
            await queue.add("w", "wait")
            await started.passed()
        damage(world)
        # A stream that was deleted may number its next entry as the one that runs, within the same millisecond; whoever
        # acknowledges the one then acknowledges the other.
        damaged_ms = world.server_ms()
        await world.until(lambda: world.server_ms() > damaged_ms)
        gate.open()
        await queue.add("w", "after")
        await queue.add("w", "later", delay=30)
        await queue.add_unique("w", "unique", job_id=f"{moment}-{damage.__name__}")
        await world.until(lambda: {"after", "later", "unique"} <= set(ran) and world.is_empty())
        assert worker.is_running()
    # The job that ran while its group was destroyed is still in the stream, so it may run again; the others run once.
    assert sorted(x for x in ran if x != "wait") == ["after", "first", "later", "unique"]
    assert not world.dead()


async def test_entries_that_wait_when_the_group_is_destroyed_are_not_lost(world: World) -> None:
    handler = Handler()
    async with world.queue() as queue:
        await queue.add_bulk([("w", number) for number in range(50)])
        world.admin.xgroup_create(world.key("stream"), GROUP, "$")
        destroy_group(world)
        async with world.worker(handler()):
            await world.until(lambda: len(handler.ran) == 50 and world.is_empty())
    assert sorted(handler.ran) == list(range(50))


def has_retry_safe_adds(world: World) -> bool:
    """Whether the server itself recognises an add that arrives twice (XADD IDMP, Redis 8.6)."""
    return bool(world.admin.command_list(pattern="xcfgset"))


async def test_a_killed_connection_costs_a_producer_nothing(world: World) -> None:
    told: list[RedisConnectionError] = []
    async with world.queue() as queue:
        for number in range(5):
            try:
                await queue.add("w", number)
            except RedisConnectionError as error:
                told.append(error)
            world.admin.client_kill_filter(_type="normal", skipme=True)
    assert 5 - len(told) <= len(world.stream()) <= 5
    # A server that cannot recognise a repeated add must not be asked twice; then the caller is told so.
    assert all(error.may_have_executed for error in told)
    assert not (told and has_retry_safe_adds(world))


async def test_an_add_with_an_id_survives_a_killed_connection_everywhere(world: World) -> None:
    async with world.queue() as queue:
        for number in range(5):
            assert not (await queue.add("w", number, job_id=f"j{number}")).is_duplicate
            world.admin.client_kill_filter(_type="normal", skipme=True)
    assert len(world.stream()) == 5


async def test_a_producer_that_was_idle_when_its_connection_was_closed_goes_on(world: World) -> None:
    async with world.queue() as queue:
        await queue.add("w", 1)
        world.admin.client_kill_filter(_type="normal", skipme=True)
        await world.flavour.sleep(0.5)
        await queue.add("w", 2)
    assert len(world.stream()) == 2


async def test_all_connections_killed_under_load(world: World) -> None:
    ran: list[int] = []
    total = 1_500

    async def handle(job: Any) -> None:
        ran.append(job.data)
        await world.flavour.sleep(0.001)

    async with world.queue() as queue:
        await queue.add_bulk([("w", number) for number in range(total)], return_jobs=False)
        async with world.worker(handle, concurrency=20, lease_ms=1_000) as worker:
            for kills in range(1, 6):
                await world.until(lambda n=kills: len(ran) > n * 100)
                world.admin.client_kill_filter(_type="normal", skipme=True)
            await world.until(world.is_empty)
            assert worker.is_running()
    assert set(ran) == set(range(total))
    assert not world.dead()
    # Each kill may repeat at most what was on its way to the worker: a read's reply that was lost is no run.
    assert len(ran) < total * 1.2


async def test_an_add_whose_answer_was_lost_may_have_been_done(world: World, redis_server: RedisServer) -> None:
    with Proxy(redis_server.port or 0) as proxy:
        async with world.queue(connection=proxy.url) as queue:
            await queue.add("w", 1)
            proxy.cut = Cut(b"XADD", "down", 0, times=9)
            with pytest.raises(RedisConnectionError) as lost:
                await queue.add("w", 2)
    assert len(world.stream()) == 2
    assert lost.value.may_have_executed is True


async def test_an_add_that_was_never_sent_has_not_been_done(own_world: World, own_server: RedisServer) -> None:
    own_server.kill()
    async with own_world.queue() as queue:
        with pytest.raises(RedisConnectionError) as refused:
            await queue.add("w", 1)
        assert refused.value.may_have_executed is False
        own_server.start()
        await queue.add("w", 2)
    assert len(own_world.stream()) == 1


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_a_server_that_crashes_and_comes_back_loses_nothing(
    own_world: World, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    world = own_world
    ran: list[Any] = []
    errors: list[Exception] = []
    total = 600

    async def handle(job: Any) -> None:
        ran.append(job.data)
        await world.flavour.sleep(0.002)

    worker = world.worker(handle, concurrency=10, lease_ms=1_000)
    worker.on("error", errors.append)
    async with world.queue() as queue, worker:
        await queue.add_bulk([("w", number) for number in range(total)])
        await queue.add("w", "delayed", delay=1_000)
        await world.until(lambda: len(ran) > 100)
        own_server.kill()
        await world.flavour.sleep(0.3)
        own_server.start()
        await world.until(lambda: set(ran) == {*range(total), "delayed"} and world.is_empty())
        await queue.add("w", "new")
        await world.until(lambda: "new" in ran and world.is_empty())
        assert worker.is_running()
        # Reader, acker and housekeeper each tell what they notice, and its end. A reader that waits for room meanwhile
        # notices nothing.
        await world.until(lambda: len(_all_clears(caplog)) == len(errors))
    assert errors
    assert all(isinstance(error, RedisConnectionError) for error in errors)
    assert not world.dead()
    assert len(set(_all_clears(caplog))) == len(errors)


def _all_clears(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if text.startswith("It works again: ")]


async def test_what_ended_while_the_server_was_away_is_acknowledged_later(
    own_world: World, own_server: RedisServer
) -> None:
    world = own_world
    started, gate = world.gate(), world.gate()
    runs: list[int] = []

    async def handle(job: Any) -> str:
        runs.append(job.deliveries)
        started.open()
        await gate.passed()
        return "kept"

    async with world.queue() as queue, world.worker(handle, store_results=True):
        job = await queue.add("w", 1)
        await started.passed()
        own_server.kill()
        gate.open()
        await world.flavour.sleep(0.3)
        own_server.start()
        assert await job.wait_for_result(timeout_ms=15_000, interval_ms=10) == "kept"
        await world.until(world.is_empty)
    assert runs == [0]


async def test_close_ends_while_the_server_is_away(own_world: World, own_server: RedisServer) -> None:
    handler = Handler()
    async with own_world.queue() as queue, own_world.worker(handler()) as worker:
        await queue.add("w", 1)
        await own_world.until(lambda: handler.ran and own_world.is_empty())
        own_server.kill()
        begun = time.monotonic()
        await worker.close()
        assert time.monotonic() - begun < 15


async def test_close_ends_while_the_server_is_frozen(own_world: World, own_server: RedisServer) -> None:
    connection = {"url": own_world.url, "socket_timeout_ms": 500, "connect_timeout_ms": 500}
    handler = Handler()
    async with own_world.worker(handler(), connection=connection, drain_delay=100) as worker:
        own_server.pause()
        begun = time.monotonic()
        await worker.close()
        assert time.monotonic() - begun < 15
        own_server.resume()


async def test_a_full_server_loses_no_job(own_world: World, own_server: RedisServer) -> None:
    """noeviction at maxmemory: adding is refused with its code; workers go on draining."""
    world = own_world
    done: list[Any] = []

    async def handle(job: Any) -> str:
        done.append(job.data)
        if job.name == "boom":
            raise ValueError
        return "r" * 1_000

    async with world.queue() as queue:
        await queue.add_bulk([("w", number) for number in range(50)])
        await queue.add("boom", "dead", attempts=1)
        await queue.add("boom", "again", attempts=2, backoff=1)
        world.admin.config_set("maxmemory", 1)
        with pytest.raises(RuntimeError, match="OOM") as refused:
            await queue.add("w", "refused")
        assert getattr(refused.value, "code", "") == "OOM"
        async with world.worker(handle, store_results=True):
            await world.until(lambda: len(world.dead()) == 2 and world.is_empty())
    assert sorted(map(str, done)) == sorted([*map(str, range(50)), "dead", "again", "again"])


async def test_a_server_that_answers_late_is_waited_for(own_world: World, own_server: RedisServer) -> None:
    handler = Handler()
    async with own_world.queue() as queue, own_world.worker(handler()) as worker:
        own_server.pause()
        threading.Timer(0.5, own_server.resume).start()
        await queue.add("w", 1)
        await own_world.until(lambda: handler.ran == [1] and own_world.is_empty())
        assert worker.is_running()


async def test_a_server_without_the_rights_to_look_around(own_world: World, own_server: RedisServer) -> None:
    """An ACL user who may touch the queue's keys and run scripts, and may not INFO, CONFIG, CLIENT or HELLO."""
    own_server.client.acl_setuser(
        "worker",
        enabled=True,
        passwords=["+secret"],
        keys=["{chasqui:*"],
        categories=["+@stream", "+@sortedset", "+@string", "+@list", "+@keyspace", "+@scripting"],
        commands=["+ping", "+time", "-info", "-config", "-client", "-hello", "-command"],
    )
    handler = Handler()
    options = {"connection": own_world.url.replace("redis://", "redis://worker:secret@")}
    async with own_world.queue(**options) as queue, own_world.worker(handler(), **options) as worker:
        await queue.add("w", 1)
        await queue.add("w", 2, delay=10)
        await queue.add_unique("w", 3, job_id="x")
        await own_world.until(lambda: len(handler.ran) == 3 and own_world.is_empty())
        begun = time.monotonic()
        await worker.close()
        assert time.monotonic() - begun < 10


async def test_a_worker_on_a_read_only_replica_says_so(own_world: World, own_server: RedisServer) -> None:
    own_server.client.replicaof("127.0.0.1", "1")
    with pytest.raises((RuntimeError, redis.ResponseError), match=r"READONLY|replica"):
        await own_world.worker(Handler()()).run()
    async with own_world.queue() as queue:
        with pytest.raises(RuntimeError, match="replica"):
            await queue.add("w", 1)
