"""Dead letters written by either side are shown and replayed by the other, and run by both."""

from collections.abc import Callable

from tests.faults.ledger import Ledger, wait_until
from tests.faults.processes import Workers
from tests.faults.state import QueueState, envelope

from .ours import OurQueue
from .reference import Reference

BROKEN = {b"d": b"\xc1\xc1", b"n": b"broken"}
NO_ENVELOPE = {b"n": b"nothing"}


def kill_jobs(add: Callable[..., object], state: QueueState) -> None:
    """One job for each way into the dead-letter queue."""
    add("発送", {"fails": 1}, job_id="exhausted", attempts=1)
    add("", {"unrecoverable": True}, job_id="unrecoverable", attempts=9)
    state.add_entry(BROKEN)
    state.add_entry(NO_ENVELOPE)
    wait_until(lambda: len(state.dead()) == 4, "four dead letters")


def test_the_references_are_replayed_by_ours(
    reference: Reference, ours: OurQueue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    reference.work()
    kill_jobs(reference.add, state)
    reference.end()  # stop() would leave a blocked read behind, which takes one more job

    entries = {entry.reason: entry for entry in ours.peek_dlq()}
    assert set(entries) == {"retries_exhausted", "unrecoverable", "decode_failed", "malformed"}
    exhausted = entries["retries_exhausted"]
    assert (exhausted.job_id, exhausted.name, exhausted.data) == ("exhausted", "発送", {"fails": 1})
    assert entries["unrecoverable"].name == ""
    assert entries["decode_failed"].job_id is None
    assert entries["malformed"].detail == "missing or non-bytes payload field"

    assert ours.replay_dlq() == 2
    assert {entry.reason for entry in ours.peek_dlq()} == {"decode_failed", "malformed"}
    workers.start(flavour)
    wait_until(lambda: len(state.dead()) == 4, "both are dead again")
    assert [(row["id"], row["run"]) for row in ledger.starts("exhausted")] == [("exhausted", 1)] * 2
    assert [row["run"] for row in ledger.starts("unrecoverable")] == [1, 1]


def test_ours_are_replayed_by_the_reference(
    reference: Reference, ours: OurQueue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    worker = workers.start(flavour)
    kill_jobs(ours.add, state)
    assert worker.stop() == 0

    entries = {entry["reason"]: entry for entry in reference.peek()}
    assert set(entries) == {"retries_exhausted", "unrecoverable", "decode_failed", "malformed"}
    assert entries["retries_exhausted"]["name"] == "発送"
    assert envelope(entries["retries_exhausted"]["payload"])[0] == "exhausted"
    # More than the reference writes itself: what the error was.
    assert "ValueError: run 1 fails as told" in entries["retries_exhausted"]["detail"]
    assert "UnrecoverableError: as told" in entries["unrecoverable"]["detail"]
    assert entries["malformed"]["detail"] == "missing or non-bytes payload field"
    assert entries["decode_failed"]["payload"] == b"\xc1\xc1"

    assert reference.replay() == 2
    reference.work()
    wait_until(lambda: len(state.dead()) == 4, "both are dead again")
    assert [(row["by"], row["run"]) for row in ledger.starts("exhausted")] == [(flavour, 1), ("reference", 1)]
    assert [row["run"] for row in ledger.starts("unrecoverable")] == [1, 1]


def test_replays_of_both_at_once_move_each_entry_once(
    reference: Reference, our_queue: OurQueue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    worker = workers.start()
    jobs = our_queue.add_bulk([("job", {"fails": 1}, {"attempts": 1})] * 300)
    wait_until(lambda: len(state.dead()) == len(jobs), "all dead")
    assert worker.stop() == 0
    moved = 0
    while state.dead():
        moved += our_queue.replay_dlq(40) + reference.replay(40)
    assert moved == len(jobs)
    assert state.waiting_or_running() == len(jobs)
