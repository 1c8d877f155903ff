"""A start that cannot work fails in the program, as that of an ordinary worker does; and nothing is left of it."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

import chasquimq.aio
import chasquimq.sync
from chasquimq import (
    AuthenticationError,
    ClosedError,
    ConnectionOptions,
    InvalidOptionError,
    InvalidOptionTypeError,
    RedisConnectionError,
)
from tests.conformance.world import World

from .conftest import Start
from .program import handle
from .programs import ROOT, add

NOWHERE = "redis://127.0.0.1:1"

# These workers are forked from the tests' own process, in which idle threads of earlier tests may be left (those that
# trio and asyncio keep for later); Python tells of that from 3.12 on, to whoever asks for a fork as to us.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def run(flavour: str, queue_name: str, processor: Any = handle, **options: Any) -> None:
    """Runs a worker in this very process."""
    options = {"processes": 2, "start_method": "fork", **options}
    if flavour == "sync":
        chasquimq.sync.Worker(queue_name, processor, **options).run()
        return

    async def main() -> None:
        await chasquimq.aio.Worker(queue_name, processor, **options).run()

    anyio.run(main, backend=flavour)


def descendants() -> set[psutil.Process]:
    """All but the one that multiprocessing keeps for itself."""
    return {found for found in psutil.Process().children(recursive=True) if not _is_tracker(found)}


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return "resource_tracker" in " ".join(process.cmdline())
    except psutil.ZombieProcess:
        return False


@pytest.fixture
def _nobody_is_left(redis_url: str) -> Iterator[None]:
    before = descendants()
    yield
    assert descendants() <= before


@pytest.mark.usefixtures("_nobody_is_left")
@pytest.mark.parametrize(
    ("flavour", "method"), [("sync", "fork"), ("sync", "spawn"), ("asyncio", "fork"), ("trio", "spawn")]
)
def test_a_server_that_is_not_there_is_told_as_by_an_ordinary_worker(
    queue_name: str, flavour: str, method: str
) -> None:
    with pytest.raises(RedisConnectionError, match=re.escape(NOWHERE)) as caught:
        run(flavour, queue_name, connection=NOWHERE, start_method=method)
    assert type(caught.value) is RedisConnectionError
    assert "Raised in the worker process" in caught.value.__notes__[0]


@pytest.mark.parametrize("flavour", ["sync"])
def test_so_are_wrong_credentials(queue_name: str, redis_url: str, flavour: str) -> None:
    with pytest.raises(AuthenticationError):
        run(flavour, queue_name, connection=ConnectionOptions(url=redis_url, username="nobody", password="wrong"))


@pytest.mark.usefixtures("_nobody_is_left")
@pytest.mark.parametrize("flavour", ["sync", "trio"])
def test_a_block_raises_it_too(queue_name: str, flavour: str) -> None:
    worker: Any
    if flavour == "sync":
        worker = chasquimq.sync.Worker(queue_name, handle, processes=2, connection=NOWHERE, start_method="fork")
        with pytest.raises(RedisConnectionError), worker:
            pass
    else:

        async def main() -> None:
            worker = chasquimq.aio.Worker(queue_name, handle, processes=2, connection=NOWHERE, start_method="fork")
            with pytest.raises(RedisConnectionError):
                async with worker:
                    pass

        anyio.run(main, backend="trio")


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("flavour", ["sync"])
def test_processes_that_end_before_they_work_are_given_up_after_a_few(start: Start, flavour: str, method: str) -> None:
    running = start(flavour, login=7, start_method=method)
    assert running.end() == 1, str(running)
    failed = running.lines("failed")[0]
    assert failed["exit_code"] == 7
    assert "WorkerProcessError" in failed["text"]
    running.await_nobody()


# -- what cannot work is refused before anything starts ----------------------------------------------------------------


class Local:
    """A thing that cannot be pickled, since it holds a lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def handle(self, job: Any) -> None:
        """A handler."""

    def get_credentials(self) -> tuple[str, str]:
        return "", ""


@pytest.mark.parametrize(
    ("named", "processor", "options"),
    [
        ("the processor", lambda job: None, {}),
        ("the processor", Local().handle, {}),
        ("credential_provider", handle, {"connection": ConnectionOptions(credential_provider=Local())}),
    ],
    ids=["lambda", "bound method", "credentials"],
)
def test_what_a_spawned_process_cannot_import_is_refused_by_name(
    named: str, processor: Any, options: dict[str, Any]
) -> None:
    worker = chasquimq.sync.Worker("q", processor, processes=2, start_method="spawn", **options)
    with pytest.raises(InvalidOptionTypeError, match=named) as caught:
        worker.run()
    assert "start_method='fork'" in str(caught.value)


def test_so_is_a_listener() -> None:
    worker: Any = chasquimq.sync.Worker("q", handle, processes=2, start_method="spawn")
    worker.on("failed", lambda *_: None)
    with pytest.raises(InvalidOptionTypeError, match="the listener of 'failed'"), worker:
        pass


def test_a_function_of_an_interactive_program_cannot_be_spawned(tmp_path: Path) -> None:
    text = (
        "from chasquimq import Worker\n"
        "def handle(job): pass\n"
        "Worker('q', handle, processes=2, start_method='spawn').run()\n"
    )
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "InvalidOptionTypeError: the processor (handle) cannot be carried" in ran.stderr
    assert "interactive" in ran.stderr


def test_a_main_program_that_starts_its_worker_when_imported_is_told_so(tmp_path: Path, redis_url: str) -> None:
    program = tmp_path / "unguarded.py"
    program.write_text(
        "from chasquimq import Worker\n"
        "def handle(job): pass\n"
        f"Worker('q', handle, processes=2, start_method='spawn', connection={redis_url!r}).run()\n"
    )
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 1
    assert "WorkerProcessError" in ran.stderr
    assert "if __name__ == '__main__'" in ran.stderr


def test_a_worker_process_cannot_have_several_itself(start: Start, world: World) -> None:
    running = start("sync").await_ready()
    add(world, "nest")
    running.await_lines("end")
    assert running.lines("nested") == []
    assert "several processes" in running.lines("refused")[0]["text"]


def test_other_threads_forbid_a_fork_by_default(queue_name: str, caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    other = threading.Thread(target=release.wait, name="another")
    other.start()
    try:
        worker: Any = chasquimq.sync.Worker(queue_name, lambda job: None, processes=2, connection=NOWHERE)
        with pytest.raises(InvalidOptionTypeError, match="start_method='spawn'"):
            worker.run()
    finally:
        release.set()
        other.join()
    assert "another" in caplog.text
    assert "spawned" in caplog.text


@pytest.mark.parametrize("processes", [0, -1, 1_001])
def test_the_number_of_processes_has_bounds(processes: int) -> None:
    with pytest.raises(InvalidOptionError, match="processes"):
        chasquimq.sync.Worker("q", handle, processes=processes)


@pytest.mark.parametrize("method", ["forkserver", "", 1])
def test_a_start_method_is_one_of_two(method: Any) -> None:
    with pytest.raises(InvalidOptionError, match="start_method"):
        chasquimq.sync.Worker("q", handle, processes=2, start_method=method)


def test_a_worker_that_was_closed_before_does_not_start() -> None:
    worker = chasquimq.sync.Worker("q", handle, processes=2)
    worker.close()
    with pytest.raises(ClosedError):
        worker.run()
