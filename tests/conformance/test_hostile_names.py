"""Names and ids that look like parts of keys, of commands or of formats: they are texts like any other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from chasquimq import ChasquiError, InvalidJobIdError, InvalidOptionError, InvalidOptionTypeError
from tests.conformance.world import World

HOSTILE = {
    "a closing brace": "a}b",
    "a hash tag": "}:{chasqui:x}",
    "NUL": "a\0b\0",
    "line ends": "a\r\nb\n",
    "a command": "x\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "what keys are made of": ":stream:dlid:result:{",
    "a pattern": "*[a-z]?\\",
    "formats": "%s%n{0}{name!r}$x",
    "no ASCII": "\u202ejob\u0000\ufeff\U0001f4a3",
    "spaces": " a ",
}
EVERY_NAME = pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
LONG = "x" * 10_000


@pytest.fixture
def named_world(world: World, hostile: str) -> Iterator[World]:
    """A world whose queue bears the hostile name, behind one that no other test has."""
    named = dataclasses.replace(world, name=f"{world.name}{hostile}")
    yield named
    prefix = named.key("").encode()
    keys = [key for key in world.admin.scan_iter(count=10_000) if key.startswith(prefix)]
    if keys:
        world.admin.unlink(*keys)


@EVERY_NAME
async def test_a_queue_of_any_name(named_world: World, hostile: str) -> None:
    """Each kind of key that a queue has is used: stream, delayed set, markers, results, dead letters, specs, events."""
    world, ran = named_world, []

    async def handle(job: Any) -> Any:
        ran.append(job.name)
        if job.name == "fails" and len(ran) < 10:
            raise ValueError("no")
        return job.data

    async with world.queue() as queue:
        plain = await queue.add("plain", 1)
        await queue.add("delayed", 2, delay=50)
        await queue.add("delayed", 2, delay=60_000, job_id="later")
        assert await queue.remove("later") == 1
        await queue.add("fails", 3, job_id="once", attempts=1)
        assert (await queue.add("fails", 3, job_id="once")).is_duplicate
        await queue.add_bulk([("plain", 4), ("plain", 5)])
        await queue.add("tick", None, repeat={"every": 60_000})
        (spec,) = await queue.get_repeatable_jobs()
        assert await queue.remove_repeatable_by_key(spec.key)
        async with world.worker(handle, store_results=True):
            assert await plain.wait_for_result(timeout_ms=15_000) == 1
            await world.until(lambda: len(ran) == 5 and world.is_empty() and world.dead())
        assert [entry.name for entry in await queue.peek_dlq()] == ["fails"]
        assert await queue.replay_dlq() == 1
    assert len(world.stream()) == 1
    assert sorted(ran) == ["delayed", "fails", "plain", "plain", "plain"]
    prefix = world.key("").encode()
    assert all(key.startswith(prefix) for key in world.admin.scan_iter(count=10_000) if world.name.encode() in key)


@EVERY_NAME
@pytest.mark.parametrize("delay", [0, 30])
async def test_a_job_of_any_name_and_id(world: World, hostile: str, delay: int) -> None:
    seen: list[Any] = []

    async def handle(job: Any) -> Any:
        seen.append((job.name, job.id, job.data))
        return "done"

    async with world.queue() as queue, world.worker(handle, store_results=True):
        job = await queue.add(hostile, hostile, job_id=hostile, delay=delay)
        assert (job.id, job.name) == (hostile, hostile)
        assert await job.wait_for_result(timeout_ms=15_000) == "done"
        assert await queue.get_job_result(hostile) == "done"
        assert (await queue.add(hostile, hostile, job_id=hostile)).is_duplicate
        await world.until(world.is_empty)
    assert seen == [(hostile, hostile, hostile)]
    completed = [event for event in world.events() if event["e"] == "completed"]
    assert [(event["id"], event["n"]) for event in completed] == [(hostile, hostile)]


@EVERY_NAME
async def test_a_failing_job_of_any_name_and_error(world: World, hostile: str) -> None:
    async def handle(job: Any) -> Any:
        raise ValueError(hostile)

    async with world.queue() as queue:
        async with world.worker(handle):
            await queue.add(hostile, None, job_id=hostile, attempts=2, backoff=1)
            await world.until(lambda: world.dead() and world.is_empty())
        (entry,) = await queue.peek_dlq()
        assert (entry.name, entry.job_id, entry.reason) == (hostile, hostile, "retries_exhausted")
        assert await queue.replay_dlq() == 1
    assert world.event_names(hostile).count("failed") == 2


@EVERY_NAME
async def test_a_repeatable_job_of_any_name_and_key(world: World, hostile: str) -> None:
    names: list[str] = []

    async def handle(job: Any) -> None:
        names.append(job.name)

    async with world.queue() as queue:
        for key in (hostile, None):
            await queue.add(hostile, None, repeat={"every": 100}, repeat_job_key=key)
        keys = {spec.key for spec in await queue.get_repeatable_jobs()}
        assert keys == {hostile, f"{hostile}::every:100"}
        async with world.worker(handle):
            await world.until(lambda: len(names) > 2)
            assert [await queue.remove_repeatable_by_key(key) for key in keys] == [True, True]
        assert await queue.get_repeatable_jobs() == []
    assert set(names) == {hostile}


@EVERY_NAME
async def test_a_worker_of_any_name(world: World, hostile: str) -> None:
    gate, ran = world.gate(), []

    async def handle(job: Any) -> None:
        ran.append(job.data)
        await gate.passed()

    async with world.queue() as queue, world.worker(handle, name=hostile):
        await queue.add("w", 1)
        await world.until(lambda: ran)
        assert [row["consumer"] for row in world.pending()] == [hostile.encode()]
        gate.open()
        await world.until(world.is_empty)


async def test_an_id_may_be_long(world: World) -> None:
    async def handle(job: Any) -> int:
        return len(job.id)

    async with world.queue() as queue, world.worker(handle, store_results=True):
        for job_id, delay in ((LONG, 0), (LONG + "d", 20)):
            job = await queue.add("w", None, job_id=job_id, delay=delay)
            assert await job.wait_for_result(timeout_ms=15_000) == len(job_id)
        await queue.add("w", None, repeat={"every": 60_000}, repeat_job_key=LONG)
        assert await queue.remove_repeatable_by_key(LONG)
        await world.until(world.is_empty)


REFUSED: list[tuple[str, dict[str, Any], type[ChasquiError]]] = [
    (LONG, {}, InvalidOptionError),
    ("\ud800", {}, InvalidOptionError),
    ("a\udfff\0", {"delay": 5}, InvalidOptionError),
    ("w", {"job_id": ""}, InvalidJobIdError),
    ("w", {"job_id": " \n\t"}, InvalidJobIdError),
    ("w", {"job_id": "\ud800"}, InvalidOptionError),
    ("w", {"job_id": "\ud800", "delay": 5}, InvalidOptionError),
    ("w", {"repeat": {"every": 5}, "repeat_job_key": "\ud800"}, InvalidOptionError),
    (LONG, {"repeat": {"every": 5}}, InvalidOptionError),
    ("w", {"repeat": {"pattern": LONG}}, InvalidOptionError),
    ("w", {"repeat": {"pattern": "* * * * *", "tz": LONG}}, InvalidOptionError),
    ("w", {"repeat": {"pattern": "* * * * *", "tz": "../../etc/passwd\0"}}, InvalidOptionError),
]


@pytest.mark.parametrize(("name", "options", "kind"), REFUSED)
async def test_what_cannot_be_written_is_refused_at_once(
    world: World, name: str, options: dict[str, Any], kind: type[ChasquiError]
) -> None:
    async with world.queue() as queue:
        with pytest.raises(kind) as refused:
            await queue.add(name, None, **options)
        assert len(str(refused.value)) < 2_000
        if "repeat" not in options:
            with pytest.raises(ChasquiError):
                await queue.add_bulk([("good", 1), (name, None, options)])
    assert world.stream() == []
    assert list(world.admin.scan_iter(match=world.key("*"), count=10_000)) == []


@pytest.mark.parametrize("name", [LONG, "a\ud800", "", " ", "\t\n", "\udcff"])
async def test_no_queue_has_such_a_name(world: World, name: str) -> None:
    async def handle(job: Any) -> None: ...

    for make in (world.flavour.queue, lambda name, **given: world.flavour.worker(name, handle, **given)):
        with pytest.raises(InvalidOptionError):
            make(name, connection=world.url)


@pytest.mark.parametrize("name", ["", " ", "\ud800", "handed-back"])
async def test_no_worker_has_such_a_name(world: World, name: str) -> None:
    async def handle(job: Any) -> None: ...

    with pytest.raises(InvalidOptionError):
        world.worker(handle, name=name)


@pytest.mark.parametrize("wrong", [None, 5, 1.5, True, b"bytes", ["a"], {"a": 1}, object()])
async def test_ids_and_keys_are_texts(world: World, wrong: Any) -> None:
    async with world.queue() as queue:
        for call in (queue.remove, queue.get_job_result):
            with pytest.raises(InvalidJobIdError):
                await call(wrong)
        with pytest.raises(InvalidOptionTypeError):
            await queue.remove_repeatable_by_key(wrong)
