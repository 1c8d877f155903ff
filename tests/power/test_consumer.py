"""The Consumer: the engine of a Worker, with payloads and results that nobody decodes."""

from __future__ import annotations

from typing import Any

import pytest

import chasquimq.sync
from chasquimq import (
    ClosedError,
    InvalidOptionError,
    InvalidOptionTypeError,
    PayloadEncodeError,
    RedisConnectionError,
    UnrecoverableError,
    encode_payload,
)
from chasquimq.native import AddOptions, ConsumerOpts, RawJob, RetryOpts
from tests.conformance.world import World, envelope
from tests.power.conftest import Power

ANY_BYTES = b"\xc1\xff\x00 not MessagePack"


async def test_the_handler_gets_the_bytes_and_what_is_known_of_them(power: Power, world: World) -> None:
    seen: list[RawJob] = []

    async def handle(job: RawJob) -> None:
        seen.append(job)

    async with power.producer() as producer, power.consumer(handle) as consumer:
        assert consumer.is_running()
        await producer.add(
            ANY_BYTES, name="raw", opts=AddOptions(job_id="j", retry={"max_attempts": 9}, timestamp_ms=5)
        )
        await world.until(world.is_empty)
    [job] = seen
    assert isinstance(job, RawJob)
    assert (job.payload, job.name, job.id, job.attempt, job.deliveries) == (ANY_BYTES, "raw", "j", 1, 0)
    assert (job.created_at_ms, job.max_attempts, job.lease_lost) == (5, 9, False)
    assert "not MessagePack" not in repr(job)
    assert consumer.is_closed


async def test_a_result_is_kept_as_it_is(power: Power, world: World) -> None:
    async def handle(job: RawJob) -> Any:
        return {b"result": ANY_BYTES, b"nothing": None, b"empty": b""}[job.payload]

    async with power.producer() as producer:
        jobs = await producer.add_bulk([b"result", b"nothing", b"empty"])
        async with power.consumer(handle, store_results=True, result_ttl_ms=60_000):
            await world.until(world.is_empty)
        assert await producer.get_results(job.job_id for job in jobs) == [ANY_BYTES, None, b""]


async def test_a_result_that_is_not_bytes_is_told_and_the_job_is_done(power: Power, world: World) -> None:
    errors: list[Exception] = []

    async def handle(job: RawJob) -> Any:
        return "text"

    consumer = power.consumer(handle, store_results=True)
    consumer.on("error", errors.append)
    async with power.producer() as producer, consumer:
        added = await producer.add(b"x")
        await world.until(world.is_empty)
        await world.until(lambda: errors)
        assert await producer.get_result(added.job_id) is None
    assert isinstance(errors[0], PayloadEncodeError)
    assert world.dead() == []


async def test_what_a_queue_adds_arrives_encoded(power: Power, world: World) -> None:
    seen: list[bytes] = []

    async def handle(job: RawJob) -> None:
        seen.append(job.payload)

    async with world.queue() as queue, power.consumer(handle):
        await queue.add("welcome", {"to": "ada"})
        await world.until(lambda: seen)
    assert seen == [encode_payload({"to": "ada"})]


async def test_a_failure_is_tried_again_and_then_buried_with_its_bytes(power: Power, world: World) -> None:
    attempts: list[int] = []

    async def handle(job: RawJob) -> None:
        attempts.append(job.attempt)
        raise ValueError("no")

    retry = RetryOpts(kind="fixed", delay_ms=1, jitter_ms=0)
    async with power.producer() as producer, power.consumer(handle, max_attempts=3, retry=retry):
        added = await producer.add(ANY_BYTES)
        await world.until(world.dead)
        [dead] = await producer.peek_dlq()
        assert (dead.job_id, dead.reason) == (added.job_id, "retries_exhausted")
        assert ANY_BYTES in dead.payload
        assert await producer.replay_dlq() == 1
        await world.until(lambda: len(attempts) == 6 and world.dead())
    assert attempts == [1, 2, 3, 1, 2, 3]
    waits = [event["backoff_ms"] for event in world.events() if event["e"] == "retry-scheduled"]
    assert waits == ["1"] * 4, "as the consumer was told, not its default"


async def test_an_unrecoverable_error_is_buried_at_once(power: Power, world: World) -> None:
    async def handle(job: RawJob) -> None:
        raise UnrecoverableError("never")

    async with power.producer() as producer, power.consumer(handle):
        await producer.add(b"x")
        await world.until(world.dead)
    assert world.dead()[0][b"reason"] == b"unrecoverable"


async def test_a_malformed_entry_is_buried_and_the_next_one_runs(power: Power, world: World) -> None:
    seen: list[bytes] = []

    async def handle(job: RawJob) -> None:
        seen.append(job.payload)

    world.put({b"d": b"\xc1"})
    world.put({b"d": envelope("ok", 1)})
    async with power.consumer(handle):
        await world.until(lambda: seen)
        await world.until(world.dead)
    assert seen == [encode_payload(1)]


async def test_listeners_get_the_raw_job(power: Power, world: World) -> None:
    heard: list[Any] = []

    async def handle(job: RawJob) -> bytes:
        return b"done"

    consumer = power.consumer(handle)
    consumer.on("completed", lambda job, result, prev: heard.append((type(job), job.payload, result)))
    consumer.once("ready", lambda: heard.append("ready"))
    consumer.on("active")(lambda job, prev: heard.append("active"))
    never = heard.clear
    consumer.on("closed", never)
    consumer.off("closed", never)
    async with power.producer() as producer, consumer:
        await producer.add(b"x")
        await world.until(lambda: len(heard) == 3)
    assert heard == ["ready", "active", (RawJob, b"x", b"done")]


async def test_a_plain_function_is_a_handler_in_both_forms(power: Power, world: World) -> None:
    seen: list[bytes] = []

    def handle(job: RawJob) -> None:
        seen.append(job.payload)

    async with power.producer() as producer, power.consumer(handle):
        await producer.add(b"x")
        await world.until(lambda: seen)


async def test_run_lasts_until_close_and_drains(power: Power, world: World) -> None:
    gate, running = world.gate(), world.gate()

    async def handle(job: RawJob) -> None:
        running.open()
        await gate.passed()

    consumer = power.consumer(handle, opts=ConsumerOpts(concurrency=1))
    async with power.producer() as producer, world.flavour.beside(consumer.run):
        await producer.add_bulk([b"1", b"2"])
        await running.passed()
        async with world.flavour.beside(consumer.close):
            await world.until(lambda: consumer.is_closed)
            gate.open()
    assert len(world.stream()) == 1  # the one that had not started was handed back
    assert world.consumers() in ([], ["handed-back"])


async def test_closed_before_it_ran(power: Power) -> None:
    consumer = power.consumer(lambda job: None)
    await consumer.close()
    with pytest.raises(ClosedError):
        await consumer.run()


async def test_autorun_false_starts_nothing(power: Power, world: World) -> None:
    async with power.producer() as producer, power.consumer(lambda job: None, autorun=False) as consumer:
        await producer.add(b"x")
        assert not consumer.is_running()
    assert len(world.stream()) == 1


async def test_a_server_that_is_not_there_is_told_at_the_start(power: Power) -> None:
    with pytest.raises(RedisConnectionError):
        async with power.consumer(lambda job: None, connection="redis://127.0.0.1:1"):
            pass


def test_a_coroutine_function_needs_the_other_form() -> None:
    async def handle(job: RawJob) -> None:
        pass

    with pytest.raises(InvalidOptionTypeError, match="coroutine"):
        chasquimq.sync.Consumer("q", handle)  # type: ignore[arg-type]


async def test_wrong_options_are_refused(power: Power) -> None:
    for options in ({"retry": 3}, {"retry": {"no_such": 1}}, {"opts": {"max_stalled_count": 1}}, {"concurrency": "x"}):
        with pytest.raises(InvalidOptionTypeError):
            power.consumer(lambda job: None, **options)
    with pytest.raises(InvalidOptionError):
        power.consumer(lambda job: None, retry={"kind": "random"})
    with pytest.raises(InvalidOptionTypeError):
        power.consumer(None)
