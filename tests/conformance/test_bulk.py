"""add_bulk: any mix of rows, in order, in one pass, with the books on every row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from chasquimq import BulkAddError, BulkJob, ClosedError, JobsOptions, NotSupportedError
from tests.conformance.world import World, command_calls


def names(world: World) -> list[bytes]:
    return [fields.get(b"n", b"") for _, fields in world.stream()]


def data(body: bytes) -> Any:
    return msgpack.unpackb(msgpack.unpackb(body)[1])


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_every_form_of_a_row_and_every_mix_of_options_in_order(world: World) -> None:
    world.admin.script_flush()  # also on a server that sees the library's scripts for the first time
    async with world.queue() as queue:
        jobs = await queue.add_bulk(
            [
                ("a", 1),
                ["b", 2],
                ("c", 3, {"attempts": 7}),
                ("d", 4, JobsOptions(job_id="id-d")),
                {"name": "e", "data": 5},
                {"name": "f", "data": 6, "opts": {"delay": 60_000}},
                {"name": "g"},
                BulkJob("h", 8),
                BulkJob("i", 9, {"job_id": "id-i", "delay": 60_000}),
                ("", b"\x00\xff"),
            ]
        )
    assert [(job.name, job.data) for job in jobs] == [
        *zip("abcdefghi", [1, 2, 3, 4, 5, 6, None, 8, 9], strict=True),
        ("", b"\x00\xff"),
    ]
    assert (jobs[3].id, jobs[8].id, jobs[5].delay) == ("id-d", "id-i", 60_000)
    assert names(world) == [b"a", b"b", b"c", b"d", b"e", b"g", b"h", b""]
    assert [data(fields[b"d"]) for _, fields in world.stream()] == [1, 2, 3, 4, 5, None, 8, b"\x00\xff"]
    assert [member[4:5] for member, _ in world.delayed()] == [b"f", b"i"]
    assert [msgpack.unpackb(fields[b"d"])[0] for _, fields in world.stream()] == [
        job.id for job in jobs if job.name not in ("f", "i")
    ]


async def test_a_mix_of_options_is_one_command_per_row(world: World) -> None:
    rows: list[Any] = [("w", n, {"job_id": f"j{n}"} if n % 2 else None) for n in range(100)]
    async with world.queue() as queue:
        await queue.add_unique("warm", 0, job_id="warm")
        world.admin.config_resetstat()
        assert await queue.add_bulk(rows, return_jobs=False) == 100
        calls = command_calls(world.admin)
    # Each script call counts its own XADD too.
    assert (calls["evalsha"] + calls.get("eval", 0), calls["xadd"]) == (50, 100)


async def test_a_mix_of_options_is_one_pipelined_pass(world: World) -> None:
    """Told by how often the server had to read from its sockets: not once per row."""

    def reads() -> int:
        return world.admin.info("stats")["total_reads_processed"]

    rows: list[Any] = [
        ("w", n, [{"job_id": f"j{n}"}, {"delay": 60_000}, {"attempts": 2}, None][n % 4]) for n in range(200)
    ]
    async with world.queue() as queue:
        await queue.add("warm", 0)
        before = reads()
        assert await queue.add_bulk(rows, return_jobs=False) == 200
        assert reads() - before < 10
    assert len(world.stream()) + len(world.delayed()) == 201


async def test_a_generator_is_read_while_earlier_rows_are_on_their_way(world: World) -> None:
    seen: list[int] = []

    def rows() -> Iterator[Any]:
        for number in range(5_000):
            if number == 4_999:
                seen.append(world.admin.xlen(world.key("stream")))
            yield "w", number

    async with world.queue() as queue:
        jobs = await queue.add_bulk(rows())
    assert [job.data for job in jobs] == list(range(5_000))
    assert [data(fields[b"d"]) for _, fields in world.stream()] == list(range(5_000))
    assert seen[0] > 0, "the whole generator was read before anything was sent"


@pytest.mark.parametrize("rows", [(), [], iter(()), {}.items()])
async def test_nothing_to_add_is_fine(world: World, rows: Any) -> None:
    async with world.queue() as queue:
        assert await queue.add_bulk(rows) == []
        assert await queue.add_bulk(iter(()), return_jobs=False) == 0


async def test_duplicates_are_told_per_row(world: World) -> None:
    async with world.queue() as queue:
        await queue.add_unique("w", 0, job_id="known")
        jobs = await queue.add_bulk(
            [
                ("w", 1, {"job_id": job_id, "delay": delay})
                for job_id in ("known", "new", "new")
                for delay in (0, 60_000)
            ]
        )
    assert [job.is_duplicate for job in jobs] == [True, True, False, True, True, True]
    assert len(world.stream()) + len(world.delayed()) == 2


BAD_ROWS: list[tuple[Any, type[Exception]]] = [
    (("w",), TypeError),
    ("text", TypeError),
    (7, TypeError),
    ({"data": 1}, TypeError),
    ({"name": "w", "date": 1}, TypeError),
    (("w", object()), TypeError),
    ((7, 1), TypeError),
    (("w", 1, {"delay": -1}), ValueError),
    (("w", 1, {"delay": float("nan")}), ValueError),
    (("w", 1, {"nonsense": 1}), TypeError),
    (("w", 1, {"job_id": ""}), TypeError),
    (("w", b"x" * 1_048_577), ValueError),
]


@pytest.mark.parametrize(("row", "error"), BAD_ROWS, ids=[f"{row!r:.25}" for row, _ in BAD_ROWS])
async def test_a_refused_row_among_the_first_means_that_nothing_is_added(
    world: World, row: Any, error: type[Exception]
) -> None:
    async with world.queue() as queue:
        with pytest.raises(BulkAddError, match="row 1") as refused:
            await queue.add_bulk([("good", 1), row, ("good", 2)])
    assert list(refused.value.errors) == [1]
    assert isinstance(refused.value.errors[1], error)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, TypeError)
    assert (refused.value.added, refused.value.jobs) == (0, [None, None, None])
    assert not world.admin.exists(world.key("stream"))


async def test_refused_rows_further_on_leave_the_good_ones_added(world: World) -> None:
    rows = [("w", object() if n in (1_500, 2_500) else n) for n in range(3_000)]
    async with world.queue() as queue:
        with pytest.raises(BulkAddError, match="1 more") as refused:
            await queue.add_bulk(rows)
    assert sorted(refused.value.errors) == [1_500, 2_500]
    assert refused.value.added == 2_998
    assert [job is None for job in refused.value.jobs].count(True) == 2
    assert world.admin.xlen(world.key("stream")) == 2_998


async def test_a_parent_in_a_row_is_not_supported(world: World) -> None:
    async with world.queue() as queue:
        with pytest.raises(NotSupportedError, match="parent"):
            await queue.add_bulk([("w", 1), ("w", 1, {"parent": {"id": "1", "queue": "q"}})])
    assert not world.admin.exists(world.key("stream"))


@pytest.mark.parametrize("rows", ["text", b"bytes", {"name": "w"}, 5, None])
async def test_what_is_no_iterable_of_rows_is_refused(world: World, rows: Any) -> None:
    async with world.queue() as queue:
        with pytest.raises(TypeError, match="add_bulk"):
            await queue.add_bulk(rows)


async def test_an_error_of_the_callers_generator_is_the_callers(world: World) -> None:
    def rows() -> Iterator[Any]:
        yield "w", 1
        raise LookupError("no more rows")

    async with world.queue() as queue:
        with pytest.raises(LookupError, match="no more rows"):
            await queue.add_bulk(rows())
        await queue.add("w", "the queue still works")
    assert world.admin.xlen(world.key("stream")) == 1


async def test_server_refusals_are_told_per_row(world: World) -> None:
    world.admin.set(world.key("delayed"), "in the way", ex=60)
    async with world.queue() as queue:
        with pytest.raises(BulkAddError, match="WRONGTYPE") as refused:
            await queue.add_bulk([("w", 1), ("w", 2, {"delay": 1000}), ("w", 3)])
    assert (list(refused.value.errors), refused.value.added) == ([1], 2)
    assert names(world) == [b"w", b"w"]


async def test_a_closed_queue_adds_nothing(world: World) -> None:
    queue = world.queue()
    await queue.close()
    with pytest.raises(ClosedError):
        await queue.add_bulk([("w", 1)])
