"""Users of embedded servers as real processes, and a look at what the machine runs."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from chasquimq import embedded
from chasquimq.errors import EmbeddedServerError

ROOT = Path(__file__).parents[2]

USER = """
import sys
sys.path.insert(0, sys.argv[1])
from chasquimq import embedded
held = embedded.acquire(sys.argv[2] or None)
print(held.socket_path, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="session", autouse=True)
def _an_embeddable_server() -> None:
    try:
        embedded.find_executable()
    except EmbeddedServerError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


class User:
    """Another process that uses the embedded server of `directory` until it is told to leave, or killed."""

    def __init__(self, directory: Path | str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(ROOT), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._socket_path = ""

    @property
    def socket_path(self) -> str:
        """Where it is connected; waits until it is."""
        assert self.process.stdout is not None
        self._socket_path = self._socket_path or self.process.stdout.readline().strip()
        return self._socket_path

    def leave(self) -> None:
        _, complaints = self.process.communicate("leave\n", timeout=30)
        assert complaints == ""

    def kill(self) -> None:
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(timeout=30)


@pytest.fixture
def user() -> Iterator[Callable[[Path | str], User]]:
    started: list[User] = []

    def start(directory: Path | str = "") -> User:
        started.append(User(directory))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data folder. Whoever used it, no process is left when the test is over."""
    folder = tmp_path / "data"
    yield folder
    eventually(lambda: not processes(folder))


def processes(folder: Path | str) -> list[psutil.Process]:
    """The watcher and the server that work for `folder`."""
    return [*_at_work(folder)]


def servers(folder: Path | str) -> list[psutil.Process]:
    return [process for process, command in _at_work(folder).items() if "_embedded_watch" not in command]


def watchers(folder: Path | str) -> list[psutil.Process]:
    return [process for process, command in _at_work(folder).items() if "_embedded_watch" in command]


def _at_work(folder: Path | str) -> dict[psutil.Process, str]:
    """Each with its command line, which is looked at once: a process may end at any moment."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            in_folder = any(part == str(folder) or part.endswith(f":{folder}") for part in command)
            at_work = "_embedded_watch" in " ".join(command) or "redis-server" in " ".join(command)
            if at_work and (in_folder or process.cwd() == str(folder)):
                found[process] = " ".join(command)
    return found


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
