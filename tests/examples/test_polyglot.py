"""examples/polyglot: a worker of one library does the jobs that a producer of the other has added."""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import RedisServer, ensure, ensure_reference, reference_environment

from .conftest import ROOT, TIMEOUT_S, Start

FOLDER = ROOT / "examples" / "polyglot"

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def newest_url() -> Iterator[str]:
    """The engine needs Redis 8.6."""
    with RedisServer(ensure("redis-8.6")) as server:
        yield server.url


@pytest.fixture
def engine(newest_url: str, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a program under the interpreter that has the engine's package, as the README says."""
    interpreter = ensure_reference()
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        environment = {**reference_environment(), "CHASQUIMQ_REDIS_URL": newest_url}
        command = [str(interpreter), "-I", str(FOLDER / name)]
        started.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_this_library_does_the_jobs_of_the_engine(start: Start, engine: Callable, newest_url: str) -> None:
    worker = start("-W", "error", str(FOLDER / "worker.py"), server_url=newest_url)
    producer = engine("engine_producer.py")
    output, _ = producer.communicate(timeout=TIMEOUT_S)
    assert producer.returncode == 0, output
    for name in ("ada", "grace"):
        assert f"added by the engine, result: {{'text': 'hello {name}', 'by': 'this library'}}" in output
    worker.process.send_signal(signal.SIGTERM)
    code, output = worker.finish()
    assert code == 0, output
    assert re.findall(r"this library runs greet for (\w+)", output) == ["ada", "grace"]


def test_the_engine_does_the_jobs_of_this_library(start: Start, engine: Callable, newest_url: str) -> None:
    worker = engine("engine_worker.py")
    code, output = start("-W", "error", str(FOLDER / "producer.py"), server_url=newest_url).finish()
    assert code == 0, output
    for name in ("ada", "grace"):
        assert f"added by this library, result: {{'text': 'hello {name}', 'by': 'the engine'}}" in output
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=TIMEOUT_S)
    assert worker.returncode == 0, output
    assert re.findall(r"the engine runs greet for (\w+)", output) == ["ada", "grace"]


def test_every_program_is_named_in_the_readme() -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    for path in FOLDER.glob("*.py"):
        assert f"examples/polyglot/{path.name}" in page
