"""Repeatable specs and the schedule's lock, shared with the reference: each fires the other's, and never both."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from chasquimq import BackoffSpec
from tests.faults.ledger import Ledger, stays, wait_until
from tests.faults.processes import Workers
from tests.faults.state import QueueState
from tests.servers import RedisServer, reference_environment

from .ours import OurQueue
from .reference import Reference

EVERY_MS = 200
# The reference fires an interval below its tick only if told to make up for what it calls missed.
FIRE_ALL = {"kind": "fire-all", "max_catchup": 10_000}
OUR_TICK = {"run_scheduler": True, "scheduler_tick_ms": 50}
THEIR_TICK = {"run_scheduler": True, "scheduler_tick_ms": 100}

# What the driver has no word for.
SCRIPT = """
import asyncio, chasquimq, json, os, sys
async def main(url, queue, method, argument):
    answer = await getattr(chasquimq.Queue(queue, redis_url=url), method)(json.loads(argument))
    if isinstance(answer, list):
        answer = [[m.key, m.job_name, m.pattern.to_dict(), m.next_fire_ms, m.limit, m.end_before_ms] for m in answer]
    print(json.dumps(answer), flush=True)
    os._exit(0)  # its native threads are not waited for
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def their_queue(newest_redis: RedisServer, reference_interpreter: Path, queue: str) -> Callable[[str, Any], Any]:
    """Calls one method of the reference's Queue."""

    def call(method: str, argument: Any) -> Any:
        ran = subprocess.run(
            [str(reference_interpreter), "-I", "-c", SCRIPT, newest_redis.url, queue, method, json.dumps(argument)],
            env=reference_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return json.loads(ran.stdout)

    return call


def score(state: QueueState, key: str) -> int | None:
    found: Any = state.client.zscore(state.key("repeat"), key)
    return None if found is None else int(found)


def fired(state: QueueState, key: str) -> int:
    count: Any = state.client.hget(state.key(f"repeat:spec:{key}"), "fired")
    return int(count or 0)


def holder(state: QueueState) -> str:
    found: Any = state.client.get(state.key("scheduler:lock"))
    return found.decode() if found else ""


def check(state: QueueState, key: str, first: int) -> int:
    """Every window up to the next one has fired once, whoever fired it; how many that is."""
    with state.client.pipeline(transaction=True) as snapshot:
        snapshot.zscore(state.key("repeat"), key)
        snapshot.hget(state.key(f"repeat:spec:{key}"), "fired")
        snapshot.xinfo_stream(state.key("stream"))
        following, count, stream = snapshot.execute()
    assert int(count) * EVERY_MS == int(following) - first
    assert stream["entries-added"] == int(count)
    return int(count)


# -- each fires the other's ----------------------------------------------------------------------------------------


def test_specs_of_the_reference_are_fired_by_ours(
    reference: Reference, ours: OurQueue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    data = {"returns": [1, "ä"]}
    every = {"kind": "every", "interval_ms": EVERY_MS}
    keys = [
        reference.add("skip", data, repeat=every),
        reference.add("once", data, repeat=every, missed_fires={"kind": "fire-once"}),
        reference.add("all", data, repeat=every, missed_fires=FIRE_ALL),
        reference.add("cron", data, repeat={"kind": "cron", "expression": "* * * * * *", "tz": "Asia/Tokyo"}),
        reference.add("nick", data, repeat={"kind": "cron", "expression": "@yearly"}),
    ]
    assert {meta.key for meta in ours.get_repeatable_jobs()} == set(keys)
    workers.start(flavour, **OUR_TICK)
    for name in ("skip", "once", "all", "cron"):
        wait_until(lambda name=name: sum(row["name"] == name for row in ledger.starts()) >= 3, f"{name}; {ledger}")
    assert {row["by"] for row in ledger.starts()} == {flavour}
    assert all(row["data"] == data for row in ledger.starts())
    assert set(ledger.started().values()) == {1}
    assert all(score(state, key) for key in keys)


def test_specs_of_ours_are_fired_by_the_reference(
    reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    data = {"returns": [1, "ä"]}
    keys = [
        ours.add("once", data, repeat={"every": EVERY_MS, "missed_fires": "fire-once"}).id,
        ours.add("all", data, repeat={"every": EVERY_MS, "missed_fires": FIRE_ALL}).id,
        ours.add("skip", data, repeat={"every": 500}).id,
        ours.add("cron", data, repeat={"pattern": "* * * * * *", "tz": "Asia/Tokyo"}).id,
    ]
    ours.add("three", data, repeat={"every": 500, "limit": 3}, repeat_job_key="limited")
    reference.work(**THEIR_TICK)
    for name in ("once", "all", "skip", "cron", "three"):
        wait_until(lambda name=name: sum(row["name"] == name for row in ledger.starts()) >= 3, f"{name}; {ledger}")
    wait_until(lambda: score(state, "limited") is None, "the limit ended it")
    assert sum(row["name"] == "three" for row in ledger.starts()) == 3
    assert {row["by"] for row in ledger.starts()} == {"reference"}
    assert all(row["data"] == data for row in ledger.starts())
    assert all(score(state, key) for key in keys)


def test_specs_with_a_retry_of_each_fire_are_fired_by_the_reference(
    reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    """It does not know the retry, but it neither drops the spec nor spoils it for us."""
    key = ours.add("tick", {"fails": 0}, repeat={"every": 500}, attempts=3, backoff=BackoffSpec.fixed(20)).id
    before: Any = state.client.hget(state.key(f"repeat:spec:{key}"), "spec")
    assert msgpack.unpackb(before)["retry"][0] == 3
    reference.work(**THEIR_TICK)
    ledger.wait_for_ends(3)
    assert {row["by"] for row in ledger.starts()} == {"reference"}
    assert score(state, key) is not None
    assert state.client.hget(state.key(f"repeat:spec:{key}"), "spec") == before


def test_what_ours_fires_of_them_keeps_its_retry_with_the_reference(
    reference: Reference, ours: OurQueue, workers: Workers, ledger: Ledger, flavour: str
) -> None:
    """Ours keeps the schedule, both work: three runs each, whoever has them."""
    backoff = BackoffSpec.fixed(20, jitter_ms=0)
    workers.start(flavour, concurrency=1, **OUR_TICK)
    reference.work(concurrency=1)
    ours.add("tick", {"fails": 2}, repeat={"every": EVERY_MS, "limit": 8}, attempts=3, backoff=backoff)
    ledger.wait_for_ends(8)
    assert set(ledger.started().values()) == {3}


def test_specs_are_listed_and_removed_across(
    reference: Reference, ours: OurQueue, state: QueueState, their_queue: Callable[[str, Any], Any]
) -> None:
    theirs = reference.add("theirs", 1, repeat={"kind": "cron", "expression": "0 2 * * *", "tz": "America/New_York"})
    end = int(state.server_now_ms()) + 10**8
    plain = ours.add("plain", 1, repeat={"every": 50_000, "limit": 5, "end_date": end}).id
    mapped = ours.add("mapped", 1, repeat={"every": 60_000}, attempts=3).id
    (meta,) = [meta for meta in ours.get_repeatable_jobs() if meta.key == theirs]
    assert (meta.job_name, meta.pattern, meta.tz) == ("theirs", "0 2 * * *", "America/New_York")
    listed = {row[0]: row for row in their_queue("get_repeatable_jobs", 10)}
    assert set(listed) == {theirs, plain, mapped}
    assert listed[plain][3:] == [score(state, plain), 5, end]
    assert listed[mapped][2]["interval_ms"] == 60_000
    assert [their_queue("remove_repeatable_by_key", key) for key in (plain, mapped, mapped)] == [True, True, False]
    assert [ours.remove_repeatable_by_key(theirs) for _ in range(2)] == [True, False]
    assert not list(state.client.scan_iter(match=state.key("repeat*").replace("{", "?", 1)))


def test_storing_it_again_keeps_the_count_across(reference: Reference, ours: OurQueue, state: QueueState) -> None:
    key = reference.add("tick", 1, repeat={"kind": "every", "interval_ms": 60_000})
    state.client.hset(state.key(f"repeat:spec:{key}"), "fired", 4)
    assert ours.add("tick", 2, repeat={"every": 60_000, "limit": 9}).id == key
    assert fired(state, key) == 4
    reference.add("tick", 3, repeat={"kind": "every", "interval_ms": 60_000})
    assert fired(state, key) == 4


# -- one schedule --------------------------------------------------------------------------------------------------


def test_a_mixed_fleet_fires_each_window_once_while_both_lead_in_turn(
    references: Callable[..., Reference],
    our_queue: OurQueue,
    workers: Workers,
    ledger: Ledger,
    state: QueueState,
    flavour: str,
) -> None:
    key = our_queue.add("tick", {}, repeat={"every": EVERY_MS, "missed_fires": FIRE_ALL}).id
    first = score(state, key)
    assert first is not None

    def fires_on(windows: int, leader: Callable[[], bool]) -> None:
        wait_until(leader, f"it leads, not {holder(state)!r}", within=20)
        so_far = check(state, key, first) if fired(state, key) else 0
        wait_until(lambda: fired(state, key) >= so_far + windows, "it fires")
        check(state, key, first)

    worker = workers.start(flavour, name="ours-1", **OUR_TICK)
    fires_on(5, lambda: holder(state) == "s-ours-1")
    reference = references()
    reference.work(**THEIR_TICK)
    assert stays(lambda: holder(state) == "s-ours-1", seconds=1.0)
    check(state, key, first)
    assert worker.stop() == 0
    fires_on(5, lambda: bool(holder(state)) and not holder(state).startswith("s-ours"))

    worker = workers.start(flavour, name="ours-2", **OUR_TICK)
    fires_on(5, lambda: not holder(state).startswith("s-ours"))
    reference.stop()
    fires_on(5, lambda: holder(state) == "s-ours-2")

    reference = references()
    reference.work(**THEIR_TICK)
    worker.kill()
    fires_on(5, lambda: bool(holder(state)) and not holder(state).startswith("s-ours"))
    workers.start(flavour, name="ours-3", lease_ms=1_000, **OUR_TICK)
    reference.end()  # killed: its lock runs out
    fires_on(5, lambda: holder(state) == "s-ours-3")
    assert our_queue.remove_repeatable_by_key(key)
    assert {row["by"] for row in ledger.starts()} == {flavour, "reference"}
    assert not state.dead()


def test_a_spec_of_ours_wakes_nobody_who_does_not_listen(
    reference: Reference, our_queue: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    """The reference polls; the token that we leave for our own schedulers goes by itself."""
    reference.work(**THEIR_TICK)
    our_queue.add("tick", {}, repeat={"every": 500, "limit": 2})
    ledger.wait_for_ends(2)
    assert 0 < state.client.pttl(state.key("wake:scheduler")) <= 60_000
