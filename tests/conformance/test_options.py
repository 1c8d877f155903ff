"""Every option of the product page can be given as a keyword and in ``opts=``, and arrives where it is needed.

What an option does is tested where that belongs; here none is lost on the way, in either form.
"""

from __future__ import annotations

import dataclasses
import inspect
from datetime import timedelta
from typing import Any

import pytest

import chasquimq.aio
import chasquimq.sync
from chasquimq import BackoffSpec, InvalidOptionTypeError, JobsOptions, QueueEventsOptions, QueueOptions, WorkerOptions
from chasquimq._core.worker_settings import worker_settings
from tests.conformance.flavours import Flavour
from tests.conformance.test_following import follow
from tests.conformance.world import World, command_calls

NOWHERE = "redis://127.0.0.1:1/0"


def form_of(flavour: Flavour) -> Any:
    return chasquimq.aio if flavour.is_async else chasquimq.sync


async def handle_nothing(job: Any) -> None:
    """Does nothing."""


def calls(world: World, command: str) -> int:
    return command_calls(world.admin).get(command, 0)


def keyword_names(function: Any) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY} - {"opts"}


def field_names(options: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(options)}


async def test_keywords_and_option_values_have_the_same_names(flavour: Flavour) -> None:
    form = form_of(flavour)
    for function, options in (
        (form.Queue, QueueOptions),
        (form.Queue.add, JobsOptions),
        (form.Queue.add_unique, JobsOptions),
        (form.Worker, WorkerOptions),
        (form.QueueEvents, QueueEventsOptions),
    ):
        assert keyword_names(function) == field_names(options), function


# -- a job -------------------------------------------------------------------------------------------------------------

OF_A_JOB: dict[str, Any] = {
    "delay": 60_000,
    "attempts": 4,
    "backoff": BackoffSpec.exponential(10, max_delay_ms=50),
    "job_id": "mine",
    "repeat": {"every": 60_000},
    "repeat_job_key": "key",
    "priority": 3,
    "lifo": True,
    "timestamp": 1_600_000_000_000,
    "remove_on_complete": True,
    "remove_on_fail": 100,
}


@pytest.fixture
def _warned_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chasquimq.options._warned", {"priority", "lifo"})


@pytest.mark.usefixtures("_warned_already")
@pytest.mark.parametrize("option", OF_A_JOB)
@pytest.mark.parametrize("method", ["add", "add_unique"])
async def test_every_option_of_a_job_arrives(world: World, method: str, option: str) -> None:
    needed = {"job_id": "mine"} if method == "add_unique" else {}
    given = {option: OF_A_JOB[option]}
    async with world.queue() as queue:
        for options in ({**needed, **given}, {"opts": JobsOptions(**given), **needed}, {"opts": given, **needed}):
            job = await getattr(queue, method)("w", 1, **options)
            assert job.opts == JobsOptions(**{**needed, **given})


@pytest.mark.usefixtures("_warned_already")
@pytest.mark.parametrize("option", sorted(set(OF_A_JOB) - {"repeat"}))
async def test_every_option_of_a_job_can_be_the_queues_default(world: World, option: str) -> None:
    given = {option: OF_A_JOB[option]}
    for defaults in (given, JobsOptions(**given)):
        async with world.queue(default_job_options=defaults) as queue:
            (row,) = await queue.add_bulk([("w", 1)])
            assert [(await queue.add("w", 1)).opts, row.opts] == [JobsOptions(**given)] * 2


def test_these_are_all_options_of_a_job() -> None:
    assert {*OF_A_JOB, "parent"} == field_names(JobsOptions), "parent is refused, see test_adding"


# -- a worker ----------------------------------------------------------------------------------------------------------

OF_A_WORKER: dict[str, Any] = {
    "concurrency": 7,
    "autorun": False,
    "drain_delay": timedelta(seconds=1),
    "max_stalled_count": 9,
    "max_attempts": 8,
    "name": "mine",
    "run_scheduler": False,
    "scheduler_tick_ms": 50,
    "store_results": True,
    "result_ttl_ms": 60_000,
    "events": False,
    "lease_ms": 1_234,
    "drain_timeout_ms": 5,
    "ack": "each",
    "backoff": BackoffSpec.fixed(20),
    "max_payload_bytes": 1_000,
    "processes": 2,
    "start_method": "fork",
}
IGNORED = {"remove_on_complete", "remove_on_fail", "prefix"}


def settings_of(worker: Any) -> Any:
    return worker._settings


async def test_without_options_a_worker_has_the_documented_defaults(flavour: Flavour) -> None:
    worker = flavour.worker("q", handle_nothing, connection=NOWHERE)
    found = settings_of(worker)
    assert found == worker_settings(WorkerOptions(), found.consumer.decode())
    await worker.close()


@pytest.mark.parametrize("option", OF_A_WORKER)
async def test_every_option_of_a_worker_arrives(flavour: Flavour, option: str) -> None:
    given = {"name": "w", option: OF_A_WORKER[option]}
    expected = worker_settings(WorkerOptions(**given), "generated")
    assert expected != worker_settings(WorkerOptions(name="w"), "generated"), "or this shows nothing"
    for options in (given, {"opts": WorkerOptions(**given)}, {"opts": given}):
        worker = flavour.worker("q", handle_nothing, connection=NOWHERE, **options)
        assert settings_of(worker) == expected
        await worker.close()


async def test_the_rest_of_a_workers_options_is_accepted_without_effect(flavour: Flavour) -> None:
    assert {*OF_A_WORKER, *IGNORED, "connection"} == field_names(WorkerOptions)
    worker = flavour.worker("q", handle_nothing, connection=NOWHERE, **dict.fromkeys(IGNORED, "whatever"))
    assert settings_of(worker) == worker_settings(WorkerOptions(), settings_of(worker).consumer.decode())
    await worker.close()


async def test_a_worker_reads_for_as_long_as_it_is_told(world: World) -> None:
    for options in ({"drain_delay": 5}, {"opts": {"drain_delay": timedelta(milliseconds=5)}}):
        before = calls(world, "xreadgroup")
        async with world.worker(handle_nothing, **options):
            await world.until(lambda before=before: calls(world, "xreadgroup") >= before + 5)


# -- a subscription ----------------------------------------------------------------------------------------------------


async def test_a_subscription_reads_for_as_long_as_it_is_told(world: World) -> None:
    as_option = {"blocking_timeout": None, "opts": {"blocking_timeout": timedelta(milliseconds=5)}}
    for options in ({"blocking_timeout": 5}, as_option):
        before = calls(world, "xread")
        async with follow(world, **options):
            await world.until(lambda before=before: calls(world, "xread") >= before + 5)


async def test_a_subscription_is_told_clearly_whether_it_runs_by_itself(flavour: Flavour) -> None:
    with pytest.raises(InvalidOptionTypeError, match="autorun"):
        form_of(flavour).QueueEvents("q", connection=NOWHERE, autorun="yes")
