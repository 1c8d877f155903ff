"""Processes that die: started again, mourned by nobody, and no job is lost with them."""

import signal
from typing import Any

import pytest

from tests.conformance.world import World
from tests.faults.ledger import wait_until
from tests.servers import RedisServer, ServerBinary

from .conftest import Start
from .programs import add

LEASE_MS = 500


def test_a_killed_process_is_replaced_and_its_job_done(start: Start, world: World, flavour: str) -> None:
    running = start(flavour, lease_ms=LEASE_MS).await_ready()
    ids = add(world, "wait", "wait", "note", "note")
    victim = running.await_lines("start", 2, inside=True)[0]["pid"]
    running.send(signal.SIGKILL, victim)
    running.await_lines("ready", 3, inside=True)
    told = running.await_lines("error", inside=False)[0]
    assert (told["ended"], told["exit_code"]) == (victim, -signal.SIGKILL)
    assert told["process"] in ("w-0", "w-1")
    wait_until(lambda: f"{told['process']}.1" in world.consumers(), str(running))
    running.open_gate()
    wait_until(world.is_empty, str(running))
    assert running.ledger.ended() == dict.fromkeys(ids, 1)
    again = [line for line in running.ledger.starts() if line["redelivered"]]
    assert len(again) == 1
    assert again[0]["pid"] != victim
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)


@pytest.mark.parametrize(
    ("flavour", "method"), [("sync", "fork"), ("sync", "spawn"), ("asyncio", "spawn"), ("trio", "fork")]
)
def test_when_the_program_is_killed_its_processes_drain_and_end(
    start: Start, world: World, flavour: str, method: str
) -> None:
    running = start(flavour, start_method=method).await_ready()
    add(world, "wait", "wait")
    running.await_lines("start", 2, inside=True)
    add(world, "late")
    running.send(signal.SIGKILL)
    running.process.wait()
    running.await_lines("closing", 2, alone=True)
    running.open_gate()
    running.await_nobody()
    assert len(running.ledger.ends()) == 2
    assert len(world.stream()) == 1
    assert not [name for name in world.consumers() if name.startswith("w-")]


@pytest.mark.parametrize("flavour", ["sync", "trio"])
def test_when_the_supervisor_is_killed_its_processes_drain_and_the_program_is_told(
    start: Start, world: World, flavour: str
) -> None:
    running = start(flavour, start_method="fork").await_ready()
    add(world, "wait", "wait")
    running.await_lines("start", 2, inside=True)
    supervisor = running.supervisor()
    assert supervisor.pid != running.pid
    supervisor.kill()
    assert running.end() == 1, str(running)
    assert "WorkerProcessError" in running.lines("failed")[0]["text"]
    running.await_lines("closing", 2, inside=True, alone=True)
    running.open_gate()
    running.await_nobody()
    assert len(running.ledger.ends()) == 2
    assert world.is_empty()


def test_a_process_that_is_asked_to_end_drains_and_is_replaced(start: Start, world: World, flavour: str) -> None:
    running = start(flavour, timings={"RESPITE_MS": 10}).await_ready()
    add(world, "wait")
    busy = running.await_lines("start", inside=True)[0]["pid"]
    running.send(signal.SIGTERM, busy)
    running.await_lines("closing", inside=True)
    running.open_gate()
    running.await_lines("ready", 3, inside=True)
    assert len(running.ledger.ends()) == 1
    assert running.await_lines("error", inside=False)[0]["exit_code"] == 0
    assert world.is_empty()
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)


@pytest.mark.parametrize("what", ["die", "exit"])
@pytest.mark.parametrize("flavour", ["sync"])
def test_a_job_that_kills_its_process_each_time_ends_as_a_dead_letter(
    start: Start, world: World, flavour: str, what: str
) -> None:
    running = start(flavour, lease_ms=LEASE_MS).await_ready()
    add(world, what, attempts=2)
    wait_until(world.dead, str(running))
    add(world, "note")
    running.await_lines("end")
    assert len(set(running.pids("start"))) > 2
    codes = {line["exit_code"] for line in running.lines("error", inside=False)}
    assert codes == {-signal.SIGKILL if what == "die" else 7}
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)


@pytest.mark.parametrize("flavour", ["sync", "asyncio"])
def test_a_process_that_dies_while_the_server_is_away_is_started_until_it_works(
    start: Start, redis_binary: ServerBinary, flavour: str
) -> None:
    with RedisServer(redis_binary, appendonly=True) as server:
        running = start(flavour, connection=server.url, processes=2).await_ready()
        victims = running.pids("ready")
        server.kill()
        for victim in victims:
            running.send(signal.SIGKILL, victim)

        def failed_starts() -> list[dict[str, Any]]:
            return [line for line in running.lines("error", inside=False) if line["exit_code"] == 1]

        wait_until(lambda: len(failed_starts()) >= 4, str(running))
        assert running.process.poll() is None
        assert all("could not start (Cannot connect" in line["text"] for line in failed_starts())
        server.start()
        running.await_lines("ready", 4, inside=True)
        running.send(signal.SIGTERM)
        assert running.end() == 0, str(running)
        running.await_nobody()
