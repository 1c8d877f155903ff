"""Several processes: they all take jobs, and say who did what."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.world import World
from tests.faults.ledger import wait_until

from .conftest import Start
from .programs import ROOT, add

METHODS = ("fork", "spawn")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("flavour", ["sync", "asyncio", "trio", "uvloop"])
def test_every_process_runs_jobs(start: Start, world: World, flavour: str, method: str) -> None:
    running = start(flavour, processes=3, start_method=method).await_ready()
    wait_until(lambda: world.standing_reads() == 3)
    add(world, "wait", "wait", "wait")
    running.await_lines("start", 3, inside=True)
    assert set(world.consumers()) == {"w-0", "w-1", "w-2"}
    # One handler at a time in each: three at once are in three processes.
    assert len(set(running.pids("start"))) == 3
    running.open_gate()
    running.await_lines("end", 3)
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert world.is_empty()
    assert world.consumers() == []
    assert "Warning" not in running.log.read_text()


def test_listeners_hear_in_each_process_what_happens_there_and_in_the_program_of_all(
    start: Start, world: World, flavour: str
) -> None:
    running = start(flavour).await_ready()
    workers = set(running.pids("ready"))
    job_id = add(world, "note")[0]
    running.await_lines("completed")
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)
    assert [(line["id"], line["pid"] in workers) for line in running.lines("completed")] == [(job_id, True)]
    for event in ("ready", "closing", "closed"):
        assert sorted(running.pids(event)) == sorted(workers), event
        assert len(running.lines(event, inside=False)) == 1, event
    # All are ready when the program says so, and gone before it says that.
    order = [(line["event"], line["pid"] == running.pid) for line in running.ledger.lines()]
    assert order.index(("ready", True)) > max(at for at, what in enumerate(order) if what == ("ready", False))
    assert order.index(("closed", True)) > max(at for at, what in enumerate(order) if what == ("closed", False))
    assert running.lines("error") == []


@pytest.mark.parametrize("method", [None, "fork"])
def test_a_forked_process_takes_functions_that_no_module_has(
    start: Start, world: World, flavour: str, method: str | None
) -> None:
    running = start(flavour, closure=True, start_method=method).await_ready()
    add(world, "note")
    running.await_lines("completed locally", inside=True)
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)


@pytest.mark.parametrize(
    ("flavour", "method"), [("sync", "fork"), ("sync", "spawn"), ("asyncio", "spawn"), ("trio", "fork")]
)
def test_a_block_lasts_as_long_as_its_processes(start: Start, world: World, flavour: str, method: str) -> None:
    running = start(flavour, way="scope", start_method=method)
    running.await_lines("inside")
    assert len(running.pids("ready")) == 2
    add(world, "note", "note")
    running.await_lines("end", 2, inside=True)
    running.open_gate()
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert world.is_empty()


def test_jobs_of_before_the_start_are_done_once_each(start: Start, world: World, flavour: str) -> None:
    ids = add(world, *["note"] * 200)
    running = start(flavour, processes=4, concurrency=10)
    wait_until(lambda: len(running.ledger.ends()) >= 200, str(running))
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)
    assert running.ledger.ended() == dict.fromkeys(ids, 1)
    assert world.is_empty()


UNGUARDED = """
from chasquimq import Queue, Worker
options = {"connection": %r, "processes": 2, "store_results": True}
with Queue(%r, connection=options["connection"]) as queue:
    for number in range(2):
        with Worker(queue.name, lambda job: job.data + number, **options):
            print(queue.add("sum", 1).wait_for_result())
"""


def test_an_unguarded_program_may_have_one_block_after_the_other(
    redis_url: str, queue_name: str, tmp_path: Path
) -> None:
    program = tmp_path / "unguarded.py"
    program.write_text(UNGUARDED % (redis_url, queue_name))
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("1\n2\n", "", 0)


def test_one_process_is_an_ordinary_worker(start: Start, world: World, flavour: str) -> None:
    running = start(flavour, processes=1)
    running.await_lines("ready", inside=False)
    add(world, "note")
    running.await_lines("end", 1, inside=False)
    wait_until(world.is_empty)
    assert world.consumers() == ["w"]
    assert running.remember() == []
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)


@pytest.mark.parametrize(
    ("flavour", "method"), [("sync", "fork"), ("sync", "spawn"), ("asyncio", "fork"), ("trio", "spawn")]
)
def test_the_embedded_server_of_the_program_is_shared(start: Start, flavour: str, method: str) -> None:
    running = start(flavour, connection="embedded://", adds=["note", "note"], start_method=method).await_ready()
    running.await_lines("end", 2, inside=True)
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)
    running.await_nobody()
