"""The events stream: what is written, in which order, with which fields (docs/wire-format.md, events)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.world import World


async def handle(job: Any) -> None:
    if job.name == "boom":
        raise ValueError("because")


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_a_job_that_completes(world: World) -> None:
    async with world.queue() as queue, world.worker(handle):
        before = world.server_ms()
        job = await queue.add("fine", 1)
        await world.until(lambda: len(world.event_names(job.id)) == 2)
    active, completed = (event for event in world.events() if event["id"] == job.id)
    assert list(active) == ["e", "id", "ts", "n", "attempt"]
    assert list(completed) == ["e", "id", "ts", "n", "attempt", "duration_us"]
    assert (active["e"], active["n"], active["attempt"]) == ("active", "fine", "1")
    assert (completed["e"], completed["n"], completed["attempt"]) == ("completed", "fine", "1")
    assert int(completed["duration_us"]) >= 0
    assert before - 1000 <= int(active["ts"]) <= int(completed["ts"]) <= world.server_ms() + 1000


async def test_a_job_that_fails_is_retried_and_given_up(world: World) -> None:
    async with world.queue() as queue, world.worker(handle):
        job = await queue.add("boom", 1, attempts=2, backoff=10)
        await world.until(lambda: "dlq" in world.event_names(job.id))
        await world.until(lambda: "waiting" in world.event_names(job.id))
    mine = [event for event in world.events() if event["id"] == job.id]
    by_name: dict[str, list[dict[str, str]]] = {}
    for event in mine:
        by_name.setdefault(event.pop("e"), []).append(event)
    assert {name: [list(event) for event in events] for name, events in by_name.items()} == {
        "active": [["id", "ts", "n", "attempt"]] * 2,
        "failed": [["id", "ts", "n", "attempt", "reason", "duration_us"]] * 2,
        "retry-scheduled": [["id", "ts", "n", "attempt", "backoff_ms"]],
        "waiting": [["id", "ts"]],
        "dlq": [["id", "ts", "n", "attempt", "reason"]],
    }
    assert [(event["attempt"], event["reason"]) for event in by_name["failed"]] == [("1", "because"), ("2", "because")]
    assert (by_name["retry-scheduled"][0]["attempt"], by_name["retry-scheduled"][0]["backoff_ms"]) == ("2", "10")
    assert (by_name["dlq"][0]["attempt"], by_name["dlq"][0]["reason"]) == ("2", "retries_exhausted")
    order = [name for name in world.event_names(job.id) if name != "waiting"]
    assert order == ["active", "failed", "retry-scheduled", "active", "failed", "dlq"]


async def test_waiting_is_told_after_promotion_only(world: World) -> None:
    async with world.queue() as queue, world.worker(handle):
        at_once = await queue.add("w", 1)
        delayed = await queue.add("w", 1, delay=20)
        await world.until(lambda: "completed" in world.event_names(delayed.id))
        await world.until(lambda: "waiting" in world.event_names(delayed.id))
        await world.until(lambda: "completed" in world.event_names(at_once.id))
    assert "waiting" not in world.event_names(at_once.id)


async def test_names_that_are_empty_are_left_out(world: World) -> None:
    async with world.queue() as queue, world.worker(handle):
        await queue.add("", 1)
        await world.until(lambda: len(world.events()) >= 2)
    assert not any("n" in event for event in world.events())


async def test_drained_is_told_once_when_the_queue_has_run_empty(world: World) -> None:
    async with world.queue() as queue, world.worker(handle, drain_delay=50):
        await queue.add_bulk([("w", number) for number in range(5)])
        await world.until(lambda: any(event["e"] == "drained" for event in world.events()))
        await world.flavour.sleep(0.2)  # several empty reads more
        (drained,) = [event for event in world.events() if event["e"] == "drained"]
        assert list(drained) == ["e", "id", "ts"]
        assert drained["id"] == ""
        await queue.add("w", 6)
        await world.until(lambda: sum(event["e"] == "drained" for event in world.events()) == 2)


async def test_a_producer_writes_no_events(world: World) -> None:
    async with world.queue() as queue:
        await queue.add("w", 1)
        await queue.add("w", 1, delay=60_000)
        await queue.add_bulk([("w", 1)])
    assert world.events() == []


async def test_events_can_be_switched_off(world: World) -> None:
    async with world.queue() as queue, world.worker(handle, events=False, drain_delay=20):
        await queue.add("w", 1)
        await queue.add("boom", 1, attempts=2, backoff=1)
        await queue.add("w", 1, delay=10)
        world.put({b"d": b"\xc1"})
        await world.until(lambda: len(world.dead()) == 2 and world.is_empty())
        await world.flavour.sleep(0.05)
    assert not world.admin.exists(world.key("events"))


async def test_reasons_of_every_shape_are_written(world: World) -> None:
    async def fail(job: Any) -> None:
        raise ValueError(*job.data)

    reasons = [[], [""], ["größer\nzweite Zeile"], ["two", 2]]
    async with world.queue() as queue, world.worker(fail, max_attempts=1):
        jobs = await queue.add_bulk([("w", arguments) for arguments in reasons])
        await world.until(lambda: len(world.dead()) == len(jobs))
    written = {event["id"]: event["reason"] for event in world.events() if event["e"] == "failed"}
    assert [written[job.id] for job in jobs] == ["", "", "größer\nzweite Zeile", "('two', 2)"]
