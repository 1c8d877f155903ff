"""Signals and close(): the first drains all processes, the second stops them, and nobody is left."""

import signal

import pytest

from tests.conformance.world import World
from tests.faults.ledger import wait_until

from .conftest import Start
from .programs import Running, add

INTERRUPTED = -signal.SIGINT


def begin(start: Start, world: World, flavour: str, **given: object) -> Running:
    """A program each of whose processes is busy with a job that waits, and has one that has not started."""
    running = start(flavour, **given).await_ready()
    add(world, "wait", "wait")
    running.await_lines("start", 2, inside=True)
    add(world, "late")
    return running


def assert_drained(running: Running, world: World, code: int = 0) -> None:
    running.open_gate()
    assert running.end() == code, str(running)
    running.await_nobody()
    assert len(running.ledger.ends()) == 2
    # What nobody had started is still there, not leased to anybody.
    assert len(world.stream()) == 1
    assert world.pending() == [] or world.pending()[0]["consumer"] == b"handed-back"
    assert running.lines("error") == []


def assert_ends_what_runs(running: Running, world: World) -> None:
    """Where the gate lets the program end, and the handlers go on."""
    running.await_ready()
    add(world, "wait", "wait")
    running.await_lines("start", 2, inside=True)
    running.open_gate()
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert len(running.ledger.ends()) == 2
    assert len(running.pids("closed")) == 2
    assert world.is_empty()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_first_signal_drains(start: Start, world: World, flavour: str, number: signal.Signals) -> None:
    running = begin(start, world, flavour)
    running.send(number)
    running.await_lines("closing", 3)
    assert running.process.poll() is None
    assert_drained(running, world)


def test_ctrl_c_in_a_terminal_counts_once(start: Start, world: World, flavour: str) -> None:
    running = begin(start, world, flavour, start_method="spawn" if flavour == "asyncio" else "fork")
    running.send_to_group(signal.SIGINT)
    running.await_lines("closing", 3)
    assert running.process.poll() is None
    assert_drained(running, world)


def test_a_sigterm_for_every_process_counts_once(start: Start, world: World, flavour: str) -> None:
    running = begin(start, world, flavour, start_method="spawn" if flavour == "sync" else "fork")
    running.send_to_group(signal.SIGTERM)
    running.await_lines("closing", 3)
    assert running.process.poll() is None
    assert_drained(running, world)


def test_nothing_is_said_to_have_died_when_all_are_asked_to_end(start: Start, flavour: str) -> None:
    running = start(flavour, timings={"RESPITE_MS": 60_000}).await_ready()
    for pid in running.pids("ready"):
        running.send(signal.SIGTERM, pid)
    running.await_lines("closed", 2, inside=True)
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert running.lines("error") == []


def test_the_second_signal_stops_at_once(start: Start, world: World, flavour: str) -> None:
    running = begin(start, world, flavour)
    running.send(signal.SIGTERM)
    running.await_lines("closing", 3)
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert running.ledger.ends() == []
    assert len(world.stream()) == 3
    assert len(running.pids("closed")) == 2
    assert running.lines("error") == []  # nobody had to be killed


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("flavour", ["sync"])
def test_a_process_that_has_not_started_does_not_hold_up_the_second_signal(
    start: Start, flavour: str, method: str
) -> None:
    running = start(flavour, login=None, timings={"FORCED_END_S": 1_000}, start_method=method)
    running.await_lines("login", 2)
    running.send(signal.SIGTERM)
    running.send(signal.SIGINT)  # another one, for two of a kind may arrive as one
    assert running.end() == 0, str(running)
    running.await_nobody()


def test_without_handling_signals_ctrl_c_drains_and_is_raised(start: Start, world: World, flavour: str) -> None:
    running = begin(start, world, flavour, handle_signals=False)
    running.send_to_group(signal.SIGINT)
    running.await_lines("closing", 3)
    assert_drained(running, world, INTERRUPTED)
    assert "KeyboardInterrupt" in running.log.read_text()
    assert "Process chasquimq" not in running.log.read_text()  # no traceback of a worker process


def test_a_handler_may_close_the_worker(start: Start, world: World, flavour: str) -> None:
    running = start(flavour, start_method="spawn" if flavour == "asyncio" else "fork").await_ready()
    add(world, "close")
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert len(running.ledger.ends()) == 1
    assert world.is_empty()


def test_a_listener_in_the_program_may_close_it_too(start: Start, world: World, flavour: str) -> None:
    running = start(flavour, closes_when_ready=True, handle_signals=False)
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert len(running.pids("closed")) == 2


@pytest.mark.parametrize("flavour", ["asyncio", "trio"])
def test_a_cancelled_task_drains(start: Start, world: World, flavour: str) -> None:
    assert_ends_what_runs(start(flavour, way="cancelled"), world)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("flavour", ["sync"])
def test_a_program_that_ends_without_closing_drains(start: Start, world: World, flavour: str, method: str) -> None:
    assert_ends_what_runs(start(flavour, way="abandoned", start_method=method), world)


@pytest.mark.parametrize("flavour", ["sync"])
def test_a_process_that_does_not_end_is_killed(start: Start, world: World, flavour: str) -> None:
    running = start(flavour, drain_timeout_ms=100, timings={"END_S": 0.2}).await_ready()
    job_id = add(world, "stay")[0]
    running.await_lines("end")
    wait_until(world.is_empty)
    running.send(signal.SIGTERM)
    assert running.end() == 0, str(running)
    running.await_nobody()
    assert running.ledger.ended() == {job_id: 1}
    told = running.lines("error", inside=False)
    assert [line["exit_code"] for line in told] == [-signal.SIGKILL]
