"""F16: forks in the middle of everything. The child gets connections of its own or a clear error; the parent notices
nothing."""

from collections import Counter
from pathlib import Path
from typing import Any, Self

import msgpack
import pytest

from chasquimq import sync
from tests.servers import RedisServer, ServerBinary
from tests.servers.certificates import make_certificate

from .conftest import Queue
from .ledger import Ledger, wait_until
from .programs import run_program, start_program
from .programs.forks import ANSWERS
from .state import QueueState, envelope

NO_WARNINGS = ("-W", "ignore::DeprecationWarning")
"""Python 3.12 and newer warn of every fork beside threads; that is what is tried here."""


def store_answers(state: QueueState) -> None:
    for number in range(ANSWERS):
        state.client.set(state.key(f"result:{number}"), msgpack.packb(number), ex=600)


def ids_in(state: QueueState) -> list[str]:
    return [envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream"))]


def run(*arguments: object, environment: dict[str, str] | None = None) -> list[str]:
    """Runs one of the programs; what it has printed."""
    ran = run_program("forks", *map(str, arguments), options=NO_WARNINGS, environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout.split()


def clients_of(server: RedisServer) -> int:
    return int(server.client.info("clients")["connected_clients"])


CHILDREN = [f"child-{number}-{half}-{turn}" for number in range(20) for half in "ab" for turn in [*range(5), "last"]]


@pytest.mark.parametrize("implementation", ["cython", "python"])
def test_f16_forks_while_threads_call_one_queue(
    server: RedisServer, queue_name: str, state: QueueState, implementation: str
) -> None:
    store_answers(state)
    pure = {"CHASQUIMQ_PURE": "1"} if implementation == "python" else {}
    added = run("threads", server.url, queue_name, environment=pure)
    assert Counter(ids_in(state)) == Counter(added + CHILDREN)


@pytest.mark.parametrize("way", ["unix", "tls"])
def test_f16_forks_over_other_connections(
    server_binary: ServerBinary, queue_name: str, tmp_path: Path, way: str
) -> None:
    certificate = make_certificate(tmp_path)
    with RedisServer("redis-8.6", tls=certificate) if way == "tls" else RedisServer(server_binary) as server:
        state = QueueState(server.client, queue_name)
        store_answers(state)
        where = (server.unix_url,) if way == "unix" else (server.url, certificate.authority)
        added = run("threads", where[0], queue_name, *where[1:])
        assert Counter(ids_in(state)) == Counter(added + CHILDREN)


def test_f16_a_lock_that_another_thread_held_at_the_fork(
    server: RedisServer, queue_name: str, state: QueueState
) -> None:
    store_answers(state)
    run("locked", server.url, queue_name)
    assert "child-last" in ids_in(state)


@pytest.mark.parametrize("where", ["inside", "beside"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_f16_forks_while_a_loop_has_calls_in_flight(
    server: RedisServer, queue_name: str, state: QueueState, backend: str, where: str
) -> None:
    store_answers(state)
    added = run("loop", server.url, queue_name, backend, where)
    uses_the_queue = not (backend == "trio" and where == "inside")
    children = [f"child-{number}-{turn}" for number in range(10) for turn in range(5) if uses_the_queue]
    assert Counter(ids_in(state)) == Counter(added + children)


def test_f16_an_application_that_is_loaded_before_it_forks(
    server: RedisServer, queue_name: str, state: QueueState, flavour: str
) -> None:
    store_answers(state)
    run("prefork", server.url, queue_name, flavour)
    one_by_one = [f"child-{child}-{n}-{turn}" for child in range(4) for n in range(8) for turn in range(25)]
    in_bulk = [f"child-{child}-bulk-{n}" for child in range(4) for n in range(500)]
    assert Counter(ids_in(state)) == Counter(["loaded", *one_by_one, *in_bulk])


# -- workers -----------------------------------------------------------------------------------------------------------


class Running:
    """One of the programs, while it runs; it is told to end by a file."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.over = folder / "over"
        self.ledger = Ledger(folder / "ledger.jsonl")
        function, *others = arguments
        self.process = start_program(
            "forks",
            str(function),
            *others,
            self.ledger.path,
            options=NO_WARNINGS,
            environment={"OVER": str(self.over)},
        )

    def end(self) -> None:
        """Has it end, which must go well and without a word."""
        self.over.touch()
        _, err = self.process.communicate(timeout=60)
        assert (self.process.returncode, err) == (0, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def test_f16_a_worker_made_before_the_fork_is_another_one_in_each_child(
    server: RedisServer, queue: Queue, queue_name: str, state: QueueState, tmp_path: Path, flavour: str
) -> None:
    ids: set[str] = set()
    with Running(tmp_path, "made_before", server.url, queue_name, flavour) as program:

        def each_runs_some() -> bool:
            """Two may be fast enough to leave nothing to the third."""
            ids.update(job.id for job in queue.add_bulk([("job", number) for number in range(100)]))
            return len({row["pid"] for row in program.ledger.starts()}) == 3

        wait_until(each_runs_some, "each runs jobs")
        assert len(state.consumers()) == 3, "three names for three workers"
        wait_until(lambda: set(program.ledger.ended()) == ids, "all ran")
        wait_until(state.is_empty, "all acknowledged")
        program.end()
    assert set(program.ledger.started().values()) == {1}


def test_f16_a_running_worker_stays_its_parents(
    server: RedisServer, queue: Queue, queue_name: str, state: QueueState, tmp_path: Path, flavour: str
) -> None:
    before = clients_of(server)
    ids = [job.id for job in queue.add_bulk([("job", number) for number in range(400)])]
    with Running(tmp_path, "beside_worker", server.url, queue_name, flavour) as program:
        wait_until(lambda: set(program.ledger.ended()) == set(ids), f"all ran; {program.ledger}")
        wait_until(state.is_empty, "all acknowledged")
        late = queue.add("job", "late", delay=1)
        wait_until(lambda: program.ledger.ends(late.id), "it still works")
        program.end()
    assert set(program.ledger.started().values()) == {1}
    assert {row["pid"] for row in program.ledger.starts()} == {program.process.pid}
    assert not any(row["redelivered"] for row in program.ledger.starts())
    wait_until(lambda: clients_of(server) <= before + 1, "no connection is left")


def test_f16_a_handler_that_forks(
    server: RedisServer,
    queue: Queue,
    queue_name: str,
    state: QueueState,
    tmp_path: Path,
    handler_form: str,
) -> None:
    """The child that comes back from the handler ends there; it does not go on as a second worker."""
    how = ["return", "raise", "exit"] * 4
    queue.add_bulk([("job", each) for each in how])
    with Running(tmp_path, "in_handler", server.url, queue_name, handler_form) as program:
        program.ledger.wait_for_ends(len(how))
        wait_until(state.is_empty, "all acknowledged")
        program.over.touch()
        _, err = program.process.communicate(timeout=60)
    assert program.process.returncode == 0, err
    assert set(program.ledger.started().values()) == {1}
    codes = {(row["how"], row["code"]) for row in program.ledger.lines("child")}
    assert codes == {("return", 0), ("raise", 1), ("exit", 7)}
    assert err.count("ValueError: the child's") == how.count("raise")
    assert not state.dead()


def test_f16_worker_processes_outlive_a_child_of_their_program(
    server: RedisServer, queue: Queue, queue_name: str, state: QueueState, tmp_path: Path
) -> None:
    with Running(tmp_path, "beside_processes", server.url, queue_name) as program:
        wait_until(lambda: program.ledger.lines("forked"), "three children have come and gone")
        ids = {job.id for job in queue.add_bulk([("job", number) for number in range(100)])}
        wait_until(lambda: set(program.ledger.ended()) == ids, f"all ran; {program.ledger}")
        wait_until(state.is_empty, "all acknowledged")
        program.over.touch()
        _, err = program.process.communicate(timeout=60)
    assert program.process.returncode == 0, err
    # What multiprocessing itself says at the end of a child: it would join the processes of the parent.
    assert err.count("Exception ignored") == err.count("AssertionError: can only join a child process") == 3
    assert set(program.ledger.started().values()) == {1}
    assert len({row["pid"] for row in program.ledger.starts()}) == 2


def test_f16_the_names_in_children_are_their_own(server: RedisServer, queue_name: str) -> None:
    """A name that was given is kept, whatever comes of it; one that was made up is made up anew."""
    worker = sync.Worker[Any, Any](queue_name, print, connection=server.url, name="mine")
    generated = sync.Worker[Any, Any](queue_name, print, connection=server.url)
    before = generated._settings.consumer
    worker._after_fork()
    generated._after_fork()
    assert worker._settings.consumer == b"mine"
    assert generated._settings.consumer != before
