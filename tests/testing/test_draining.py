"""``drain`` and ``inline``: a queue's jobs run in the test, and end as they would with a worker."""

from __future__ import annotations

from typing import Any

import pytest

import chasquimq.aio
import chasquimq.sync
import chasquimq.testing.sync
from chasquimq import InvalidOptionTypeError, NotSupportedError, UnrecoverableError
from chasquimq.native import RawJob
from tests.conformance.flavours import Spoken
from tests.conformance.world import World


class OddError(Exception):
    pass


def recording(runs: list[Any], *, fails: bool = False) -> Any:
    async def handle(job: Any) -> Any:
        runs.append(job.data)
        if fails:
            raise OddError(job.data)
        return job.data

    return handle


def producer(world: World) -> Any:
    if world.flavour.is_async:
        return chasquimq.aio.Producer(world.name, connection=world.url)
    return Spoken(chasquimq.sync.Producer(world.name, connection=world.url))


async def test_everything_runs_in_order_and_is_gone(testing: Any, world: World) -> None:
    runs: list[Any] = []
    async with world.queue() as queue:
        await queue.add_bulk([("n", number) for number in range(5)])
        report = await testing.drain(queue, recording(runs))
        assert world.is_empty()
        assert (await testing.drain(queue, recording(runs))).runs == 0
    assert runs == [0, 1, 2, 3, 4]
    assert [job.returnvalue for job in report.completed] == runs
    assert (report.runs, report.failed, report.dead_letters) == (5, [], 0)
    assert world.consumers() == []
    assert world.admin.exists(world.key("promoter:lock"), world.key("scheduler:lock")) == 0


async def test_jobs_that_a_handler_adds_run_too(testing: Any, world: World) -> None:
    async with world.queue() as queue:

        async def handle(job: Any) -> None:
            if job.data:
                await queue.add("next", job.data - 1)

        await queue.add("first", 3)
        report = await testing.drain(queue, handle)
    assert [job.name for job in report.completed] == ["first", "next", "next", "next"]


async def test_an_error_of_the_handler_is_raised_when_its_retry_is_written(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        await queue.add("n", "x")
        with pytest.raises(OddError):
            await testing.drain(queue, recording([], fails=True))
    assert len(world.delayed()) == 1
    assert world.stream() == []


async def test_retries_go_on_until_the_job_is_buried(testing: Any, world: World) -> None:
    runs: list[Any] = []
    handle = recording(runs, fails=True)
    async with world.queue() as queue:
        await queue.add("n", "x", backoff=3_600_000)
        report = await testing.drain(queue, handle, raise_errors=False)
        assert (report.runs, report.dead_letters) == (1, 0)
        report = await testing.drain(queue, handle, raise_errors=False, fast_forward=True)
    assert [failed.job.attempts_made for failed in report.failed] == [2, 3]
    assert all(isinstance(failed.error, OddError) for failed in report.failed)
    assert report.dead_letters == 1
    assert world.dead()[0][b"reason"] == b"retries_exhausted"


async def test_delayed_jobs_stay_unless_time_is_to_pass(testing: Any, world: World) -> None:
    runs: list[Any] = []
    async with world.queue() as queue:
        await queue.add("later", "second", delay=7_200_000)
        await queue.add("soon", "first", delay=3_600_000)
        await testing.drain(queue, recording(runs))
        assert runs == []
        await testing.drain(queue, recording(runs), fast_forward=True)
    assert runs == ["first", "second"]


async def test_what_is_due_by_the_servers_clock_is_promoted(testing: Any, world: World) -> None:
    runs: list[Any] = []
    async with world.queue() as queue:
        await queue.add("n", "x", delay=1, job_id="mine")
        await world.until(lambda: world.server_ms() > world.delayed()[0][1])
        await testing.drain(queue, recording(runs))
    assert runs == ["x"]
    assert world.event_names("mine") == ["waiting", "active", "completed"]


async def test_the_options_of_a_worker_count(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        job = await queue.add("n", {"ok": True})
        await testing.drain(queue, recording([]), opts={"store_results": True, "events": False})
        assert await queue.get_job_result(job.id) == {"ok": True}
        assert world.events() == []
        await queue.add("n", "x")
        report = await testing.drain(queue, recording([], fails=True), raise_errors=False, opts={"max_attempts": 1})
        assert report.dead_letters == 1


async def test_an_unrecoverable_error_buries_at_once(testing: Any, world: World) -> None:
    async def handle(job: Any) -> None:
        raise UnrecoverableError("never")

    async with world.queue() as queue:
        await queue.add("n", 1)
        report = await testing.drain(queue, handle, raise_errors=False)
    assert report.dead_letters == 1


async def test_a_limit_leaves_the_rest(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        await queue.add_bulk([("n", number) for number in range(5)])
        report = await testing.drain(queue, recording([]), limit=2)
    assert report.runs == 2
    assert len(world.stream()) == 3
    assert world.pending() == []


async def test_a_failed_assertion_of_pytest_ends_the_test_and_not_the_job(testing: Any, world: World) -> None:
    """``pytest.fail`` is no Exception: it goes through, and the job is handed back."""

    async def handle(job: Any) -> None:
        pytest.fail("as the handler says")

    async with world.queue() as queue:
        await queue.add("n", 1)
        with pytest.raises(pytest.fail.Exception):
            await testing.drain(queue, handle)
        assert (await testing.drain(queue, recording([]))).runs == 1


async def test_an_entry_that_is_no_job_is_buried(testing: Any, world: World) -> None:
    world.put({b"d": b"\xc1"})
    async with world.queue() as queue:
        report = await testing.drain(queue, recording([]))
    assert (report.runs, report.dead_letters) == (0, 1)


async def test_a_producer_is_drained_with_raw_jobs(testing: Any, world: World) -> None:
    seen: list[Any] = []

    async def handle(job: RawJob) -> bytes:
        seen.append(job.payload)
        return b"\xc1"

    async with producer(world) as raw:
        added = await raw.add(b"\xc1 payload")
        report = await testing.drain(raw, handle, opts={"store_results": True})
        assert await raw.get_result(added.job_id) == b"\xc1"
    assert seen == [b"\xc1 payload"]
    assert isinstance(report.completed[0], RawJob)


async def test_inline_runs_every_job_as_it_is_added(testing: Any, world: World) -> None:
    runs: list[Any] = []
    async with world.queue() as queue:
        async with testing.inline(queue, recording(runs)) as report:
            await queue.add("n", 1)
            assert runs == [1]
            await queue.add_unique("n", 2, job_id="two")
            await queue.add_bulk([("n", 3), ("n", 4)])
            await queue.add("n", "later", delay=60_000)
            assert runs == [1, 2, 3, 4]
        await queue.add("n", 5)
    assert runs == [1, 2, 3, 4]
    assert report.runs == 4


async def test_inline_runs_what_a_handler_adds_after_it(testing: Any, world: World) -> None:
    order: list[Any] = []
    async with world.queue() as queue:

        async def handle(job: Any) -> None:
            order.append(job.data)
            if job.data < 3:
                await queue.add("n", job.data + 1)
                order.append(-job.data)

        async with testing.inline(queue, handle):
            await queue.add("n", 1)
    assert order == [1, -1, 2, -2, 3]


async def test_inline_ends_with_its_block(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        with pytest.raises(OddError):
            async with testing.inline(queue, recording([], fails=True)):
                await queue.add("n", 1)
        await queue.add("n", 2)
    assert len(world.stream()) == 1


async def test_a_plain_function_is_a_handler_in_both_forms(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        await queue.add("n", 1)
        report = await testing.drain(queue, lambda job: job.data + 1)
    assert report.completed[0].returnvalue == 2


async def test_what_is_no_handler_is_refused(testing: Any, world: World) -> None:
    async with world.queue() as queue:
        with pytest.raises(InvalidOptionTypeError):
            await testing.drain(queue, None)
        with pytest.raises(NotSupportedError):
            await testing.drain(queue, "module.function")
        with pytest.raises(InvalidOptionTypeError):
            await testing.drain(queue, recording([]), opts={"no_such": 1})


def test_a_coroutine_function_needs_the_other_form() -> None:
    with (
        chasquimq.sync.Queue("q", connection="redis://127.0.0.1:1") as queue,
        pytest.raises(InvalidOptionTypeError, match="aio"),
    ):
        chasquimq.testing.sync.drain(queue, recording([]))
