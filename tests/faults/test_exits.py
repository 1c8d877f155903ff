"""F14: the interpreter ends with work in flight. It ends at once, without a word and with the right exit code; what was
running comes again elsewhere."""

from collections import Counter
from pathlib import Path

import pytest

from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import Workers
from .programs import run_program, start_program
from .state import QueueState, envelope

ENDS = {
    "daemon_thread": 0,
    "entered": 0,
    "exit_in_block": 5,
    "exit_in_task asyncio": 5,
    "exit_in_task trio": 5,
    "main_returns asyncio": 0,
    "main_returns trio": 0,
}


GIVEN_UP = "the drain timeout is over; 4 jobs are given up here and run again elsewhere"


@pytest.mark.parametrize("end", ENDS)
def test_f14_what_ran_when_the_program_ended_runs_elsewhere(
    server: RedisServer,
    queue: Queue,
    queue_name: str,
    state: QueueState,
    tmp_path: Path,
    workers: Workers,
    ledger: Ledger,
    end: str,
) -> None:
    ids = {job.id for job in queue.add_bulk([("slow", {})] * 4)}
    own_ledger = Ledger(tmp_path / "own-ledger.jsonl")
    own_ledger.path.touch()
    function, *backend = end.split()
    ended = run_program("exits", function, server.url, queue_name, own_ledger.path, *backend, within=30)
    assert ended.returncode == ENDS[end], ended.stderr
    assert set(ended.stderr.splitlines()) <= {GIVEN_UP}
    assert set(own_ledger.started()) == ids
    assert not own_ledger.ends()
    workers.start(lease_ms=2_000)
    ledger.wait_for_ends(4)
    wait_until(lambda: not state.waiting_or_running(), "all acknowledged")
    assert ledger.started() == Counter(ids)
    assert all(row["redelivered"] for row in ledger.starts())


def test_f14_a_worker_in_a_thread_of_its_own_outlives_the_main_thread(
    server: RedisServer, queue: Queue, queue_name: str, state: QueueState, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    process = start_program("exits", "other_thread", server.url, queue_name, ledger.path)
    try:
        wait_until(lambda: ledger.lines("ready"), "it works")
        ids = {job.id for job in queue.add_bulk([("job", {})] * 20)}
        wait_until(lambda: set(ledger.ended()) == ids, "all ran")
        queue.add("stop", {})
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    assert state.is_empty()
    assert not state.consumers()


def test_f14_adds_waits_and_followers_in_flight(
    server: RedisServer, queue_name: str, state: QueueState, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.path.touch()
    ended = run_program("exits", "adds_in_flight", server.url, queue_name, ledger.path, within=30)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = {row["id"] for row in ledger.lines("added")}
    stored = Counter(envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream")))
    assert told <= set(stored)
    # Of each thread, one more may have arrived of which it was not told any more.
    assert len(set(stored) - told - {"waited-for"}) <= 4
    assert set(stored.values()) == {1}


def test_f14_what_the_program_does_at_its_exit_still_works(
    server: RedisServer, queue_name: str, state: QueueState, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.path.touch()
    ended = run_program("exits", "at_exit", server.url, queue_name, ledger.path, within=30)
    assert (ended.returncode, ended.stderr) == (3, "")
    assert [row["id"] for row in ledger.lines("added")] == ["last"]
    assert ledger.lines("closed")
    assert ledger.ended()["first"] == 1
    # The last one was run before the worker was closed, or is there for another one.
    waiting = [envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream"))]
    assert Counter([*ledger.ended(), *waiting]) == Counter(["first", "last"])
    assert {row["name"] for row in state.consumers()} <= {b"handed-back"}
