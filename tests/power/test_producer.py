"""The Producer: what a Queue does, with payloads that nobody decodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest

from chasquimq import (
    BulkAddError,
    ClosedError,
    InvalidJobIdError,
    InvalidOptionError,
    InvalidOptionTypeError,
    PayloadEncodeError,
    PayloadTooLargeError,
    encode_payload,
)
from chasquimq.native import (
    AddOptions,
    BackoffSpec,
    JobRetryOverride,
    MissedFiresPolicy,
    NamedPayload,
    ProducerOpts,
    RepeatableSpec,
    RepeatPattern,
)
from tests.conformance.world import World, envelope
from tests.power.conftest import Power

ANY_BYTES = b"\xc1\xff\x00 not MessagePack"


def envelopes(world: World) -> list[list[Any]]:
    return [msgpack.unpackb(fields[b"d"]) for _, fields in world.stream()]


@pytest.mark.parametrize("payload", [ANY_BYTES, b"", bytearray(b"a"), memoryview(b"b")])
async def test_a_payload_travels_as_it_is(power: Power, world: World, payload: bytes) -> None:
    async with power.producer() as producer:
        added = await producer.add(payload, name="raw")
    [(_, fields)] = world.stream()
    assert fields[b"n"] == b"raw"
    assert msgpack.unpackb(fields[b"d"])[:2] == [added.job_id, bytes(payload)]
    assert not added.is_duplicate


async def test_a_worker_reads_what_is_messagepack(power: Power, world: World) -> None:
    seen: list[Any] = []

    async def handle(job: Any) -> None:
        seen.append((job.name, job.data))

    async with power.producer() as producer, world.worker(handle):
        await producer.add(encode_payload({"to": "ada"}), name="welcome")
        await world.until(lambda: seen)
    assert seen == [("welcome", {"to": "ada"})]


@pytest.mark.parametrize("payload", ["text", None, {"a": 1}, 7])
async def test_what_is_not_bytes_is_refused(power: Power, world: World, payload: Any) -> None:
    async with power.producer() as producer:
        with pytest.raises(PayloadEncodeError, match="bytes"):
            await producer.add(payload)
        with pytest.raises(BulkAddError):
            await producer.add_bulk([("name", payload)])
        spec = RepeatableSpec(job_name="n", payload=payload, pattern=RepeatPattern.every(1000))
        with pytest.raises(PayloadEncodeError):
            await producer.upsert_repeatable(spec)
    assert world.stream() == []


async def test_the_options_of_one_job(power: Power, world: World) -> None:
    retry = JobRetryOverride(max_attempts=7, backoff=BackoffSpec.fixed(80, jitter_ms=10))
    async with power.producer() as producer:
        await producer.add(b"x", job_id="mine", retry=retry, timestamp_ms=1_700_000_000_000)
        await producer.add(b"y", opts=AddOptions(job_id="opts", retry={"max_attempts": 2}), job_id="keyword wins")
    first, second = envelopes(world)
    assert first == ["mine", b"x", 1_700_000_000_000, 0, [7, ["fixed", 80, None, None, 10]]]
    assert second[0] == "keyword wins"
    assert second[4] == [2, None]


async def test_a_delay_and_an_instant(power: Power, world: World) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    async with power.producer() as producer:
        before = world.server_ms()
        await producer.add(b"soon", name="w", delay_ms=timedelta(minutes=1))
        await producer.add(b"later", at_ms=at)
        await producer.add(b"also later", at_ms=at.timestamp() * 1000)
        await producer.add(b"past", at_ms=1_000)
    (member, due), *others = world.delayed()
    assert before + 60_000 <= due <= world.server_ms() + 60_000
    assert member.startswith(b"\x01\x00\x00\x00w")
    assert [score for _, score in others] == [int(at.timestamp() * 1000)] * 2
    assert [row[1] for row in envelopes(world)] == [b"past"]


async def test_a_delayed_job_with_an_id_can_be_taken_back_once(power: Power, world: World) -> None:
    async with power.producer() as producer:
        await producer.add(b"x", job_id="d-1", delay_ms=60_000)
        assert await producer.cancel("d-1")
        assert not await producer.cancel("d-1")
        assert not await producer.cancel("never there")
        assert world.delayed() == []
        assert not (await producer.add(b"x", job_id="d-1", delay_ms=60_000)).is_duplicate


async def test_an_id_is_reserved(power: Power, world: World) -> None:
    async with power.producer() as producer, power.producer() as other:
        first = await producer.add_unique(b"1", job_id="invoice-42")
        second = await other.add_unique(b"2", job_id="invoice-42", name="elsewhere")
        assert (first.is_duplicate, second.is_duplicate) == (False, True)
        assert first.job_id == second.job_id == "invoice-42"
        for missing in ({}, {"job_id": " "}):
            with pytest.raises(InvalidJobIdError):
                await producer.add_unique(b"3", **missing)
    assert [row[1] for row in envelopes(world)] == [b"1"]


async def test_many_in_one_pass_and_in_order(power: Power, world: World) -> None:
    rows = [
        b"bare",
        ("named", b"tuple"),
        ("unique", b"options", AddOptions(job_id="bulk-1")),
        ("unique", b"mapping", {"job_id": "bulk-1"}),
        NamedPayload("value", b"named", {"retry": {"max_attempts": 2}}),
        NamedPayload("later", b"delayed", AddOptions(delay_ms=60_000)),
    ]
    async with power.producer() as producer:
        # A script that the server does not know yet is sent again behind the other rows.
        await producer.add(b"first", job_id="bulk-0")
        world.admin.delete(world.key("stream"))
        results = await producer.add_bulk(row for row in rows)
    assert [result.is_duplicate for result in results] == [False, False, False, True, False, False]
    assert [(row[0], row[1]) for row in envelopes(world)] == [
        (results[number].job_id, payload)
        for number, payload in ((0, b"bare"), (1, b"tuple"), (2, b"options"), (4, b"named"))
    ]
    assert len(world.delayed()) == 1


async def test_a_bulk_of_more_than_one_buffer(power: Power, world: World) -> None:
    async with power.producer() as producer:
        results = await producer.add_bulk(b"%d" % number for number in range(2_500))
    assert [row[:2] for row in envelopes(world)] == [
        [result.job_id, b"%d" % number] for number, result in enumerate(results)
    ]


async def test_a_bulk_refuses_rows_by_their_number(power: Power, world: World) -> None:
    async with power.producer() as producer:
        with pytest.raises(BulkAddError) as caught:
            await producer.add_bulk([b"good", ("name",), ("name", "text"), NamedPayload("n", b"", {"no_such": 1})])
        assert sorted(caught.value.errors) == [1, 2, 3]
        for no_rows in (b"payload", "text", {"name": "x"}, 7):
            with pytest.raises(InvalidOptionTypeError):
                await producer.add_bulk(no_rows)
    assert world.stream() == []


async def test_results_are_bytes(power: Power, world: World) -> None:
    world.admin.set(world.key("result:a"), b"\xc1", ex=60)
    world.admin.set(world.key("result:b"), encode_payload({"ok": True}), ex=60)
    async with power.producer() as producer:
        assert await producer.get_result("a") == b"\xc1"
        assert await producer.get_result("none") is None
        assert await producer.get_results(["b", "none", "a"]) == [encode_payload({"ok": True}), None, b"\xc1"]
        assert await producer.get_results([]) == []


async def test_dead_letters_are_seen_and_replayed(power: Power, world: World) -> None:
    dead = {"d": envelope("r-1", 1, 1_700_000_000_000, 2), "n": "boom", "source_id": "1-0", "reason": "unrecoverable"}
    world.admin.xadd(world.key("dlq"), {**dead, "d": b"\xc1\xc1"})
    world.admin.xadd(world.key("dlq"), dead)
    async with power.producer() as producer:
        entries = await producer.peek_dlq()
        assert [(entry.name, entry.job_id) for entry in entries] == [("boom", None), ("boom", "r-1")]
        assert entries[1].payload == dead["d"]
        assert await producer.replay_dlq(1) == 1
    assert envelopes(world) == [["r-1", msgpack.packb(1), 1_700_000_000_000, 0]]
    assert len(world.dead()) == 1


async def test_a_repeatable_spec_is_stored_listed_and_removed(power: Power, world: World) -> None:
    spec = RepeatableSpec(
        job_name="tick",
        payload=ANY_BYTES,
        pattern=RepeatPattern.every(timedelta(minutes=1)),
        limit=5,
        missed_fires=MissedFiresPolicy.fire_all(3),
    )
    async with power.producer() as producer:
        assert await producer.upsert_repeatable(spec) == "tick::every:60000"
        assert await producer.upsert_repeatable(spec) == "tick::every:60000"
        [stored] = await producer.list_repeatable()
        assert (stored.key, stored.job_name, stored.every, stored.limit) == ("tick::every:60000", "tick", 60_000, 5)
        assert stored.missed_fires == MissedFiresPolicy.fire_all(3)
        wire = msgpack.unpackb(world.admin.hget(world.key("repeat:spec:tick::every:60000"), "spec"))
        assert msgpack.unpackb(wire[3]) == ANY_BYTES  # bin inside bin
        assert await producer.remove_repeatable_by_key(stored.key)
        assert not await producer.remove_repeatable_by_key(stored.key)
        assert await producer.list_repeatable() == []


async def test_a_spec_with_a_key_and_a_retry_of_its_own(power: Power, world: World) -> None:
    spec = RepeatableSpec(
        job_name="tick",
        pattern=RepeatPattern.every(1_000),
        key="mine",
        retry=JobRetryOverride(max_attempts=9, backoff=250),
        start_after_ms=datetime.now(UTC) + timedelta(days=1),
        end_before_ms=datetime.now(UTC) + timedelta(days=2),
    )
    async with power.producer() as producer:
        assert await producer.upsert_repeatable(spec) == "mine"
        with pytest.raises(InvalidOptionTypeError, match="RepeatableSpec"):
            await producer.upsert_repeatable({"job_name": "tick"})
    wire = msgpack.unpackb(world.admin.hget(world.key("repeat:spec:mine"), "spec"))
    assert wire["retry"] == [9, ["fixed", 250, None, None, None]]
    assert wire["start_after_ms"] < wire["end_before_ms"]


async def test_wrong_options_are_refused_before_any_io(power: Power, world: World) -> None:
    async with power.producer(max_payload_bytes=100) as producer:
        with pytest.raises(InvalidOptionError, match="both"):
            await producer.add(b"x", delay_ms=1, at_ms=1)
        with pytest.raises(InvalidOptionTypeError, match="at_ms"):
            await producer.add(b"x", delay_ms=datetime.now(UTC))
        with pytest.raises(InvalidOptionTypeError):
            await producer.add(b"x", opts={"no_such": 1})
        with pytest.raises(InvalidOptionTypeError):
            await producer.add(b"x", retry=3)
        with pytest.raises(PayloadTooLargeError):
            await producer.add(b"x" * 100)
    assert world.stream() == []


async def test_options_as_a_value_and_the_end(power: Power, world: World) -> None:
    opts = ProducerOpts(connection=world.url, max_delay_ms=1_000)
    producer = power.producer(connection=None, opts=opts)
    assert producer.queue_name == world.name
    assert producer.producer_id != power.producer().producer_id
    with pytest.raises(InvalidOptionError):
        await producer.add(b"x", delay_ms=1_001)
    await producer.add(b"x")
    await producer.close()
    await producer.close()
    assert producer.is_closed
    with pytest.raises(ClosedError):
        await producer.add(b"x")
