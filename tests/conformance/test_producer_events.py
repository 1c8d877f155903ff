"""A queue that tells of its adds: ``waiting`` and ``delayed``, one for each job that was added and none besides."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chasquimq import BulkAddError, InvalidOptionTypeError, QueueOptions, RedisConnectionError, ServerReplyError, events
from chasquimq._core.keys import EVENTS_MAX_LEN
from tests.conformance.test_following import follow, take
from tests.conformance.test_trouble import has_retry_safe_adds
from tests.conformance.world import World


def told(world: World) -> list[tuple[str, str]]:
    return [(event["e"], event["id"]) for event in world.events()]


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
@pytest.mark.parametrize("options", [{}, {"attempts": 2}, {"job_id": "invoice-42"}, {"delay": 0}])
async def test_an_immediate_add_is_told_as_waiting(world: World, options: Any) -> None:
    async with world.queue(events=True) as queue:
        before = world.server_ms()
        job = await queue.add("発送", {"n": 1}, **options)
        unnamed = await queue.add("", 1)
    named, nameless = world.events()
    assert list(named) == ["e", "id", "ts", "n"]
    assert (named["e"], named["id"], named["n"]) == ("waiting", job.id, "発送")
    assert before - 1_000 <= int(named["ts"]) <= world.server_ms() + 1_000
    assert (list(nameless), nameless["id"]) == (["e", "id", "ts"], unnamed.id)
    assert len(world.stream()) == 2


@pytest.mark.parametrize("options", [{}, {"job_id": "invoice-42"}])
@pytest.mark.parametrize("delay", [60_000, timedelta(minutes=1)])
async def test_a_delayed_add_is_told_as_delayed(world: World, delay: Any, options: Any) -> None:
    async with world.queue(events=True) as queue:
        job = await queue.add("late", 1, delay=delay, **options)
    (event,) = world.events()
    assert list(event) == ["e", "id", "ts", "n", "delay_ms"]
    assert (event["e"], event["id"], event["n"], event["delay_ms"]) == ("delayed", job.id, "late", "60000")


async def test_an_instant_is_told_as_the_time_until_then(world: World) -> None:
    async with world.queue(events=True) as queue:
        job = await queue.add("late", 1, delay=datetime.now(UTC) + timedelta(minutes=1))
        await queue.add("at once", 1, delay=datetime.now(UTC) - timedelta(minutes=1))
    assert [event["e"] for event in world.events()] == ["delayed", "waiting"]
    assert int(world.events()[0]["delay_ms"]) == job.delay


@pytest.mark.parametrize("delay", [0, 60_000], ids=["immediate", "delayed"])
async def test_a_duplicate_is_not_told(world: World, delay: int) -> None:
    async with world.queue(events=True) as one, world.queue(events=True) as other:
        assert not (await one.add_unique("w", 1, job_id="x", delay=delay)).is_duplicate
        assert (await one.add_unique("w", 1, job_id="x", delay=delay)).is_duplicate
        assert (await other.add("w", 1, job_id="x", delay=delay)).is_duplicate
        jobs = await other.add_bulk([("w", 1, {"job_id": "x", "delay": delay})] * 3)
        assert all(job.is_duplicate for job in jobs)
    assert [job_id for _, job_id in told(world)] == ["x"]


def rows_of_every_kind(count: int) -> list[Any]:
    kinds: list[dict[str, Any] | None] = [None, None, {"delay": 60_000}, {"attempts": 2}, {"job_id": ""}, None]
    rows: list[Any] = []
    for number in range(count):
        options = kinds[number % len(kinds)]
        if options is not None and "job_id" in options:
            options = {"job_id": f"id-{number}", "delay": 60_000 * (number % 2)}
        rows.append(("row", number) if options is None else ("row", number, options))
    return rows


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
@pytest.mark.parametrize("defaults", [None, {"attempts": 5}], ids=["plain", "defaults"])
async def test_every_row_of_a_bulk_add_is_told_in_its_place(world: World, defaults: Any) -> None:
    async with world.queue(events=True, default_job_options=defaults) as queue:
        jobs = await queue.add_bulk(rows_of_every_kind(700))
        assert await queue.add_bulk((("w", number) for number in range(600)), return_jobs=False) == 600
    assert told(world)[:700] == [("delayed" if job.delay else "waiting", job.id) for job in jobs]
    assert len(world.events()) == 1_300
    assert len(world.stream()) + len(world.delayed()) == 1_300


async def test_rows_with_large_data_are_told_too(world: World) -> None:
    async with world.queue(events=True) as queue:
        jobs = await queue.add_bulk([("w", b"x" * 200_000)] * 5)
    assert told(world) == [("waiting", job.id) for job in jobs]


async def test_a_refused_row_is_not_told(world: World) -> None:
    async with world.queue(events=True) as queue:
        with pytest.raises(BulkAddError):
            await queue.add_bulk([("w", 1), ("w", object())])
        assert told(world) == []
        with pytest.raises(BulkAddError) as refused:
            await queue.add_bulk([*(("w", number) for number in range(300)), ("w", object()), ("w", 1)])
    assert (set(refused.value.errors), refused.value.added) == ({300}, 301)
    assert told(world) == [("waiting", job.id) for job in refused.value.jobs if job is not None]


async def test_rows_that_the_server_refuses_are_reported_and_not_told(world: World) -> None:
    world.admin.set(world.key("stream"), "of another program", ex=60)
    async with world.queue(events=True) as queue:
        for options in ({}, {"job_id": "x"}):
            with pytest.raises(ServerReplyError, match="WRONGTYPE"):
                await queue.add("w", 1, **options)
        with pytest.raises(BulkAddError) as refused:
            await queue.add_bulk([("w", 1), ("w", 2, {"delay": 60_000}), ("w", 3)])
    assert set(refused.value.errors) == {0, 2}
    assert [job is None for job in refused.value.jobs] == [True, False, True]
    assert [kind for kind, _ in told(world)] == ["delayed"]


async def test_an_event_that_cannot_be_written_does_not_keep_a_job_out(world: World) -> None:
    world.admin.set(world.key("events"), "of another program", ex=60)
    async with world.queue(events=True) as queue:
        jobs = [
            await queue.add("w", 1),
            await queue.add("w", 1, job_id="a"),
            await queue.add("w", 1, delay=60_000),
            await queue.add("w", 1, delay=60_000, job_id="b"),
            *await queue.add_bulk(rows_of_every_kind(12)),
        ]
    assert len(world.stream()) + len(world.delayed()) == len(jobs)


async def test_the_events_stream_is_trimmed(world: World) -> None:
    with world.admin.pipeline(transaction=False) as pipeline:
        for number in range(EVENTS_MAX_LEN + 1_000):
            pipeline.xadd(world.key("events"), {"e": "old", "id": str(number)})
        pipeline.execute()
    async with world.queue(events=True) as queue:
        await queue.add("w", 1)
    assert EVENTS_MAX_LEN < world.admin.xlen(world.key("events")) <= EVENTS_MAX_LEN + 200
    assert world.admin.xrevrange(world.key("events"), count=1)[0][1][b"e"] == b"waiting"


async def test_told_adds_are_worked_and_followed(world: World) -> None:
    async def handle(job: Any) -> None:
        """Nothing to do."""

    async with world.queue(events=True) as queue, follow(world) as following, world.worker(handle):
        at_once = await queue.add("fine", 1)
        waiting, active, completed = await take(following, 3)
        late = await queue.add("late", 1, delay=20)
        found = await take(following, 4)
    assert (type(active), type(completed)) == (events.Active, events.Completed)
    assert waiting == events.Waiting(event_id=waiting.event_id, ts=waiting.ts, job_id=at_once.id, name="fine")
    delayed = found.pop(0)
    assert delayed == events.Delayed(event_id=delayed.event_id, ts=delayed.ts, job_id=late.id, name="late", delay=20)
    assert {type(event) for event in found} == {events.Waiting, events.Active, events.Completed}


@pytest.mark.parametrize("given", [{}, {"events": False}, {"opts": QueueOptions(events=False)}])
async def test_without_the_switch_nothing_is_told(world: World, given: Any) -> None:
    async with world.queue(**given) as queue:
        await queue.add("w", 1)
        await queue.add("w", 1, delay=60_000)
        await queue.add("w", 1, job_id="x")
        await queue.add_bulk(rows_of_every_kind(20))
    assert not world.admin.exists(world.key("events"))


async def test_the_switch_is_a_flag(world: World) -> None:
    for wrong in ("yes", 1, []):
        with pytest.raises(InvalidOptionTypeError, match="events"):
            world.queue(events=wrong)


async def test_a_repeatable_spec_is_no_add(world: World) -> None:
    async with world.queue(events=True) as queue:
        await queue.add("tick", 1, repeat={"every": 60_000})
    assert told(world) == []


class LosesOneAnswer:
    """A proxy before the server. After ``lose()`` it hands over one request, drops its answer and the connection."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._is_losing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self) -> None:
        self._is_losing = True

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # which ends accept(), as close() alone would not
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            while request := client.recv(65_536):
                server.sendall(request)
                answer = server.recv(65_536)
                if self._is_losing:
                    self._is_losing = False
                    return
                client.sendall(answer)


@pytest.mark.parametrize("options", [{}, {"job_id": "x"}, {"delay": 60_000}], ids=["plain", "unique", "delayed"])
async def test_an_add_whose_answer_was_lost_is_told_once(world: World, options: Any, redis_server: Any) -> None:
    """It is sent again where that is safe; the second sending neither adds nor tells."""
    proxy = LosesOneAnswer(redis_server.port or 0)
    is_sent_again = bool(options) or has_retry_safe_adds(world)
    async with world.queue(connection=f"redis://127.0.0.1:{proxy.port}", events=True) as queue:
        await queue.add("w", 1, delay=60_000)
        await queue.add("w", 1, job_id="first")
        await queue.add("w", 1)
        proxy.lose()
        if is_sent_again:
            await queue.add("w", 2, **options)
        else:
            with pytest.raises(RedisConnectionError) as lost:
                await queue.add("w", 2, **options)
            assert lost.value.may_have_executed
    proxy.close()
    assert len(world.stream()) + len(world.delayed()) == 4
    assert len(told(world)) == 4
