"""The rights in docs/guides/deployment.md are enough for everything that queues, workers and readers of events do."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from chasquimq import Queue, QueueEvents, UnrecoverableError, Worker, encode_payload
from chasquimq.errors import ServerReplyError

from .conftest import ROOT

QUEUE = "emails"
PAGE = ROOT / "docs" / "guides" / "deployment.md"


def documented_rights() -> list[str]:
    block = re.search(r"^```acl\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].splitlines()


@pytest.fixture
def admin(server_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server_url) as client:
        yield client


def add_user(admin: redis.Redis, name: str, rights: list[str]) -> dict[str, str]:
    known = {command.lower() for command in admin.command()}
    words = [word for line in rights for word in line.split() if word[1:].partition("|")[0] in known]
    admin.execute_command(
        "ACL", "SETUSER", name, "on", ">secret", "resetkeys", f"~{{chasqui:{QUEUE}}}:*", "nocommands", *words
    )
    path = admin.connection_pool.connection_kwargs["path"]
    return {"unix_socket_path": path, "username": name, "password": "secret"}


def test_the_documented_rights_are_enough_for_everything(admin: redis.Redis) -> None:
    connection = add_user(admin, "everything", documented_rights())
    admin.execute_command("ACL", "LOG", "RESET")
    seen: list[str] = []
    is_mended = False

    def handle(job):
        if job.name == "fails" and not is_mended:
            raise UnrecoverableError("not yet")
        if job.name == "flaky" and job.attempts_made == 1:
            raise OSError("once more")
        return job.data

    with (
        Queue(QUEUE, connection=connection) as queue,
        QueueEvents(QUEUE, connection=connection) as queue_events,
        Worker(QUEUE, handle, connection=connection, store_results=True) as worker,
    ):
        worker.on("error", lambda error: seen.append(str(error)))
        queue.add("tick", "tock", repeat={"every": 50, "limit": 1})
        jobs = [
            queue.add("plain", 1),
            queue.add("flaky", 2, backoff=10),
            queue.add("late", 3, delay=20),
            queue.add_unique("once", 4, job_id="once"),
            *queue.add_bulk([("row", 5), ("row", 6, {"job_id": "row"}), ("row", 7, {"delay": 10, "job_id": "row-7"})]),
        ]
        assert [job.wait_for_result(timeout_ms=10_000, interval_ms=5) for job in jobs] == [1, 2, 3, 4, 5, 6, 7]
        queue.add("later", 8, delay=60_000, job_id="later")
        assert queue.remove("later") == 1

        failing = queue.add("fails", 9)
        wait_until(queue.peek_dlq)
        is_mended = True
        assert queue.replay_dlq() == 1
        assert failing.wait_for_result(timeout_ms=10_000) == 9
        wait_until(lambda: not queue.get_repeatable_jobs())
        assert queue.remove_repeatable_by_key("tick::every:50") is False
        assert next(iter(queue_events)).event
    assert seen == []
    denied = admin.execute_command("ACL", "LOG")
    assert not denied, denied


def test_the_first_line_is_enough_for_a_producer(admin: redis.Redis) -> None:
    connection = add_user(admin, "producer", documented_rights()[:1])
    with Queue(QUEUE, connection=connection) as queue:
        queue.add("plain", 1)
        queue.add("late", 2, delay=60_000, job_id="late")
        queue.add_bulk([("row", 3), ("row", 4, {"job_id": "row"})])
        queue.add("tick", None, repeat={"every": 60_000})
        assert len(queue.get_repeatable_jobs()) == 1
        assert queue.remove_repeatable_by_key("tick::every:60000") is True
        assert queue.remove("late") == 1
        assert queue.get_job_result("row") is None
        assert queue.peek_dlq() == []
        assert queue.replay_dlq() == 0


def test_with_the_first_line_alone_waiting_polls(admin: redis.Redis) -> None:
    connection = add_user(admin, "waiter", documented_rights()[:1])
    with Queue(QUEUE, connection=connection) as queue, ThreadPoolExecutor(3) as pool:
        jobs = queue.add_bulk([("row", number) for number in range(3)])
        results = [pool.submit(job.wait_for_result, timeout_ms=10_000, interval_ms=5) for job in jobs]
        wait_until(lambda: admin.execute_command("ACL", "LOG"))  # somebody tried to follow the events
        for job in jobs:
            admin.set(f"{{chasqui:{QUEUE}}}:result:{job.id}", encode_payload(job.data), ex=60)
        assert [result.result(10) for result in results] == [0, 1, 2]


def test_the_last_line_may_be_left_out(admin: redis.Redis) -> None:
    connection = add_user(admin, "modest", documented_rights()[:-1])
    with (
        Queue(QUEUE, connection=connection) as queue,
        Worker(QUEUE, lambda job: job.data, connection=connection, store_results=True),
    ):
        jobs = [queue.add("plain", 1), queue.add("late", 2, delay=20), queue.add("once", 3, job_id="once")]
        assert [job.wait_for_result(timeout_ms=10_000, interval_ms=5) for job in jobs] == [1, 2, 3]


def test_a_missing_right_is_told(admin: redis.Redis) -> None:
    connection = add_user(admin, "reader", ["+get"])
    with Queue(QUEUE, connection=connection) as queue, pytest.raises(ServerReplyError) as refused:
        queue.add("plain", 1)
    assert refused.value.code == "NOPERM"


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
