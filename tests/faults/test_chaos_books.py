"""The books of a chaos run can find what they are there to find: each fraud here is one that they must tell."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from chasquimq import sync
from tests.faults.chaos.journal import Journal
from tests.faults.chaos.reckoning import Reckoning, reckon
from tests.servers import RedisServer, ensure

from .ledger import wait_until
from .state import QueueState

QUEUE = "books"


class Books:
    """A server's journal and a forged ledger beside it."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.state = QueueState(server.client, QUEUE)
        self.times = 0

    def note(self, event: str, **fields: Any) -> None:
        self.times += 1
        with (self.folder / "actor.1.jsonl").open("a") as ledger:
            ledger.write(json.dumps({"event": event, "at": float(self.times), **fields}) + "\n")

    def note_add(self, job_id: str, outcome: str = "added", delay: int = 0) -> None:
        self.note("adding", tokens=[f"t-{job_id}"], delays=[delay])
        self.note(outcome, tokens=[f"t-{job_id}"], ids=[job_id])

    def note_run(self, job_id: str, *, redelivered: bool = False) -> None:
        self.note("start", id=job_id, run=1, redelivered=redelivered)
        self.note("end", id=job_id)

    def envelope(self, job_id: str) -> bytes:
        return bytes(msgpack.packb([job_id, msgpack.packb({"token": f"t-{job_id}"}), 1, 0]))

    def add(self, job_id: str) -> bytes:
        return self.state.add_entry({b"d": self.envelope(job_id), b"n": b"job"})

    def delay(self, job_id: str) -> None:
        self.server.client.zadd(self.state.key("delayed"), {b"\0\0\0\0" + self.envelope(job_id): 1})

    def acknowledge(self, entry_id: bytes) -> None:
        self.server.client.xdel(self.state.key("stream"), entry_id)

    def done(self, job_id: str) -> None:
        """One that is as it should be."""
        self.note_add(job_id)
        entry_id = self.add(job_id)
        self.note_run(job_id)
        self.acknowledge(entry_id)

    def reckon(self) -> Reckoning:
        self.server.stop()
        kept = shutil.copytree(self.server.folder / "appendonlydir", self.folder / "life-1")
        self.server.start()
        return reckon(self.folder, [Journal.read(kept, QUEUE)], [])


@pytest.fixture
def books(durable_server: RedisServer, tmp_path: Path) -> Books:
    return Books(durable_server, tmp_path)


def test_honest_books_balance(books: Books) -> None:
    for number in range(3):
        books.done(f"j{number}")
    result = books.reckon()
    assert result.breaches == []
    assert (result.numbers["confirmed"], result.numbers["acknowledged"], result.numbers["lost"]) == (3, 3, 0)


def test_a_first_delivery_that_was_noted_late_is_no_fraud(books: Books) -> None:
    books.note_add("j")
    entry_id = books.add("j")
    books.note_run("j", redelivered=True)  # took over from the other one, which stood still meanwhile
    books.note_run("j")
    books.acknowledge(entry_id)
    assert books.reckon().breaches == []


def test_an_add_that_the_server_knew_already_is_no_second_one(tmp_path: Path) -> None:
    with RedisServer(ensure("redis-8.6"), appendonly=True) as server:  # the only one that knows IDMP
        repeated_add_balances(Books(server, tmp_path))


def repeated_add_balances(books: Books) -> None:
    books.note_add("j")
    add = ("XADD", books.state.key("stream"), "IDMP", "producer", "j", "*", "d", books.envelope("j"))
    entry_id = books.server.client.execute_command(*add)
    assert books.server.client.execute_command(*add) == entry_id
    books.note_run("j")
    books.acknowledge(entry_id)
    result = books.reckon()
    assert result.breaches == []
    assert result.numbers["added"] == 1


def acknowledged_without_a_run(books: Books) -> None:
    books.note_add("j")
    books.acknowledge(books.add("j"))


def never_arrived(books: Books) -> None:
    books.note_add("j")


def left_waiting(books: Books) -> None:
    books.note_add("j")
    books.add("j")


def added_twice(books: Books) -> None:
    books.done("j")
    books.acknowledge(books.add("j"))


def stands_in_two_places(books: Books) -> None:
    books.note_add("j")
    books.delay("j")
    books.note_run("j")
    books.acknowledge(books.add("j"))


def refused_and_there(books: Books) -> None:
    books.note_add("j", "refused")
    entry_id = books.add("j")
    books.note_run("j")
    books.acknowledge(entry_id)


def started_too_early(books: Books) -> None:
    books.note_add("j", delay=60_000)
    entry_id = books.add("j")
    books.note_run("j")
    books.acknowledge(entry_id)


def came_again_unsaid(books: Books) -> None:
    books.done("j")
    books.note_run("j")


def removed_and_ran(books: Books) -> None:
    books.note("removed", tokens=["t-j"])
    books.done("j")


def answered_the_wrong_caller(books: Books) -> None:
    books.done("j")
    books.note("wrong answer", token="t-j", answer="t-k")


def fired_a_window_twice(books: Books) -> None:
    for fired in (1, 2):
        pipeline = books.server.client.pipeline(transaction=True)
        pipeline.xadd(books.state.key("stream"), {"d": msgpack.packb([f"f{fired}", msgpack.packb(1), 1, 0])})
        pipeline.hset(books.state.key("repeat:spec:s"), "fired", fired)
        pipeline.zadd(books.state.key("repeat"), {"s": 100})
        pipeline.execute()


def broke_with_an_error_of_its_own(books: Books) -> None:
    books.note("error", text="KeyError: 'what'")


def an_event_was_missed(books: Books) -> None:
    for _ in range(2):
        last = books.server.client.xadd(books.state.key("events"), {"e": "drained"})
    books.note("seen", event_id=last.decode())


FRAUDS: dict[Callable[[Books], None], str] = {
    acknowledged_without_a_run: "acknowledged and never ran",
    never_arrived: "never arrived",
    left_waiting: "left waiting",
    added_twice: "added twice",
    stands_in_two_places: "two places at once",
    refused_and_there: "no effect and arrived",
    started_too_early: "before it was due",
    came_again_unsaid: "did not say so",
    removed_and_ran: "was removed and ran",
    answered_the_wrong_caller: "wrong caller",
    fired_a_window_twice: "fired the window",
    broke_with_an_error_of_its_own: "unexpected: actor: KeyError",
    an_event_was_missed: "1 events were missed",
}


@pytest.mark.parametrize("fraud", FRAUDS)
def test_a_fraud_is_found(books: Books, fraud: Callable[[Books], None]) -> None:
    books.done("honest")
    fraud(books)
    breaches = books.reckon().breaches
    assert any(FRAUDS[fraud] in breach for breach in breaches), breaches


def test_every_move_of_the_library_is_known(books: Books, tmp_path: Path) -> None:
    """What a producer and a worker really do, as the server writes it down."""
    url = books.server.url

    def handle(job: sync.Job[Any, Any]) -> str:
        if job.data.get("fails") and job.attempts_made == 1:
            raise ValueError("as told")
        if job.data.get("dies"):
            raise ValueError("for good")
        return str(job.data["token"])

    with sync.Queue[Any, Any](QUEUE, connection=url) as queue:
        queue.add("job", {"token": "plain"})
        queue.add_bulk([("job", {"token": f"bulk {n}"}) for n in range(3)])
        queue.add("job", {"token": "delayed"}, delay=20)
        queue.add("job", {"token": "unique"}, job_id="unique")
        queue.add("job", {"token": "cancelled"}, job_id="cancelled", delay=60_000)
        assert queue.remove("cancelled")
        queue.add("job", {"token": "retried", "fails": True}, attempts=2, backoff=1)
        queue.add("job", {"token": "dead", "dies": True}, attempts=1)
        with sync.Worker[Any, Any](QUEUE, handle, connection=url, store_results=True):
            wait_until(lambda: books.state.is_empty() and books.state.dead(), "settled")
            queue.replay_dlq()
            wait_until(lambda: books.state.is_empty() and books.state.dead(), "settled again")
        with sync.Worker[Any, Any](QUEUE, lambda job: None, connection=url):
            queue.add("job", {"token": "without a result"})
            wait_until(books.state.is_empty, "settled")
        books.server.stop()
        journal = Journal.read(books.server.folder / "appendonlydir", QUEUE)
    assert journal.breaches == []
    assert journal.counts == {
        "added": 10,
        "cancelled": 1,
        "promoted": 2,
        "retried": 1,
        "acknowledged": 8,
        "dead": 2,
        "replayed": 1,
    }
    assert set(journal.tokens.values()) >= {"plain", "bulk 2", "delayed", "unique", "cancelled", "retried", "dead"}
    assert journal.waiting == set()
    assert len(journal.places("dlq")) == 1
