"""Anything, anywhere in the public API: it is taken, or refused with an error of ours before anything is written."""

from __future__ import annotations

import dataclasses
import decimal
import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import pytest

import chasquimq.aio
import chasquimq.sync
from chasquimq import ChasquiError
from chasquimq.options import BackoffOptions, JobsOptions, MissedFires, RepeatOptions
from tests.conformance.flavours import Flavour
from tests.conformance.world import World

ANYTHING: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**53, 2**53 + 1, 2**63, 2**64, 2**70, 10**5_000, -(10**5_000)),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"), decimal.Decimal(1), 1j),
    *("", " ", "text", "\ud800", "\0", "5", "1e5", "fixed", "fire-all", "x" * 10_000, b"", b"bytes", bytearray(b"x")),
    *(
        [],
        [1],
        (),
        (1, 2),
        {},
        {"a": 1},
        {1: 2},
        {None: None},
        {"type": "fixed"},
        {"every": "x"},
        {"pattern": 5},
        set(),
    ),
    *(object(), object, ..., len, dataclasses, range(3), iter([1]), memoryview(b"x"), NotImplemented),
]


def fields(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def keywords_of(kind: Any) -> list[str]:
    return [name for name in inspect.signature(kind.__init__).parameters if name != "self"]


def contents(world: World) -> list[tuple[bytes, Any]]:
    """All that the queue has in Redis."""
    keys = sorted(world.admin.scan_iter(match=world.key("*"), count=10_000))
    return [(key, world.admin.dump(key)) for key in keys]


async def try_all(
    world: World, call: Callable[[Any], Awaitable[Any]], values: list[Any] = ANYTHING
) -> list[type[ChasquiError]]:
    """Calls with each value; what was refused, and how. Any other error passes through, and is named."""
    refused = []
    for value in values:
        before = contents(world)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                await call(value)
        except ChasquiError as error:
            refused.append(type(error))
        except Exception as error:
            error.add_note(f"for the value {value!r:.60}" if not isinstance(value, int) else "for a number")
            raise
        else:
            continue
        assert contents(world) == before, f"{value!r:.60} was refused, and yet something was written"
    return refused


@pytest.mark.parametrize("option", fields(JobsOptions))
async def test_any_value_for_any_option_of_a_job(world: World, option: str) -> None:
    async with world.queue() as queue:
        refused = await try_all(world, lambda value: queue.add("w", 1, **{option: value}))
        rows = await try_all(world, lambda value: queue.add_bulk([("w", 1, {option: value})]))
    assert bool(refused) == bool(rows)
    assert refused or option in ("priority", "lifo", "remove_on_complete", "remove_on_fail", "repeat_job_key")


@pytest.mark.parametrize("option", fields(RepeatOptions))
async def test_any_value_for_any_option_of_a_repetition(world: World, option: str) -> None:
    async with world.queue() as queue:
        for base in ({"every": 60_000}, {"pattern": "0 0 1 1 *"}):
            await try_all(world, lambda value, base=base: queue.add("w", 1, repeat={**base, option: value}))


@pytest.mark.parametrize("option", fields(BackoffOptions))
async def test_any_value_in_a_backoff(world: World, option: str) -> None:
    base = {"type": "exponential", "delay": 5}
    async with world.queue() as queue:
        assert await try_all(world, lambda value: queue.add("w", 1, backoff={**base, option: value}))


@pytest.mark.parametrize("option", fields(MissedFires))
async def test_any_value_for_missed_fires(world: World, option: str) -> None:
    base = {"kind": "fire-all", "max_catchup": 5}
    async with world.queue() as queue:
        repeat = {"every": 60_000}
        assert await try_all(
            world, lambda value: queue.add("w", 1, repeat={**repeat, "missed_fires": {**base, option: value}})
        )


CALLS: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "a name": lambda queue, value: queue.add(value, 1),
    "data": lambda queue, value: queue.add("w", value),
    "nested data": lambda queue, value: queue.add("w", {"a": [value]}),
    "a key in data": lambda queue, value: queue.add("w", [[(value, 1)]]),
    "options": lambda queue, value: queue.add("w", 1, opts=value),
    "a name, once": lambda queue, value: queue.add_unique(value, 1, job_id="x"),
    "rows": lambda queue, value: queue.add_bulk(value),
    "a row": lambda queue, value: queue.add_bulk([value]),
    "a row among others": lambda queue, value: queue.add_bulk([("w", 1), value]),
    "a name in a row": lambda queue, value: queue.add_bulk([(value, 1)]),
    "data in a row": lambda queue, value: queue.add_bulk([("w", value)]),
    "options in a row": lambda queue, value: queue.add_bulk([("w", 1, value)]),
    "an id to remove": lambda queue, value: queue.remove(value),
    "an id of a result": lambda queue, value: queue.get_job_result(value),
    "a key of a spec": lambda queue, value: queue.remove_repeatable_by_key(value),
    "how many dead letters": lambda queue, value: queue.peek_dlq(value),
    "how many to replay": lambda queue, value: queue.replay_dlq(value),
    "how many specs": lambda queue, value: queue.get_repeatable_jobs(value),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_any_argument_of_a_queue(world: World, call: Callable[[Any, Any], Awaitable[Any]]) -> None:
    async with world.queue() as queue:
        assert await try_all(world, lambda value: call(queue, value))


@pytest.mark.parametrize("option", ["timeout_ms", "interval_ms", "opts"])
async def test_any_argument_of_a_wait(world: World, option: str) -> None:
    async with world.queue() as queue:
        job = await queue.add("w", 1, job_id="id")
        world.admin.set(world.key("result:id"), msgpack.packb("there"), ex=60)
        # A wait of no time at all may end before it has looked.
        values = [value for value in ANYTHING if value not in (0, False, 0.5, -0.0, 1, True)]
        assert await try_all(world, lambda value: job.wait_for_result(**{option: value}), values)


@pytest.mark.parametrize("form", ["Queue", "Worker", "QueueEvents"])
async def test_any_argument_of_a_constructor(world: World, form: str) -> None:
    async def handle(job: Any) -> None: ...

    module = chasquimq.aio if world.flavour.is_async else chasquimq.sync
    kind = getattr(module, form)
    base: dict[str, Any] = {"connection": world.url}
    if form == "Worker":
        base |= {"queue_name": world.name, "processor": world.flavour.handler(handle)}
    else:
        base |= {"name": world.name}

    for option in keywords_of(kind):

        async def make(value: Any, option: str = option) -> None:
            kind(**{**base, option: value})

        refused = await try_all(world, make)
        assert refused or option in ("prefix", "remove_on_complete", "remove_on_fail"), option


async def test_any_name_of_an_event(world: World) -> None:
    async def handle(job: Any) -> None: ...

    module = chasquimq.aio if world.flavour.is_async else chasquimq.sync
    worker = module.Worker(world.name, world.flavour.handler(handle), connection=world.url)
    for hears in (worker, module.QueueEvents(world.name, connection=world.url)):
        for method in ("on", "once", "off"):

            async def listen(value: Any, hears: Any = hears, method: str = method) -> None:
                getattr(hears, method)(value, print)

            assert len(await try_all(world, listen)) == len(ANYTHING)


async def test_any_handler_result(world: World) -> None:
    """A worker survives whatever a handler gives back."""
    given = [value for value in ANYTHING if value is not NotImplemented]

    async def handle(job: Any) -> Any:
        return given[job.data]

    async with world.queue() as queue, world.worker(handle, store_results=True):
        await queue.add_bulk([("w", number, {"job_id": f"j{number}"}) for number in range(len(given))])
        await world.until(lambda: world.is_empty() and not world.pending())
        await queue.add("w", given.index("text"), job_id="last")
        await world.until(lambda: world.admin.exists(world.key("result:last")))
    assert world.dead() == []


async def test_a_flavour_is_told_apart(flavour: Flavour) -> None:
    """The table above is of the form that it says: both modules have the same keywords."""
    for form in ("Queue", "Worker", "QueueEvents"):
        assert keywords_of(getattr(chasquimq.aio, form)) == keywords_of(getattr(chasquimq.sync, form))
