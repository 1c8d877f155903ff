"""The job as a value: what it knows of itself where it was added and where it runs, and what it does not offer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chasquimq import BackoffSpec, NotSupportedError
from tests.conformance.world import World


async def handle_nothing(job: Any) -> None:
    """Does nothing."""


async def test_a_job_that_was_added_knows_its_queue(world: World) -> None:
    async with world.queue() as queue:
        added = await queue.add("w", 1)
        (row,) = await queue.add_bulk([("w", 1)])
        assert [(job.queue.name, job.queue.is_closed) for job in (added, row)] == [(world.name, False)] * 2
    assert added.queue.is_closed


async def test_what_streams_do_not_have_is_constant(world: World) -> None:
    seen: list[Any] = []

    async def handle(job: Any) -> None:
        seen.append((job.priority, job.stacktrace))
        raise ValueError

    async with world.queue() as queue, world.worker(handle, max_attempts=1):
        job = await queue.add("w", 1)
        await world.until(world.dead)
    assert [*seen, (job.priority, job.stacktrace)] == [(0, [])] * 2


async def test_times_of_a_run(world: World) -> None:
    seen: list[Any] = []
    worker = world.worker(handle_nothing)
    worker.on("active", lambda job, prev: seen.append((job.processed_on, job.finished_on)))
    worker.on("completed", lambda job, result, prev: seen.append((job.processed_on, job.finished_on)))
    async with world.queue() as queue, worker:
        added = await queue.add("w", 1)
        await world.until(lambda: len(seen) == 2)
    assert (added.processed_on, added.finished_on) == (None, None)
    (begun, not_yet), (begun_then, ended) = seen
    assert not_yet is None
    assert added.timestamp <= begun == begun_then <= ended


async def test_whether_it_was_added_with_a_delay(world: World) -> None:
    async with world.queue() as queue:
        assert (await queue.add("w", 1)).is_delayed() is False
        assert (await queue.add("w", 1, delay=60_000)).is_delayed() is True


async def test_the_snapshot_says_everything_and_is_json(world: World) -> None:
    seen: list[dict[str, Any]] = []

    async def handle(job: Any) -> dict[str, int]:
        await job.update_progress({"step": 1})
        if job.attempts_made == 1:
            raise ValueError("because")
        return {"sent": 1}

    worker = world.worker(handle)
    for event in ("failed", "completed"):
        worker.on(event, lambda job, outcome, prev: seen.append(job.to_json()))
    async with world.queue() as queue, worker:
        options = {"attempts": 2, "backoff": BackoffSpec.fixed(timedelta(milliseconds=5)), "job_id": "invoice-42"}
        added = await queue.add("welcome", {"to": "ada"}, **options)
        await world.until(lambda: len(seen) == 2)
    known = {
        "id": "invoice-42",
        "name": "welcome",
        "data": {"to": "ada"},
        "opts": {"attempts": 2, "backoff": {"type": "fixed", "delay": 5}, "job_id": "invoice-42"},
        "timestamp": added.timestamp,
        "delay": 0,
        "priority": 0,
        "stacktrace": [],
    }
    nothing = {"returnvalue": None, "failed_reason": None, "processed_on": None, "finished_on": None}
    assert added.to_json() == {**known, "attempts_made": 0, "progress": 0, **nothing}
    failed, completed = seen
    assert failed.items() >= {**known, "attempts_made": 1, "failed_reason": "because", "returnvalue": None}.items()
    assert completed.items() >= {**known, "attempts_made": 2, "returnvalue": {"sent": 1}}.items()
    for snapshot in (added.to_json(), failed, completed):
        assert json.loads(json.dumps(snapshot)) == snapshot


async def test_the_options_in_a_snapshot_are_numbers_and_texts(world: World) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    repeat = {"every": timedelta(hours=1), "end_date": due + timedelta(days=1), "missed_fires": "fire-once"}
    async with world.queue() as queue:
        delayed = await queue.add("w", 1, delay=due, backoff=timedelta(seconds=2))
        repeated = await queue.add("w", 1, repeat=repeat)
        plain = await queue.add("w", 1)
    due_ms = int(due.timestamp() * 1000)
    assert delayed.to_json()["opts"] == {"delay": due_ms, "backoff": 2_000}
    assert repeated.to_json()["opts"] == {
        "repeat": {"every": 3_600_000, "end_date": due_ms + 86_400_000, "missed_fires": "fire-once"}
    }
    assert plain.to_json()["opts"] == {}


async def test_its_text_names_it_and_shows_no_data(world: World) -> None:
    async with world.queue() as queue:
        job = await queue.add("welcome", {"password": "secret"})
    assert job.id in repr(job)
    assert "welcome" in repr(job)
    assert "secret" not in repr(job)


STUBS: dict[str, list[Any]] = {
    "log": ["a row"],
    "get_state": [],
    "remove": [],
    "retry": [],
    "discard": [],
    "update": [{"new": 1}],
    "update_data": [{"new": 1}],
    "is_completed": [],
    "is_failed": [],
    "is_active": [],
    "is_waiting": [],
}


@pytest.mark.parametrize("method", STUBS)
async def test_methods_that_the_product_only_names_say_what_to_use_instead(world: World, method: str) -> None:
    refused: list[Exception] = []

    def call(job: Any) -> None:
        with pytest.raises(NotSupportedError, match=rf"Job\.{method}\(\) is not supported\. \w+") as error:
            getattr(job, method)(*STUBS[method])
        refused.append(error.value)

    async def handle(job: Any) -> None:
        call(job)

    async with world.queue() as queue, world.worker(handle):
        call(await queue.add("w", 1))
        await world.until(lambda: len(refused) == 2)
    assert all(isinstance(error, NotImplementedError) for error in refused)
