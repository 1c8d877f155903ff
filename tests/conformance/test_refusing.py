"""Entries that cannot be run: set aside with the reason, while the others go on."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from tests.conformance.world import World, envelope

UNREADABLE: dict[str, bytes] = {
    "no MessagePack": b"\xc1\xc1",
    "empty": b"",
    "a number": b"\x01",
    "two elements": msgpack.packb(["id", b"\xc0"]),
    "six elements": msgpack.packb(["id", b"\xc0", 1, 0, None, None]),
    "id is a number": msgpack.packb([7, b"\xc0", 1, 0]),
    "negative attempt": msgpack.packb(["id", b"\xc0", 1, -1]),
    "cut off": envelope("id", "x" * 100)[:-20],
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_an_entry_that_is_no_job_is_set_aside(world: World, body: bytes) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    entry_id = world.put({b"d": body, b"n": b"named"})
    world.put({b"d": envelope("good", "good")})
    async with world.worker(handle):
        await world.until(lambda: ran == ["good"] and world.is_empty() and world.dead())
    ((letter),) = world.dead()
    assert (letter[b"d"], letter[b"source_id"], letter[b"reason"]) == (body, entry_id, b"decode_failed")
    # The name of what cannot be decoded cannot be trusted either (wire format, consumer).
    assert b"n" not in letter
    event = next(event for event in world.events() if event["e"] == "dlq")
    assert (event["id"], event["attempt"], event["reason"]) == ("", "0", "decode_failed")


async def test_an_entry_without_a_job_is_malformed(world: World) -> None:
    async def handle(job: Any) -> None: ...

    entry_id = world.put({b"x": b"y", b"n": b"named"})
    async with world.worker(handle):
        await world.until(lambda: world.is_empty() and world.dead())
    assert world.dead() == [
        {
            b"d": b"",
            b"source_id": entry_id,
            b"reason": b"malformed",
            b"detail": b"missing or non-bytes payload field",
        }
    ]


@pytest.mark.parametrize(("limit", "size"), [(None, 1_048_577), (1_000, 1_001)])
async def test_an_entry_that_is_too_large_is_not_decoded(world: World, limit: int | None, size: int) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    options = {} if limit is None else {"max_payload_bytes": limit}
    world.put({b"d": b"z" * size, b"n": b"huge"})
    world.put({b"d": envelope("good", "good")})
    async with world.worker(handle, **options):
        await world.until(lambda: ran and world.is_empty() and world.dead())
    ((letter),) = world.dead()
    assert (letter[b"reason"], letter[b"n"], len(letter[b"d"])) == (b"oversize_payload", b"huge", size)


async def test_data_that_cannot_be_decoded_counts_as_a_failed_run(world: World) -> None:
    """A newer producer may know more than this worker: it is tried again before it is given up."""
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    world.put({b"d": msgpack.packb(["odd", b"\xc1", 1, 0, [2, ["fixed", 1, None, None, None]]]), b"n": b"w"})
    async with world.worker(handle):
        await world.until(lambda: world.is_empty() and world.dead())
    assert ran == []
    ((letter),) = world.dead()
    assert (letter[b"reason"], letter[b"n"]) == (b"retries_exhausted", b"w")
    assert world.event_names("odd").count("failed") == 2


@pytest.mark.parametrize(("attempt", "limit"), [(2, 2), (5, 3), (0, 0)])
async def test_a_job_that_arrives_without_runs_left_is_not_run(world: World, attempt: int, limit: int) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    body = envelope("late", 1, 1, attempt, [limit, None])
    world.put({b"d": body, b"n": b"w"})
    async with world.worker(handle):
        await world.until(lambda: world.is_empty() and world.dead())
    assert ran == []
    ((letter),) = world.dead()
    assert (letter[b"d"], letter[b"n"], letter[b"reason"]) == (body, b"w", b"retries_exhausted")
    event = next(event for event in world.events() if event["e"] == "dlq")
    assert (event["id"], event["attempt"]) == ("late", str(attempt))


TOLERATED: dict[str, bytes] = {
    "four elements": envelope("t", 5),
    "three elements": msgpack.packb(["t", msgpack.packb(5), 1]),
    "retry is nil": envelope("t", 5, 1, 0, None),
    "a map": msgpack.packb({"id": "t", "payload": msgpack.packb(5), "created_at_ms": 1}),
    "a map with unknown keys": msgpack.packb({"id": "t", "payload": msgpack.packb(5), "created_at_ms": 1, "x": 1}),
    "id as bytes": msgpack.packb([b"t", msgpack.packb(5), 1, 0]),
    "bytes after it": envelope("t", 5) + b"more",
    "unknown backoff kind": envelope("t", 5, 1, 0, [None, ["Linear", 5, None, None, None]]),
    "multiplier as int": envelope("t", 5, 1, 0, [None, ["fixed", 5, None, 2, None]]),
}


@pytest.mark.parametrize("body", TOLERATED.values(), ids=TOLERATED.keys())
async def test_what_other_implementations_write_is_run(world: World, body: bytes) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append((job.id, job.data, job.opts.job_id))

    world.put({b"d": body})
    async with world.worker(handle):
        await world.until(lambda: ran and world.is_empty())
    assert ran == [("t", 5, "t")]
    assert not world.dead()


async def test_a_name_that_is_no_text_is_dropped_and_the_job_runs(world: World) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append((job.name, job.data))

    world.put({b"d": envelope("t", 5), b"n": b"\xff\xfe"})
    async with world.worker(handle):
        await world.until(lambda: ran and world.is_empty())
    assert ran == [("", 5)]
