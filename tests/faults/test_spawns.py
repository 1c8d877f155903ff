"""F16: the processes of multiprocessing, and servers that load an application and then fork."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import RedisServer

from .ledger import wait_until
from .programs import ROOT, run_program
from .state import QueueState, envelope, member_envelope


def ids_in(state: QueueState) -> set[str]:
    return {envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream"))}


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_f16_processes_of_multiprocessing(server: RedisServer, queue_name: str, state: QueueState, method: str) -> None:
    ran = run_program("spawns", "processes", server.url, queue_name, method, options=("-W", "ignore"))
    assert (ran.returncode, ran.stderr) == (0, "")
    names = ("add0", "add1", "add_in_loop0", "add_in_loop1")
    delayed = {member_envelope(member)[0] for member, _ in state.delayed()}
    assert delayed == {"for-the-pool", *(f"{name}-{number}" for name in names for number in range(20))}
    given = {f"given-{number}" for number in range(20)} if method == "fork" else set()
    assert ids_in(state) == {"parent", "parent-after", *given}


APPLICATION = """
import json, os, threading
from chasquimq import Queue

queue = Queue({name!r}, connection={url!r})
loaded_in = os.getpid()
queue.add("job", "loaded", job_id="loaded")  # it is in use before the server forks

def application(environ, start_response):
    who = environ["PATH_INFO"].strip("/")
    job = queue.add("job", who, job_id=who)
    answer = queue.get_job_result("answer")
    body = json.dumps([job.id, job.is_duplicate, answer, os.getpid(), loaded_in]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


@contextmanager
def gunicorn(folder: Path, *options: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """The server with the application of the folder, its port, and its main process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = ["--preload", "--workers", "4", "--bind", f"fd://{listener.fileno()}", *options, "app:application"]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--chdir", str(folder), "--no-control-socket", *arguments],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield listener.getsockname()[1], process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_f16_gunicorn_with_an_application_that_is_loaded_first(
    server: RedisServer, queue_name: str, state: QueueState, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.format(name=queue_name, url=server.url))
    state.client.set(state.key("result:answer"), b"\x2a", ex=600)
    threads = ("--threads", "8") if kind == "gthread" else ()

    def get(number: int) -> tuple[str, bool, int, int, int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", f"/request-{number}")
            answer = connection.getresponse()
            assert answer.status == 200
            found = json.loads(answer.read())
        finally:
            connection.close()
        assert found[:3] == [f"request-{number}", False, 42]
        return tuple(found)

    before = int(server.client.info("clients")["connected_clients"])
    with gunicorn(tmp_path, "--worker-class", kind, *threads) as (port, process):
        served: set[int] = set()
        total = 0

        def have_all_served() -> bool:
            nonlocal total
            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(get, range(total, total + 200)))
            total += 200
            served.update(answer[3] for answer in answers)
            assert {answer[4] for answer in answers} == {process.pid}
            return len(served) == 4

        wait_until(have_all_served, "all four children have served")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
        assert "Traceback" not in log
    assert process.pid not in served
    assert ids_in(state) == {"loaded", *(f"request-{number}" for number in range(total))}
    wait_until(lambda: int(server.client.info("clients")["connected_clients"]) <= before, "no connection is left")
