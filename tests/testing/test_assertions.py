"""What is in a queue, as a test sees it."""

from __future__ import annotations

from typing import Any

import pytest

import chasquimq.testing
import chasquimq.testing.aio
import chasquimq.testing.sync
from chasquimq import InvalidOptionError
from tests.conformance.world import World


async def test_what_is_enqueued(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        assert await testing.enqueued(queue) == []
        welcome = await queue.add("welcome", {"to": "ada"}, attempts=4)
        await queue.add("reminder", None, delay=3_600_000, job_id="r-1")
        await queue.add("reminder", None, delay=60_000)
        world.put({b"other": b"no job"})
        world.admin.zadd(world.key("delayed"), {b"no": 1})
        first, soon, later = await testing.enqueued(queue)
        assert (first.id, first.name, first.data, first.max_attempts) == (welcome.id, "welcome", {"to": "ada"}, 4)
        assert (first.is_delayed, first.failed_runs, first.due_ms) == (False, 0, None)
        assert soon.due_ms < later.due_ms
        assert later.id == "r-1"
        assert [job.name for job in await testing.enqueued(queue, "reminder")] == ["reminder", "reminder"]


async def test_an_assertion_finds_the_job(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        await queue.add("welcome", {"to": "ada"})
        await queue.add("welcome", {"to": "bob"}, delay=60_000, job_id="b")
        assert (await testing.assert_enqueued(queue, "welcome", {"to": "bob"})).id == "b"
        await testing.assert_enqueued(queue)
        await testing.assert_enqueued(queue, job_id="b", is_delayed=True, count=1)
        await testing.assert_enqueued(queue, "welcome", count=2)
        await testing.assert_not_enqueued(queue, "goodbye")
        await testing.assert_not_enqueued(queue, "welcome", {"to": "eve"})
        await testing.assert_not_enqueued(queue, data={"to": "ada"}, is_delayed=True)


@pytest.mark.parametrize(
    "wanted",
    [{"name": "goodbye"}, {"data": 1}, {"job_id": "x"}, {"is_delayed": True}, {"name": "welcome", "count": 2}],
    ids=str,
)
async def test_an_assertion_that_fails_shows_what_is_there(testing: Any, world: World, wanted: dict[str, Any]) -> None:
    async with world.queue() as queue:
        await queue.add("welcome", {"to": "ada"})
        with pytest.raises(AssertionError, match=r"(?s)expected .* found \d.*'welcome' {'to': 'ada'}"):
            await testing.assert_enqueued(queue, **wanted)


async def test_the_queue_is_to_be_empty(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        await testing.assert_not_enqueued(queue)
        with pytest.raises(AssertionError, match="nothing"):
            await testing.assert_enqueued(queue)
        await queue.add("welcome", 1)
        with pytest.raises(AssertionError, match="of any kind, found 1"):
            await testing.assert_not_enqueued(queue)
        with pytest.raises(InvalidOptionError):
            await testing.assert_enqueued(queue, count=0)


async def test_data_that_is_not_messagepack_is_still_there(testing: Any, world: World) -> None:
    import msgpack

    world.put({b"d": msgpack.packb(["id", b"\xc1", 1, 0])})
    async with world.queue() as queue:
        [job] = await testing.enqueued(queue)
        assert job.payload == b"\xc1"
        assert "xc1" in str(job)
        await testing.assert_not_enqueued(queue, data=1)


async def test_clearing_leaves_other_queues_alone(testing: Any, world: World) -> None:
    other = "{chasqui:" + world.name[:-1] + "x}:stream"
    world.admin.xadd(other, {"d": b""})
    world.admin.set(world.key("result:[a]*"), b"1", ex=60)
    try:
        async with world.queue() as queue:
            await queue.add("n", 1, delay=60_000, job_id="d")
            await queue.add("n", 2)
            assert await testing.clear(queue) >= 5
            await testing.assert_not_enqueued(queue)
        assert list(world.admin.scan_iter(match=world.key("*"))) == []
        assert world.admin.exists(other)
    finally:
        world.admin.delete(other)


def test_both_forms_have_the_same_words() -> None:
    assert chasquimq.testing.aio.__all__ == chasquimq.testing.sync.__all__
    assert set(chasquimq.testing.sync.__all__) < set(chasquimq.testing.__all__)
    for name in chasquimq.testing.sync.__all__:
        ours, theirs = getattr(chasquimq.testing.sync, name), getattr(chasquimq.testing.aio, name)
        assert ours.__doc__ == theirs.__doc__
        assert ours.__doc__
