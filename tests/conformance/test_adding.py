"""Adding one job: what comes back, what it costs, and what is in Redis then."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest

from chasquimq import (
    BackoffSpec,
    InvalidJobIdError,
    InvalidOptionError,
    JobsOptions,
    NotSupportedError,
    PayloadEncodeError,
    PayloadTooLargeError,
    ServerReplyError,
)
from tests.conformance.world import World, command_calls, envelope

ALL_FORMS = pytest.mark.forms("sync", "asyncio", "trio", "uvloop")


@ALL_FORMS
async def test_add_returns_the_job(world: World) -> None:
    before = time.time_ns() // 1_000_000
    async with world.queue() as queue:
        job = await queue.add("welcome", {"to": "ada"})
        assert (job.name, job.data, job.attempts_made, job.delay, job.priority) == ("welcome", {"to": "ada"}, 0, 0, 0)
        assert len(job.id) == 26
        assert before <= job.timestamp <= time.time_ns() // 1_000_000
        assert job.is_duplicate is False
        assert (job.returnvalue, job.failed_reason, job.stacktrace, job.progress) == (None, None, [], 0)
        assert job.to_json()["id"] == job.id


async def test_ids_are_unique_and_ordered(world: World) -> None:
    async with world.queue() as queue:
        ids = [(await queue.add("n", number)).id for number in range(20)]
    assert sorted(set(ids)) == ids


@ALL_FORMS
async def test_the_stream_holds_exactly_what_the_wire_format_says(world: World) -> None:
    async with world.queue() as queue:
        named = await queue.add("welcome", {"to": "ada"})
        unnamed = await queue.add("", b"\x00\xff")
        tuned = await queue.add("w", 1, attempts=300, backoff=BackoffSpec.fixed(80, jitter_ms=10))
    assert [list(fields.items()) for _, fields in world.stream()] == [
        [(b"d", envelope(named.id, {"to": "ada"}, named.timestamp)), (b"n", b"welcome")],
        [(b"d", envelope(unnamed.id, b"\x00\xff", unnamed.timestamp))],
        [(b"d", envelope(tuned.id, 1, tuned.timestamp, 0, [300, ["fixed", 80, None, None, 10]])), (b"n", b"w")],
    ]


@pytest.mark.parametrize(
    ("options", "retry"),
    [
        ({"attempts": 5}, [5, None]),
        ({"backoff": 250}, [None, ["fixed", 250, None, None, None]]),
        ({"backoff": timedelta(seconds=1)}, [None, ["fixed", 1000, None, None, None]]),
        # Longer than the 30 s at which workers cap: written out, so that every kind of worker waits what was asked.
        ({"backoff": 60_000}, [None, ["fixed", 60_000, 60_000, None, None]]),
        (
            {"attempts": 7, "backoff": BackoffSpec.exponential(100, multiplier=3.0, max_delay_ms=5000, jitter_ms=0)},
            [7, ["exponential", 100, 5000, 3.0, 0]],
        ),
        ({"backoff": {"type": "exponential", "delay": 10}}, [None, ["exponential", 10, None, None, None]]),
    ],
)
async def test_attempts_and_backoff_travel_in_the_envelope(world: World, options: Any, retry: Any) -> None:
    async with world.queue() as queue:
        await queue.add("w", None, **options)
    ((_, fields),) = world.stream()
    assert msgpack.unpackb(fields[b"d"])[4] == retry


async def test_nothing_is_connected_before_the_first_call(world: World) -> None:
    queue = world.flavour.queue(world.name, connection="redis://127.0.0.1:1/0")
    assert world.name in repr(queue)
    await queue.close()


@pytest.mark.forms("sync")
async def test_a_plain_call_starts_no_thread(world: World) -> None:
    before = set(threading.enumerate())
    async with world.queue() as queue:
        await queue.add("w", 1)
        await queue.add_bulk([("w", number) for number in range(600)])
        await queue.get_repeatable_jobs()
        assert set(threading.enumerate()) == before


async def test_one_add_is_one_command(world: World) -> None:
    async with world.queue() as queue:
        await queue.add("warm", 0)
        world.admin.config_resetstat()
        await queue.add("w", 1)
        assert command_calls(world.admin) == {"xadd": 1}


async def test_one_add_with_an_id_is_one_script_call(world: World) -> None:
    async with world.queue() as queue:
        await queue.add_unique("warm", 0, job_id="warm")
        world.admin.config_resetstat()
        await queue.add_unique("w", 1, job_id="one")
        assert command_calls(world.admin)["evalsha"] == 1
        assert "eval" not in command_calls(world.admin)


async def test_concurrent_adds_all_arrive(world: World) -> None:
    async with world.queue() as queue:
        jobs = await world.flavour.together(*[lambda n=n: queue.add("w", n) for n in range(50)])
    assert [job.data for job in jobs] == list(range(50))
    assert world.admin.xlen(world.key("stream")) == 50


# -- options -----------------------------------------------------------------------------------------------------------


async def test_options_come_as_keywords_values_and_mappings_and_keywords_win(world: World) -> None:
    async with world.queue() as queue:
        for opts in (JobsOptions(attempts=5, backoff=70), {"attempts": 5, "backoff": 70}):
            job = await queue.add("w", None, opts=opts, attempts=9)
            assert (job.opts.attempts, job.opts.backoff) == (9, 70)
    assert {msgpack.unpackb(fields[b"d"])[4][0] for _, fields in world.stream()} == {9}


@pytest.mark.parametrize("defaults", [JobsOptions(attempts=4, backoff=10), {"attempts": 4, "backoff": 10}])
async def test_default_job_options_are_merged_under_each_call(world: World, defaults: Any) -> None:
    async with world.queue(default_job_options=defaults) as queue:
        await queue.add("w", None)
        await queue.add("w", None, attempts=2)
        await queue.add("w", None, opts={"backoff": 20})
        await queue.add_bulk([("w", None), ("w", None, {"attempts": 3})])
    retries = [msgpack.unpackb(fields[b"d"])[4] for _, fields in world.stream()]
    assert [(attempts, backoff[1]) for attempts, backoff in retries] == [(4, 10), (2, 10), (4, 20), (4, 10), (3, 10)]


async def test_a_delay_of_the_defaults_can_be_taken_back(world: World) -> None:
    async with world.queue(default_job_options={"delay": 60_000}) as queue:
        await queue.add("later", 1)
        await queue.add("now", 2, delay=0)
    assert (len(world.delayed()), len(world.stream())) == (1, 1)


async def test_submission_time_can_be_given(world: World) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    async with world.queue() as queue:
        job = await queue.add("w", 1, timestamp=at)
    assert job.timestamp == int(at.timestamp() * 1000)
    assert msgpack.unpackb(world.stream()[0][1][b"d"])[2] == job.timestamp


async def test_what_the_product_ignores_is_accepted_and_said_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chasquimq.options._warned", set())
    async with world.queue(prefix="bull") as queue:
        await queue.add("w", 1, remove_on_complete=True, remove_on_fail=100)
        for option in ({"priority": 5}, {"lifo": True}):
            with pytest.warns(UserWarning, match="first in, first out"):
                await queue.add("w", 1, **option)
            await queue.add("w", 1, **option)  # warnings are errors here: a second one would fail the test


REFUSED: list[tuple[Mapping[str, Any], type[Exception], str]] = [
    ({"delay": -1}, InvalidOptionError, "negative"),
    ({"delay": float("nan")}, InvalidOptionError, "finite"),
    ({"delay": float("inf")}, ValueError, "finite"),
    ({"delay": "5"}, TypeError, "delay"),
    ({"delay": datetime(2030, 1, 1)}, InvalidOptionError, "time zone"),
    ({"delay": timedelta(days=31)}, InvalidOptionError, "max_delay_ms"),
    ({"attempts": 0}, InvalidOptionError, "attempts"),
    ({"attempts": 1.5}, TypeError, "attempts"),
    ({"attempts": True}, TypeError, "attempts"),
    ({"backoff": -1}, InvalidOptionError, "backoff"),
    ({"backoff": {"type": "Fixed"}}, InvalidOptionError, "fixed"),
    ({"backoff": {"delay": 3}}, InvalidOptionError, "type"),
    ({"backoff": {"type": "fixed", "wait": 3}}, TypeError, "wait"),
    ({"job_id": "  "}, InvalidJobIdError, "blank"),
    ({"job_id": 7}, TypeError, "str"),
    ({"parent": {"id": "1", "queue": "q"}}, NotSupportedError, "parent"),
    ({"opts": {"atempts": 3}}, TypeError, "atempts"),
    ({"opts": 3}, TypeError, "opts"),
    ({"timestamp": datetime(2030, 1, 1)}, ValueError, "time zone"),
]


@pytest.mark.parametrize(("options", "error", "says"), REFUSED, ids=[f"{next(iter(r[0].items()))}" for r in REFUSED])
async def test_wrong_options_are_refused_before_anything_is_sent(
    world: World, options: Any, error: type[Exception], says: str
) -> None:
    async with world.flavour.queue("q", connection="redis://127.0.0.1:1/0") as nowhere:
        with pytest.raises(error, match=says):
            await nowhere.add("w", 1, **options)


async def test_an_unknown_keyword_is_a_type_error(world: World) -> None:
    async with world.queue() as queue:
        with pytest.raises(TypeError, match="atempts"):
            await queue.add("w", 1, atempts=3)
    with pytest.raises(TypeError, match="conection"):
        world.queue(conection="x")


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("n" * 257, 1, InvalidOptionError),
        (7, 1, TypeError),
        ("w", object(), PayloadEncodeError),
        ("w", {1, 2}, TypeError),
        ("w", b"x" * 1_048_576, PayloadTooLargeError),
    ],
    ids=["long name", "no text", "object", "set", "too large"],
)
async def test_wrong_names_and_data_are_refused_and_nothing_is_added(
    world: World, name: Any, data: Any, error: type[Exception]
) -> None:
    async with world.queue() as queue:
        with pytest.raises(error):
            await queue.add(name, data)
    assert not world.admin.exists(world.key("stream"))


async def test_a_refusal_of_the_server_has_its_code(world: World) -> None:
    world.admin.set(world.key("stream"), "another program's", ex=60)
    async with world.queue() as queue:
        for options in ({}, {"job_id": "mine"}):
            with pytest.raises(ServerReplyError, match="WRONGTYPE") as refused:
                await queue.add("w", 1, **options)
            assert refused.value.code == "WRONGTYPE"
    assert world.admin.get(world.key("stream")) == b"another program's"


async def test_the_largest_payload_passes_and_one_byte_more_tells_size_and_limit(world: World) -> None:
    async with world.queue() as queue:
        with pytest.raises(PayloadTooLargeError) as refused:
            await queue.add("w", b"x" * 1_048_576)
        overhead = refused.value.size - 1_048_576
        assert refused.value.limit == 1_048_576
        await queue.add("w", b"x" * (1_048_576 - overhead))
        with pytest.raises(PayloadTooLargeError):
            await queue.add("w", b"x" * (1_048_577 - overhead))
    ((_, fields),) = world.stream()
    assert len(fields[b"d"]) == 1_048_576
