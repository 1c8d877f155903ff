"""QueueEvents: what happens in a queue, told to listeners and to whoever iterates, from any place in the stream."""

from __future__ import annotations

from typing import Any, Self

import pytest

import chasquimq.aio
import chasquimq.sync
from chasquimq import ClosedError, InvalidOptionError, InvalidOptionTypeError, events
from chasquimq.options import QueueEventsOptions
from tests.conformance.flavours import Spoken
from tests.conformance.world import World

LONG_MS = 60_000
"""A read that waits for longer than any test lasts: what ends earlier was ended."""


class SpokenEvents(Spoken):
    """A synchronous QueueEvents that is iterated with ``async for``, so that tests read alike."""

    def __aiter__(self) -> Self:
        iter(self._target)
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._target)
        except StopIteration:
            raise StopAsyncIteration from None


def follow(world: World, **options: Any) -> Any:
    options = {"connection": world.url, "blocking_timeout": LONG_MS, **options}
    if world.flavour.is_async:
        return chasquimq.aio.QueueEvents(world.name, **options)
    return SpokenEvents(chasquimq.sync.QueueEvents(world.name, **options))


async def take(following: Any, count: int) -> list[events.QueueEvent]:
    """The next events of an iteration."""
    found: list[events.QueueEvent] = []
    while len(found) < count:
        found.append(await following.__aiter__().__anext__())
    return found


def write(world: World, *job_ids: object, kind: str = "waiting") -> list[str]:
    """Writes events by hand; their ids."""
    key = world.key("events")
    return [world.admin.xadd(key, {"e": kind, "id": str(job_id), "ts": "1"}).decode() for job_id in job_ids]


def readers(world: World) -> list[str]:
    """The connections that wait for events now; none of the admin's, none of the workers'."""
    return [client["id"] for client in world.admin.client_list() if client["cmd"] == "xread" and "b" in client["flags"]]


async def blocked(world: World, before: list[str]) -> str:
    """Waits until a new reader waits for events."""
    (only,) = await world.until(lambda: [found for found in readers(world) if found not in before])
    return only


async def handle(job: Any) -> Any:
    if job.name == "boom":
        raise ValueError("because")
    return job.data


# -- what is told --------------------------------------------------------------------------------------------------


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_every_event_is_told_typed(world: World) -> None:
    async with world.queue() as queue, world.worker(handle, drain_delay=50):
        fine = await queue.add("fine", {"a": 1})
        boom = await queue.add("boom", 1, attempts=2, backoff=10)
        late = await queue.add("late", 1, delay=20)
        await world.until(lambda: "completed" in world.event_names(late.id) and "dlq" in world.event_names(boom.id))
        await world.until(lambda: "waiting" in world.event_names(late.id) and "waiting" in world.event_names(boom.id))
        await world.until(lambda: "completed" in world.event_names(fine.id))
        await world.until(lambda: any(event["e"] == "drained" for event in world.events()))
    write(world, "future", kind="stalled")
    raw = [(entry_id.decode(), fields) for entry_id, fields in world.admin.xrange(world.key("events"))]
    following = follow(world, last_event_id="0")
    found = await take(following, len(raw))
    await following.close()

    assert [event.event_id for event in found] == [entry_id for entry_id, _ in raw]
    for event, (_, fields) in zip(found, raw, strict=True):
        assert event.event == ("unknown" if fields[b"e"] == b"stalled" else fields[b"e"].decode())
        assert event.ts == int(fields[b"ts"])
        assert getattr(event, "job_id", "") == ("" if fields[b"e"] == b"stalled" else fields[b"id"].decode())
        assert getattr(event, "attempt", None) in (None, int(fields.get(b"attempt", 0)))
        assert getattr(event, "duration_us", None) in (None, int(fields.get(b"duration_us", 0)))
    by_kind = {type(event): event for event in found}
    assert {events.Active, events.Completed, events.Failed, events.RetryScheduled} <= set(by_kind)
    assert {events.Waiting, events.Dlq, events.Drained, events.Unknown} <= set(by_kind)
    of_boom = [event for event in found if getattr(event, "job_id", "") == boom.id]
    assert [event.failed_reason for event in of_boom if isinstance(event, events.Failed)] == ["because"] * 2
    assert [(event.attempt, event.backoff_ms) for event in of_boom if isinstance(event, events.RetryScheduled)] == [
        (2, 10)
    ]
    assert [(event.attempt, event.reason) for event in of_boom if isinstance(event, events.Dlq)] == [
        (2, "retries_exhausted")
    ]
    (unknown,) = [event for event in found if isinstance(event, events.Unknown)]
    assert (unknown.event_name, unknown.fields) == ("stalled", {"id": "future", "ts": "1"})


async def test_listeners_hear_every_kind_with_its_arguments(world: World) -> None:
    heard: list[tuple[Any, ...]] = []
    kinds = ("waiting", "active", "completed", "failed", "retry-scheduled", "delayed", "dlq", "retries-exhausted")
    async with follow(world) as following:
        for kind in (*kinds, "drained", "unknown"):
            following.on(kind, lambda *arguments, kind=kind: heard.append((kind, *arguments)))
        written = [*kinds[:7], "drained", "stalled"]
        ids = [write(world, "j", kind=kind)[0] for kind in written]
        await world.until(lambda: len(heard) == 10)
    assert [call[0] for call in heard] == [*kinds, "drained", "unknown"]
    assert [call[-1] for call in heard] == [*ids[:7], ids[6], *ids[7:]], "each with the id in the stream"
    for kind, *arguments in heard:
        if kind == "drained":
            assert len(arguments) == 1
        else:
            assert arguments[0].event == kind
            assert arguments[0].event_id == arguments[1]
    exhausted = next(call[1] for call in heard if call[0] == "retries-exhausted")
    assert isinstance(exhausted, events.RetriesExhausted)


async def test_listeners_are_registered_in_several_ways(world: World) -> None:
    always, once, never, decorated, errors = [], [], [], [], []
    async with follow(world) as following:
        following.on("waiting", lambda event, _: always.append(event.job_id))
        following.once("waiting", lambda event, _: once.append(event.job_id))
        listener = following.on("waiting", lambda event, _: never.append(event.job_id))
        following.off("waiting", listener)
        following.off("waiting", listener)
        following.on("error", errors.append)

        @following.on("waiting")
        def broken(event: events.Waiting, event_id: str) -> None:
            decorated.append(event.job_id)
            raise ValueError("of the listener")

        write(world, 1, 2, 3)
        await world.until(lambda: len(errors) == 3)
        await world.until(lambda: len(always) == 3)
    assert (always, once, never, decorated) == (["1", "2", "3"], ["1"], [], ["1", "2", "3"])
    assert {str(error) for error in errors} == {"of the listener"}


@pytest.mark.forms("asyncio", "trio")
@pytest.mark.parametrize("scoped", [True, False])
async def test_listeners_may_be_coroutine_functions(world: World, scoped: bool) -> None:
    heard: list[str] = []
    following = follow(world, last_event_id="0", autorun=scoped)

    @following.on("waiting")
    async def listen(event: events.Waiting, event_id: str) -> None:
        await world.flavour.sleep(0)
        heard.append(event.job_id)

    write(world, 1, 2, 3)
    async with following:
        if scoped:
            await world.until(lambda: len(heard) == 3)
        else:
            async with world.flavour.beside(following.run):
                try:
                    await world.until(lambda: len(heard) == 3)
                finally:
                    await following.close()
    assert sorted(heard) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [({"a": [1, None]}, {"a": [1, None]}), ("text", "text"), (0, 0), (None, None), ("x" * 2_000, None), (b"x", None)],
    ids=["mapping", "text", "zero", "none", "long", "bytes"],
)
async def test_a_short_return_value_is_shown(world: World, value: Any, shown: Any) -> None:
    async with world.queue() as queue, follow(world) as following, world.worker(handle):
        await queue.add("fine", value)
        active, completed = await take(following, 2)
    assert (type(active), type(completed)) == (events.Active, events.Completed)
    assert completed.returnvalue == shown
    assert type(completed.returnvalue) is type(shown)


# -- from where ----------------------------------------------------------------------------------------------------


async def test_only_what_happens_from_now_on_is_told(world: World) -> None:
    write(world, "before")
    async with follow(world) as following:
        write(world, "after")
        (event,) = await take(following, 1)
    assert event.job_id == "after"


async def test_what_is_still_there_can_be_read_again(world: World) -> None:
    ids = write(world, *range(600))
    for place, expected in [("0", ids), (ids[299], ids[300:]), (ids[598], ids[599:])]:
        following = follow(world, last_event_id=place)
        assert [event.event_id for event in await take(following, len(expected))] == expected
        await following.close()


async def test_after_waiting_until_ready_nothing_is_missed(world: World) -> None:
    async with world.queue() as queue, world.worker(handle):
        following = follow(world)
        await following.wait_until_ready()
        await following.wait_until_ready()
        jobs = await queue.add_bulk([("w", number) for number in range(300)])
        await world.until(lambda: len(world.events()) >= 600)
        found = await take(following, 600)
        await following.close()
    completed = [event.job_id for event in found if isinstance(event, events.Completed)]
    assert sorted(completed) == sorted(job.id for job in jobs)


async def test_in_a_scope_events_wait_for_whoever_iterates(world: World) -> None:
    heard: list[str] = []
    async with follow(world) as following:
        following.on("waiting", lambda event, _: heard.append(event.job_id))
        write(world, *range(500))
        await world.until(lambda: len(heard) == 500)
        assert [event.job_id for event in await take(following, 500)] == [str(number) for number in range(500)]


async def test_without_autorun_a_scope_starts_nothing(world: World) -> None:
    heard: list[str] = []
    before = readers(world)
    async with follow(world, autorun=False) as following:
        following.on("waiting", lambda event, _: heard.append(event.job_id))
        await following.wait_until_ready()
        write(world, 1)
        await world.flavour.sleep(0.1)
        assert (readers(world), heard) == (before, [])
        assert [event.job_id for event in await take(following, 1)] == ["1"]
        assert heard == ["1"]


# -- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["iterating", "running", "iterating in a scope", "running in a scope"])
async def test_closing_ends_a_reader_that_waits(world: World, how: str) -> None:
    """At once: the read would last for a minute."""
    before = readers(world)
    following = follow(world, autorun="scope" in how)
    found: list[events.QueueEvent] = []

    async def read() -> None:
        if how.startswith("running"):
            await following.run()
        else:
            async for event in following:
                found.append(event)

    async with following, world.flavour.beside(read):
        await blocked(world, before)
        write(world, 1)
        if how.startswith("iterating"):
            await world.until(lambda: found)
        await blocked(world, before)
        await following.close()
    assert following.is_closed


async def test_closing_may_be_repeated_and_done_by_several(world: World) -> None:
    before = readers(world)
    async with follow(world) as following:
        await blocked(world, before)
        await world.flavour.together(*[following.close] * 3)
        await following.close()
    await following.close()
    assert repr(following) == f"<QueueEvents {world.name!r} closed>"


async def test_run_joins_the_reading_of_the_scope(world: World) -> None:
    heard: list[str] = []
    before = readers(world)
    async with follow(world) as following:
        following.on("waiting", lambda event, _: heard.append(event.job_id))
        async with world.flavour.beside(following.run):
            await blocked(world, before)
            write(world, 1, 2)
            await world.until(lambda: len(heard) == 2)
            await blocked(world, before)  # one reader, not two
            await following.close()
    assert heard == ["1", "2"]


async def test_after_close_nothing_starts_again(world: World) -> None:
    following = follow(world)
    await following.close()
    with pytest.raises(ClosedError):
        await following.run()
    with pytest.raises(ClosedError):
        await following.wait_until_ready()
    with pytest.raises(ClosedError):
        await take(following, 1)
    with pytest.raises(ClosedError):
        async with following:
            pass


async def test_leaving_an_iteration_early_leaves_the_place(world: World) -> None:
    write(world, 1, 2, 3)
    following = follow(world, last_event_id="0")
    async for event in following:
        assert event.job_id == "1"
        break
    assert [event.job_id for event in await take(following, 2)] == ["2", "3"]
    await following.close()


async def test_options(world: World) -> None:
    following = follow(world, opts=QueueEventsOptions(last_event_id="0", prefix="ignored"))
    write(world, 1)
    assert len(await take(following, 1)) == 1
    assert following.name == world.name
    await following.close()
    for wrong in ({"last_event_id": "now"}, {"blocking_timeout": -1}):
        with pytest.raises(InvalidOptionError):
            follow(world, **wrong)
    for wrong in ({"last_event_id": 0}, {"blocking_timeout": "1"}, {"opts": {"no_such": 1}}):
        with pytest.raises(InvalidOptionTypeError):
            follow(world, **wrong)
    with pytest.raises(InvalidOptionError):
        follow(world).on("done", print)
