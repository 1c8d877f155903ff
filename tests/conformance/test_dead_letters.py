"""The dead-letter queue as a producer sees it: look into it, put its jobs back."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from chasquimq import PayloadDecodeError
from tests.conformance.world import World, envelope


def bury(world: World, body: bytes, **fields: str) -> str:
    """Writes a dead letter as the wire format has it; its id."""
    known = {"source_id": "1-1", "reason": "unrecoverable"}
    return world.admin.xadd(world.key("dlq"), {"d": body, **known, **fields}).decode()


async def test_a_dead_letter_tells_everything_about_its_job(world: World) -> None:
    body = envelope("job-1", {"x": [1, b"\xff"]}, attempt=2)
    dlq_id = bury(world, body, n="boom", source_id="17-3", reason="retries_exhausted", detail="ValueError: no")
    async with world.queue() as queue:
        (letter,) = await queue.peek_dlq()
    assert (letter.dlq_id, letter.source_id, letter.reason) == (dlq_id, "17-3", "retries_exhausted")
    assert (letter.detail, letter.name, letter.payload) == ("ValueError: no", "boom", body)
    assert (letter.job_id, letter.data) == ("job-1", {"x": [1, b"\xff"]})
    assert "boom" in repr(letter)


async def test_peek_reads_the_oldest_and_moves_nothing(world: World) -> None:
    ids = [bury(world, envelope(f"j{n}", n)) for n in range(25)]
    async with world.queue() as queue:
        assert [letter.dlq_id for letter in await queue.peek_dlq()] == ids[:20]
        assert [letter.data for letter in await queue.peek_dlq(limit=3)] == [0, 1, 2]
        assert len(await queue.peek_dlq(100)) == 25
        assert await queue.peek_dlq(limit=0) == []
        for limit, error in ((-1, ValueError), ("3", TypeError)):
            with pytest.raises(error, match="limit"):
                await queue.peek_dlq(limit=limit)
    assert len(world.dead()) == 25


async def test_peek_survives_what_cannot_be_decoded(world: World) -> None:
    bury(world, b"\xc1\xc1", reason="decode_failed")
    world.admin.xadd(world.key("dlq"), {"something": "else"})
    async with world.queue() as queue:
        broken, empty = await queue.peek_dlq()
    assert (broken.job_id, broken.payload, broken.detail) == (None, b"\xc1\xc1", None)
    assert (empty.job_id, empty.payload, empty.name, empty.reason) == (None, b"", "", "")
    for letter in (broken, empty):
        with pytest.raises(PayloadDecodeError):
            _ = letter.data


async def test_an_empty_queue_has_no_dead_letters(world: World) -> None:
    async with world.queue() as queue:
        assert await queue.peek_dlq() == []
        assert await queue.replay_dlq() == 0


async def test_replay_puts_jobs_back_with_their_attempts_counted_anew(world: World) -> None:
    retry = [5, ["fixed", 10, None, None, None]]
    bury(world, envelope("a", 1, 1_600_000_000_000, 4, retry), n="named")
    bury(world, envelope("b", 2, attempt=2))
    async with world.queue() as queue:
        assert await queue.replay_dlq() == 2
    assert [fields for _, fields in world.stream()] == [
        {b"d": envelope("a", 1, 1_600_000_000_000, 0, retry), b"n": b"named"},
        {b"d": envelope("b", 2)},
    ]
    assert not world.dead()


async def test_replay_has_a_limit_and_takes_the_oldest(world: World) -> None:
    for number in range(250):
        bury(world, envelope(f"j{number}", number))
    async with world.queue() as queue:
        assert await queue.replay_dlq(limit=0) == 0
        assert await queue.replay_dlq(limit=7) == 7
        assert await queue.replay_dlq() == 100
        assert await queue.replay_dlq(limit=1000) == 143
    assert [msgpack.unpackb(fields[b"d"])[0] for _, fields in world.stream()] == [f"j{n}" for n in range(250)]


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_undecodable_entries_at_the_head_block_nobody(world: World) -> None:
    for _ in range(130):
        bury(world, b"\xc1", reason="decode_failed")
    bury(world, envelope("good", 1))
    async with world.queue() as queue:
        assert await queue.replay_dlq(limit=1) == 1
        assert await queue.replay_dlq() == 0
    assert len(world.dead()) == 130
    assert len(world.stream()) == 1


async def test_two_replays_at_once_move_each_entry_once(world: World) -> None:
    for number in range(300):
        bury(world, envelope(f"j{number}", number))
    async with world.queue() as one, world.queue() as other:
        moved = await world.flavour.together(*[lambda q=q: q.replay_dlq(limit=300) for q in (one, other, one, other)])
    assert sum(moved) == 300
    ids = [msgpack.unpackb(fields[b"d"])[0] for _, fields in world.stream()]
    assert sorted(ids) == sorted({f"j{n}" for n in range(300)})
    assert not world.dead()


async def test_the_whole_way_a_job_fails_is_seen_replayed_and_done(world: World) -> None:
    runs: list[tuple[int, str]] = []

    async def handle(job: Any) -> None:
        runs.append((job.attempts_made, job.id))
        if len(runs) == 1:
            raise ValueError("not today")

    async with world.queue() as queue, world.worker(handle, max_attempts=1):
        job = await queue.add("w", {"n": 1})
        await world.until(world.dead)
        (letter,) = await queue.peek_dlq()
        assert (letter.job_id, letter.name, letter.data) == (job.id, "w", {"n": 1})
        assert await queue.replay_dlq() == 1
        await world.until(lambda: len(runs) == 2 and world.is_empty())
    assert runs == [(1, job.id), (1, job.id)]
