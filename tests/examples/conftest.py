"""Programs as real processes, and a server of their own for each."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis

from chasquimq import embedded
from chasquimq.errors import EmbeddedServerError

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120


@pytest.fixture(scope="session", autouse=True)
def _an_embeddable_server() -> None:
    try:
        embedded.find_executable()
    except EmbeddedServerError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    """A server that nobody has used before."""
    with embedded.server(tmp_path / "server") as url:
        yield url


class Program:
    """A running program whose two outputs are read as one text, unless its errors go into a file."""

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        server_url: str | None,
        errors: Path | None,
        settings: Mapping[str, str] | None,
    ) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(settings or {})}
        environment.pop("CHASQUIMQ_REDIS_URL", None)
        if server_url is not None:
            environment["CHASQUIMQ_REDIS_URL"] = server_url
        with contextlib.ExitStack() as stack:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if errors is None else stack.enter_context(errors.open("wb")),
                text=True,
            )

    def read_until(self, text: str) -> str:
        """The output up to the line that holds ``text``."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if text in line:
                return "".join(lines)
        raise AssertionError(f"{text!r} was not printed: {''.join(lines)}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, str]:
        """Exit code and (the rest of) the output."""
        try:
            output, _ = self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
            raise AssertionError(f"it did not end within {TIMEOUT_S} s: {output}") from None
        return self.process.returncode, output


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a program; without a ``server_url`` it has to find a server by itself."""
    started: list[Program] = []

    def start(
        *arguments: str,
        folder: Path = ROOT,
        server_url: str | None = None,
        errors: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Program:
        started.append(Program([*arguments], folder, server_url, errors, settings))
        return started[-1]

    yield start
    for program in started:
        program.process.kill()
        program.process.communicate()


def await_worker(url: str, program: Program, waits_in: str = "xreadgroup") -> None:
    """Returns when a worker is up and waits for jobs; a standalone scheduler waits in ``blpop``."""
    with redis.Redis.from_url(url) as client:
        deadline = time.monotonic() + TIMEOUT_S
        while not any(known["cmd"] == waits_in and "b" in known["flags"] for known in client.client_list()):
            assert program.process.poll() is None, program.finish()
            assert time.monotonic() < deadline, "no worker has started"
            time.sleep(0.02)
