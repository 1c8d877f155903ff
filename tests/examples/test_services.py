"""The examples that run until they are told to end: the web application and its worker, and the schedule."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from chasquimq import Queue

from .conftest import TIMEOUT_S, Program, Start, await_worker

UVICORN = ("-W", "error", "-m", "uvicorn", "--app-dir", "examples", "--port", "0", "fastapi_app:app")


def client_of(application: Program) -> httpx.Client:
    """A client of an application that has just been started."""
    output = application.read_until("Uvicorn running on")
    address = re.search(r"http://[\d.]+:\d+", output)
    assert address is not None, output
    return httpx.Client(base_url=address[0], trust_env=False)


def report(client: httpx.Client, job_id: str) -> dict[str, Any]:
    waiting = {"id": job_id, "status": "not there (yet)"}
    answer = wait_until(lambda: None if (got := client.get(f"/reports/{job_id}")).json() == waiting else got)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


def end(program: Program, number: signal.Signals = signal.SIGINT) -> str:
    program.process.send_signal(number)
    code, output = program.finish()
    # Uvicorn raises the signal again when it has shut down.
    assert code in (0, -number), output
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize("has_server", [False, True], ids=["embedded", "a server"])
def test_a_report_is_submitted_and_fetched(start: Start, server_url: str, has_server: bool) -> None:
    application = start(*UVICORN, server_url=server_url if has_server else None)
    with client_of(application) as client:
        answer = client.post("/reports", json={"title": "Sales"})
        assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        assert report(client, answer.json()["id"]) == {"title": "Sales", "text": "All is well."}
        assert client.get("/reports/nobody-added-this").status_code == 202
        assert client.post("/reports", json={"name": "Sales"}).status_code == 422
    assert "Application shutdown complete" in end(application)


def test_a_repeated_request_is_one_job(start: Start, server_url: str) -> None:
    application = start(*UVICORN, server_url=server_url, settings={"IN_PROCESS_WORKER": "0"})
    with client_of(application) as client:
        answers = [
            client.post("/reports", json={"title": "Sales"}, headers={"Idempotency-Key": "order-1"}) for _ in range(2)
        ]
        assert [answer.json() for answer in answers] == [
            {"id": "order-1", "status": "accepted"},
            {"id": "order-1", "status": "known already"},
        ]
    with redis.Redis.from_url(server_url) as server:
        assert server.xlen("{chasqui:reports}:stream") == 1
    end(application)


@pytest.fixture
def server(server_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server_url) as client:
        yield client


def test_the_worker_may_be_a_process_of_its_own(start: Start, server_url: str, server: redis.Redis) -> None:
    application = start(*UVICORN, server_url=server_url, settings={"IN_PROCESS_WORKER": "0"})
    with client_of(application) as client:
        job_id = client.post("/reports", json={"title": "Costs"}).json()["id"]
        assert client.get(f"/reports/{job_id}").status_code == 202
        assert server.xlen("{chasqui:reports}:stream") == 1, "nobody works inside the application"
        worker = start("-W", "error", "examples/fastapi_app.py", server_url=server_url)
        assert report(client, job_id)["title"] == "Costs"
        end(worker, signal.SIGTERM)
        end(application)


def test_what_runs_is_finished_when_the_application_ends(start: Start, server_url: str, server: redis.Redis) -> None:
    application = start(*UVICORN, server_url=server_url)
    with client_of(application) as client:
        await_worker(server_url, application)
        job_id = client.post("/reports", json={"title": "Late"}).json()["id"]
        events = "{chasqui:reports}:events"
        wait_until(lambda: any(fields[b"e"] == b"active" for _, fields in server.xrange(events)))
    end(application)
    assert server.exists(f"{{chasqui:reports}}:result:{job_id}")
    assert server.xlen("{chasqui:reports}:stream") == 0


def test_the_schedule_fires_until_it_is_told_to_end(start: Start, server_url: str, server: redis.Redis) -> None:
    service = start("-W", "error", "examples/cron_service.py", server_url=server_url)
    output = service.read_until(" heartbeat")
    assert set(re.findall(r"^(\w+): next at ", output, re.MULTILINE)) == {"clock", "heartbeat", "report"}
    service.read_until(" clock")
    assert server.exists("{chasqui:cron-service}:scheduler:lock")
    output = end(service)
    assert "stopped; the schedule stays stored" in output
    assert service.process.returncode == 0
    assert not server.exists("{chasqui:cron-service}:scheduler:lock"), "the lead is given up"
    assert server.zcard("{chasqui:cron-service}:repeat") == 3


def test_the_schedule_in_the_code_is_what_is_stored(start: Start, server_url: str, server: redis.Redis) -> None:
    """Entries of an older version of the program go; two processes share the work, and both end."""
    with Queue("cron-service", connection=server_url) as queue:
        queue.add("nightly", None, repeat={"every": 86_400_000}, repeat_job_key="nightly")
        queue.add("heartbeat", None, repeat={"every": 86_400_000}, repeat_job_key="heartbeat")
    services = [start("examples/cron_service.py", server_url=server_url) for _ in range(2)]
    outputs = [service.read_until("report: next at") for service in services]
    assert any("no longer wanted: nightly" in output for output in outputs)
    with Queue("cron-service", connection=server_url) as queue:
        stored = {meta.key: meta.every for meta in queue.get_repeatable_jobs()}
    assert stored == {"clock": None, "heartbeat": 500, "report": None}
    for service in services:
        end(service, signal.SIGTERM)
