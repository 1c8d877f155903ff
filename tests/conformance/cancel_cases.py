"""What there is to cancel: one case, at least, for every public coroutine function of the producers' side.

A case is done, or it is cancelled; ``check`` says what may be in Redis then. A cancelled call has happened or has not,
and there is nothing in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import msgpack

import chasquimq.aio
import chasquimq.sync
from chasquimq.native import RepeatableSpec, RepeatPattern
from tests.conformance.world import World, envelope

LONG_MS = 3_600_000
ROWS = 700
"""More than two buffers of ``add_bulk``, so that some are under way while others are made."""


@dataclass(frozen=True)
class Try:
    """One attempt at a case."""

    world: World
    number: int

    @property
    def id(self) -> str:
        return f"id-{self.number}"

    def jobs(self) -> list[tuple[str, Any]]:
        """Ids and data of the jobs that were added here, waiting or delayed, each of them decoded as a whole."""
        found = []
        bodies = [(fields.get(b"n", b""), fields[b"d"]) for _, fields in self.world.stream()]
        bodies += [split_member(member) for member, _ in self.world.delayed()]
        for name, body in bodies:
            job_id, payload, created_ms, attempt, *_ = msgpack.unpackb(body)
            assert created_ms > 0
            assert attempt == 0
            if name == b"try":
                data = msgpack.unpackb(payload)
                assert data[0] == self.number
                found.append((job_id, data[1]))
        return found

    def exists(self, kind: str) -> bool:
        return bool(self.world.admin.exists(self.world.key(kind)))

    def clear(self) -> None:
        self.world.admin.delete(*[self.world.key(kind) for kind in ("stream", "delayed", "dlq", "repeat", "events")])


def split_member(member: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(member[:4], "little")
    return member[4 : 4 + length], member[4 + length :]


Check = Callable[[Try, Any, bool], None]


@dataclass(frozen=True)
class Case:
    act: Callable[[Any, Try], Awaitable[Any]]
    check: Check
    """Told the attempt, the result if there is one, and whether it was done."""
    prepare: Callable[[Try], object] = lambda _try: None
    options: Any = None


def queue_of(world: World, case: Case) -> Any:
    return world.queue(**(case.options or {}))


def producer_of(world: World, case: Case) -> Any:
    return chasquimq.aio.Producer(world.name, connection=world.url, **(case.options or {}))


# -- checks --------------------------------------------------------------------------------------------------------


def one_job(of: Try, result: Any, is_done: bool) -> None:
    jobs = of.jobs()
    assert len(jobs) in ((1,) if is_done else (0, 1))
    assert all(data == "data" for _, data in jobs)
    if is_done:
        assert jobs[0][0] == result.id
        assert not result.is_duplicate
    events = of.world.events()
    assert [event["id"] for event in events] in ([], [job_id for job_id, _ in jobs])


def one_job_of_that_id(of: Try, result: Any, is_done: bool) -> None:
    one_job(of, result, is_done)
    assert all(job_id == of.id for job_id, _ in of.jobs())
    # What keeps a second one away is there exactly if the job is: written before it, or in the same step.
    assert of.exists(f"dlid:{of.id}") is bool(of.jobs())


def nothing_halved(of: Try, _result: Any, is_done: bool) -> None:
    assert len(of.jobs()) in ((1,) if is_done else (0, 1))


def one_raw_job(of: Try, result: Any, is_done: bool) -> None:
    jobs = of.jobs()
    nothing_halved(of, result, is_done)
    assert not is_done or jobs == [(result.job_id, "data")]
    assert all(of.exists(f"dlid:{job_id}") for job_id, _ in jobs if job_id == of.id)


def raw_rows_in_order(of: Try, result: Any, is_done: bool) -> None:
    found = of.jobs()
    assert [data for _, data in found] == list(range(len(found)))
    assert not is_done or [added.job_id for added in result] == [job_id for job_id, _ in found]


def rows_in_order(of: Try, result: Any, is_done: bool) -> None:
    waiting = [data for _, data in of.jobs()]
    assert len(waiting) == len(set(waiting)), "rows were doubled"
    assert len({job_id for job_id, _ in of.jobs()}) == len(waiting)
    if is_done:
        assert sorted(waiting) == list(range(ROWS))
        assert result in (None, ROWS) or [job.id for job in result] == [f"{of.id}-{row}" for row in range(ROWS)]


def taken_back(of: Try, _result: Any, is_done: bool) -> None:
    is_there = bool(of.world.delayed())
    assert not (is_there and is_done)
    # Its index and its marker go with it, or it is whole.
    assert of.exists(f"didx:{of.id}") is of.exists(f"dlid:{of.id}") is is_there


def answers(expected: Any) -> Check:
    def check(_of: Try, result: Any, is_done: bool) -> None:
        assert result == expected or not is_done

    return check


def dead_letters_peeked(of: Try, result: Any, is_done: bool) -> None:
    assert len(of.world.dead()) == 3
    assert not is_done or [letter.data for letter in result] == [[of.number, row] for row in range(3)]


def dead_letters_replayed(of: Try, result: Any, is_done: bool) -> None:
    dead = [msgpack.unpackb(msgpack.unpackb(fields[b"d"])[1])[1] for fields in of.world.dead()]
    # Each is in one place, whole.
    assert sorted([data for _, data in of.jobs()] + dead) == list(range(3))
    assert not is_done or (result == 3 and not dead)


def spec_stored(of: Try, _result: Any, is_done: bool) -> None:
    key = f"spec-{of.number}"
    is_there = of.world.admin.zscore(of.world.key("repeat"), key) is not None
    assert of.exists(f"repeat:spec:{key}") is is_there
    assert is_there or not is_done
    of.world.admin.delete(of.world.key(f"repeat:spec:{key}"))


def spec_removed(of: Try, result: Any, is_done: bool) -> None:
    key = f"spec-{of.number}"
    is_there = of.world.admin.zscore(of.world.key("repeat"), key) is not None
    assert of.exists(f"repeat:spec:{key}") is is_there
    assert not is_done or (result is True and not is_there)
    of.world.admin.delete(of.world.key(f"repeat:spec:{key}"))


def specs_listed(of: Try, result: Any, is_done: bool) -> None:
    key = f"spec-{of.number}"
    assert not is_done or [meta.key for meta in result] == [key]
    of.world.admin.delete(of.world.key(f"repeat:spec:{key}"))


def closed(_of: Try, _result: Any, _is_done: bool) -> None:
    """What matters is that no connection is left, and that is looked at for every case."""


# -- preparations, by hands that cannot be cancelled ---------------------------------------------------------------


def store_result(of: Try) -> None:
    of.world.admin.set(of.world.key(f"result:{of.id}"), msgpack.packb("stored"), ex=60)


def bury(of: Try) -> None:
    for row in range(3):
        body = envelope(f"{of.id}-{row}", [of.number, row], attempt=2)
        of.world.admin.xadd(of.world.key("dlq"), {"d": body, "n": "try", "source_id": "1-1", "reason": "unrecoverable"})


def delay_one(of: Try) -> None:
    with chasquimq.sync.Queue(of.world.name, connection=of.world.url) as queue:
        queue.add("try", [of.number, "data"], delay=LONG_MS, job_id=of.id)


def store_spec(of: Try) -> None:
    with chasquimq.sync.Queue(of.world.name, connection=of.world.url) as queue:
        queue.add("try", [of.number, "data"], repeat={"every": LONG_MS}, repeat_job_key=f"spec-{of.number}")


# -- acts ----------------------------------------------------------------------------------------------------------


def add(**options: Any) -> Callable[[Any, Try], Awaitable[Any]]:
    return lambda queue, of: queue.add("try", [of.number, "data"], **options)


def rows(of: Try) -> list[tuple[str, Any, dict[str, Any]]]:
    return [
        ("try", [of.number, row], {"job_id": f"{of.id}-{row}", "delay": LONG_MS if row % 7 == 0 else None})
        for row in range(ROWS)
    ]


def raw(of: Try, data: Any = "data") -> bytes:
    return msgpack.packb([of.number, data])


async def in_a_block(target: Any, of: Try) -> Any:
    async with target:
        return await (
            target.add("try", [of.number, "data"])
            if isinstance(target, chasquimq.aio.Queue)
            else target.add(raw(of), name="try")
        )


def spec_of(of: Try) -> RepeatableSpec:
    return RepeatableSpec(
        job_name="try", payload=raw(of), pattern=RepeatPattern.every(LONG_MS), key=f"spec-{of.number}"
    )


async def progress(queue: Any, of: Try) -> None:
    await (await queue.add("try", [of.number, "data"])).update_progress(50)


async def wait(queue: Any, of: Try, **options: Any) -> Any:
    job = await queue.add("try", [of.number, "data"], job_id=of.id)
    return await job.wait_for_result(**options)


QUEUE: dict[str, Case] = {
    "add": Case(add(), one_job),
    "add, told": Case(add(), one_job, options={"events": True}),
    "add, delayed": Case(add(delay=LONG_MS), one_job),
    "add, with an id": Case(lambda q, of: q.add("try", [of.number, "data"], job_id=of.id), one_job_of_that_id),
    "add, repeated": Case(
        lambda q, of: q.add("try", 0, repeat={"every": LONG_MS}, repeat_job_key=f"spec-{of.number}"), spec_stored
    ),
    "add_unique": Case(lambda q, of: q.add_unique("try", [of.number, "data"], job_id=of.id), one_job_of_that_id),
    "add_unique, delayed": Case(
        lambda q, of: q.add_unique("try", [of.number, "data"], job_id=of.id, delay=LONG_MS), one_job_of_that_id
    ),
    "add_bulk": Case(lambda q, of: q.add_bulk(rows(of)), rows_in_order),
    "add_bulk, counted": Case(lambda q, of: q.add_bulk(rows(of), return_jobs=False), rows_in_order),
    "remove": Case(lambda q, of: q.remove(of.id), taken_back, delay_one),
    "get_job_result": Case(lambda q, of: q.get_job_result(of.id), answers("stored"), store_result),
    "peek_dlq": Case(lambda q, _of: q.peek_dlq(), dead_letters_peeked, bury),
    "replay_dlq": Case(lambda q, _of: q.replay_dlq(), dead_letters_replayed, bury),
    "get_repeatable_jobs": Case(lambda q, _of: q.get_repeatable_jobs(), specs_listed, store_spec),
    "remove_repeatable_by_key": Case(
        lambda q, of: q.remove_repeatable_by_key(f"spec-{of.number}"), spec_removed, store_spec
    ),
    "close": Case(lambda q, _of: q.close(), closed),
    "__aenter__": Case(in_a_block, one_job),
    "__aexit__": Case(in_a_block, one_job),
    "Job.update_progress": Case(progress, nothing_halved),
    "Job.wait_for_result": Case(wait, answers("stored"), store_result),
    "Job.wait_for_result, with a signal": Case(
        lambda q, of: wait(q, of, signal=anyio.Event()), answers("stored"), store_result
    ),
}

PRODUCER: dict[str, Case] = {
    "add": Case(lambda p, of: p.add(raw(of), name="try"), one_raw_job),
    "add_unique": Case(lambda p, of: p.add_unique(raw(of), name="try", job_id=of.id), one_raw_job),
    "add_bulk": Case(lambda p, of: p.add_bulk(("try", raw(of, row)) for row in range(ROWS)), raw_rows_in_order),
    "cancel": Case(lambda p, of: p.cancel(of.id), taken_back, delay_one),
    "get_result": Case(lambda p, of: p.get_result(of.id), answers(msgpack.packb("stored")), store_result),
    "get_results": Case(
        lambda p, of: p.get_results(["none", of.id]), answers([None, msgpack.packb("stored")]), store_result
    ),
    "peek_dlq": Case(lambda p, _of: p.peek_dlq(), dead_letters_peeked, bury),
    "replay_dlq": Case(lambda p, _of: p.replay_dlq(), dead_letters_replayed, bury),
    "upsert_repeatable": Case(lambda p, of: p.upsert_repeatable(spec_of(of)), spec_stored),
    "list_repeatable": Case(lambda p, _of: p.list_repeatable(), specs_listed, store_spec),
    "remove_repeatable_by_key": Case(
        lambda p, of: p.remove_repeatable_by_key(f"spec-{of.number}"), spec_removed, store_spec
    ),
    "close": Case(lambda p, _of: p.close(), closed),
    "__aenter__": Case(in_a_block, one_raw_job),
    "__aexit__": Case(in_a_block, one_raw_job),
}
