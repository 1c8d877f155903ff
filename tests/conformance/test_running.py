"""Running jobs: each one once, with the data that was added, no more at a time than asked for."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chasquimq import BackoffOptions, ClosedError, InvalidOptionTypeError, NotSupportedError, WorkerOptions
from tests.conformance.flavours import Flavour
from tests.conformance.world import World, envelope

ALL_FORMS = pytest.mark.forms("sync", "asyncio", "trio", "uvloop")


@ALL_FORMS
async def test_every_job_runs_once(world: World) -> None:
    ran: list[int] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    async with world.queue() as queue, world.worker(handle):
        for number in range(10):
            await queue.add("w", number)
        await queue.add_bulk([("w", number) for number in range(10, 2_000)], return_jobs=False)
        await world.until(lambda: len(ran) >= 2_000 and world.is_empty())
    assert sorted(ran) == list(range(2_000))


async def test_one_at_a_time_is_in_order(world: World) -> None:
    ran: list[int] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    async with world.queue() as queue:
        await queue.add_bulk([("w", number) for number in range(200)])
        async with world.worker(handle, concurrency=1):
            await world.until(lambda: len(ran) >= 200)
    assert ran == list(range(200))


@ALL_FORMS
async def test_the_handler_gets_the_job_as_it_was_added(world: World) -> None:
    known = ("id", "name", "data", "timestamp", "attempts_made", "deliveries", "redelivered")
    fresh = ("queue", "progress", "returnvalue", "failed_reason", "finished_on", "is_duplicate", "delay")
    seen: list[tuple[dict[str, Any], Any, int]] = []

    async def handle(job: Any) -> None:
        # Looked at below: an assertion that fails in here would only be one more failed run.
        seen.append(({name: getattr(job, name) for name in (*known, *fresh)}, job.opts, job.processed_on))

    async with world.queue() as queue, world.worker(handle):
        job = await queue.add("welcome", {"to": "ada"}, attempts=4, backoff=7)
        await world.until(lambda: seen and world.is_empty())
    ((found, opts, processed_on),) = seen
    assert found == {
        "id": job.id,
        "name": "welcome",
        "data": {"to": "ada"},
        "timestamp": job.timestamp,
        "attempts_made": 1,
        "deliveries": 0,
        "redelivered": False,
        "queue": None,
        "progress": 0,
        "returnvalue": None,
        "failed_reason": None,
        "finished_on": None,
        "is_duplicate": False,
        "delay": 0,
    }
    assert (opts.attempts, opts.backoff) == (4, BackoffOptions(type="fixed", delay=7))
    assert processed_on >= job.timestamp
    assert not world.dead()


ROUND_TRIPS: list[Any] = [
    None,
    False,
    0,
    "",
    -(2**63),
    2**64 - 1,
    1.5,
    "発送 🎉",
    b"\x00\xff" * 300,
    [],
    {},
    {1: "one", -2: {True: None}, b"bytes": 3},
    {"deep": [[{"er": [1, [2, [3]]]}]]},
    datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    {"when": [datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)]},
    "x" * 70_000,
]


async def test_data_comes_out_as_it_went_in(world: World) -> None:
    seen: dict[str, Any] = {}

    async def handle(job: Any) -> None:
        seen[job.id] = job.data

    async with world.queue() as queue, world.worker(handle):
        jobs = [await queue.add("w", data) for data in ROUND_TRIPS]
        await world.until(lambda: len(seen) == len(jobs))
    for job, data in zip(jobs, ROUND_TRIPS, strict=True):
        assert seen[job.id] == data
        assert type(seen[job.id]) is type(data)


async def test_tuples_come_out_as_lists(world: World) -> None:
    seen: list[Any] = []

    async def handle(job: Any) -> None:
        seen.append(job.data)

    async with world.queue() as queue, world.worker(handle):
        await queue.add("w", (1, ("two", 3)))
        await world.until(lambda: seen)
    assert seen == [[1, ["two", 3]]]


@ALL_FORMS
@pytest.mark.parametrize("concurrency", [1, 3, 8])
async def test_no_more_handlers_run_than_asked_for_and_no_fewer(world: World, concurrency: int) -> None:
    running: list[int] = []
    most: list[int] = []
    all_in, gate = world.gate(), world.gate()

    async def handle(job: Any) -> None:
        running.append(job.data)
        most.append(len(running))
        if len(running) == concurrency:
            all_in.open()
        await gate.passed()
        running.remove(job.data)

    async with world.queue() as queue, world.worker(handle, concurrency=concurrency):
        await queue.add_bulk([("w", number) for number in range(4 * concurrency)])
        await all_in.passed()
        gate.open()
        await world.until(world.is_empty)
    assert max(most) == concurrency


async def test_a_slow_worker_leaves_what_it_cannot_start_to_others(world: World) -> None:
    started, gate = world.gate(), world.gate()
    by: list[str] = []

    async def slow(job: Any) -> None:
        by.append("slow")
        started.open()
        await gate.passed()

    async def quick(job: Any) -> None:
        by.append("quick")

    async with world.queue() as queue, world.worker(slow, concurrency=1):
        await queue.add_bulk([("w", number) for number in range(20)])
        await started.passed()
        async with world.worker(quick, concurrency=1):
            await world.until(lambda: by.count("quick") >= 18)
            gate.open()
            await world.until(world.is_empty)
    assert len(by) == 20


async def test_two_workers_share_the_load_and_each_job_runs_once(world: World) -> None:
    ran: list[tuple[str, int]] = []
    both = world.gate()

    def handler(name: str) -> Any:
        async def handle(job: Any) -> None:
            ran.append((name, job.data))
            if len({worker for worker, _ in ran}) == 2:
                both.open()
            await both.passed()  # nobody takes everything before the other one is there

        return handle

    async with (
        world.queue() as queue,
        world.worker(handler("a"), concurrency=4, name="worker-a"),
        world.worker(handler("b"), concurrency=4, name="worker-b"),
    ):
        await queue.add_bulk([("w", number) for number in range(400)])
        await world.until(lambda: len(ran) >= 400 and world.is_empty())
    assert sorted(number for _, number in ran) == list(range(400))
    assert {worker for worker, _ in ran} == {"a", "b"}


@pytest.mark.forms("asyncio", "trio", "uvloop")
async def test_a_plain_function_runs_in_a_thread_of_the_asynchronous_worker(world: World) -> None:
    loop_thread = threading.get_ident()
    together = threading.Barrier(3)
    threads: list[int] = []

    def handle(job: Any) -> str:
        together.wait(10)
        threads.append(threading.get_ident())
        return "from a thread"

    async with world.queue() as queue, world.worker(handle, concurrency=3, store_results=True):
        jobs = await queue.add_bulk([("w", number) for number in range(3)])
        assert await jobs[0].wait_for_result(interval_ms=5) == "from a thread"
        await world.until(world.is_empty)
    assert len(set(threads)) == 3
    assert loop_thread not in threads


async def test_what_a_worker_finds_waiting_is_run_too(world: World) -> None:
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append((job.id, job.data))

    world.put({b"n": b"n before d", b"x": b"unknown", b"d": envelope("before", 1)})
    async with world.worker(handle):
        await world.until(lambda: ran and world.is_empty())
    assert ran == [("before", 1)]


@ALL_FORMS
async def test_each_acks_one_by_one(world: World) -> None:
    """With ack="each" a handler never starts before the end of the consumer's last job is written."""
    left: list[int] = []

    async def handle(job: Any) -> None:
        left.append(world.admin.xlen(world.key("stream")))
        if job.data in (150, 200, 250):
            # The end of this job, a write, takes a while. A worker that is used to fast jobs has the next one.
            world.admin.client_pause(100, all=False)

    async with world.queue() as queue:
        await queue.add_bulk([("w", number) for number in range(300)])
        async with world.worker(handle, ack="each", concurrency=1):
            await world.until(world.is_empty)
    assert left == list(range(300, 0, -1))


# -- construction ------------------------------------------------------------------------------------------------------


async def handle_nothing(job: Any) -> None:
    """Does nothing."""


@pytest.mark.parametrize("processor", ["module.function", b"path", Path("worker.py")])
async def test_sandboxed_processors_are_not_supported(flavour: Flavour, processor: Any) -> None:
    with pytest.raises(NotSupportedError, match="sandboxed"):
        flavour.Worker("q", processor)


@pytest.mark.parametrize("processor", [None, 7, object()])
async def test_a_processor_is_a_function(flavour: Flavour, processor: Any) -> None:
    with pytest.raises(TypeError, match="processor"):
        flavour.Worker("q", processor)


@pytest.mark.forms("sync")
async def test_the_synchronous_worker_refuses_coroutine_functions(flavour: Flavour) -> None:
    class Handler:
        async def __call__(self, job: Any) -> None: ...

    for processor in (handle_nothing, Handler()):
        with pytest.raises(InvalidOptionTypeError, match=r"chasquimq\.aio"):
            flavour.Worker("q", processor)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"concurrency": 0}, ValueError),
        ({"concurrency": "many"}, TypeError),
        ({"drain_delay": -1}, ValueError),
        ({"max_stalled_count": 0}, ValueError),
        ({"max_stalled_count": 3, "max_attempts": 3}, ValueError),
        ({"lease_ms": 99}, ValueError),
        ({"result_ttl_ms": 0}, ValueError),
        ({"drain_timeout_ms": -1}, ValueError),
        ({"events": "yes"}, TypeError),
        ({"autorun": 1}, TypeError),
        ({"store_results": None, "ack": "sometimes"}, ValueError),
        ({"name": " "}, ValueError),
        ({"name": 7}, TypeError),
        ({"backoff": -1}, ValueError),
        ({"nonsense": 1}, TypeError),
        ({"opts": {"nonsense": 1}}, TypeError),
    ],
)
async def test_wrong_worker_options_are_refused_at_construction(
    flavour: Flavour, options: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        flavour.worker("q", handle_nothing, **options)


async def test_worker_options_come_as_value_mapping_or_keyword_and_the_ignored_ones_are_accepted(world: World) -> None:
    done: list[int] = []

    async def handle(job: Any) -> None:
        done.append(1)

    for opts in (WorkerOptions(connection=world.url, name="theirs"), {"connection": world.url, "name": "theirs"}):
        ignored = {"remove_on_complete": True, "remove_on_fail": 5, "prefix": "bull", "run_scheduler": False}
        worker = world.flavour.worker(world.name, handle, opts=opts, name="mine", scheduler_tick_ms=500, **ignored)
        async with world.queue() as queue, worker:
            await queue.add("w", 1)
            await world.until(lambda: "mine" in world.consumers() and world.is_empty())
    assert len(done) == 2


async def test_a_worker_tells_its_state(world: World) -> None:
    worker = world.worker(handle_nothing, autorun=False)
    assert (worker.is_running(), worker.is_paused(), worker.is_closed) == (False, False, False)
    async with worker:
        assert worker.is_running() is False
        async with world.flavour.beside(worker.run):
            await world.until(worker.is_running)
            assert "running" in repr(worker)
            await worker.close()
    assert (worker.is_running(), worker.is_paused(), worker.is_closed) == (False, False, True)


async def test_what_workers_do_not_support_says_so(world: World) -> None:
    worker = world.worker(handle_nothing)
    for call in (worker.pause, worker.resume, lambda: worker.rate_limit(1000)):
        with pytest.raises(NotSupportedError):
            call()
    await worker.close()
    with pytest.raises(ClosedError):
        await worker.run()
