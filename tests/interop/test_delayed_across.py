"""What lives around the delayed set: retries, removal, deduplication markers and the promoter's lock."""

from collections.abc import Callable

import pytest

from chasquimq import BackoffSpec, NotSupportedError
from tests.faults.ledger import Ledger, stays, wait_until
from tests.faults.processes import Workers
from tests.faults.state import QueueState, member_envelope

from .ours import OurQueue
from .reference import Reference

WAIT_MS = 1_500


def test_retries_of_ours_are_run_by_the_reference(
    reference: Reference, ours: OurQueue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    worker = workers.start(flavour)
    before = int(state.server_now_ms())
    job = ours.add("発送", {"fails": 1}, attempts=3, backoff=BackoffSpec.fixed(WAIT_MS, jitter_ms=0))
    ((member, due),) = wait_until(state.delayed, "the retry is scheduled")
    assert worker.stop() == 0
    assert before + WAIT_MS <= due <= state.server_now_ms() + WAIT_MS
    assert member_envelope(member)[3] == 1
    assert member_envelope(member)[4][0] == 3
    reference.work()
    ledger.wait_for_ends(1)
    assert [(row["by"], row["run"], row["name"]) for row in ledger.starts(job.id)] == [
        (flavour, 1, "発送"),
        ("reference", 2, "発送"),
    ]
    assert state.server_now_ms() >= due


def test_retries_of_the_reference_are_run_by_ours(
    reference: Reference, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    reference.work()
    job_id = reference.add("発送", {"fails": 1}, attempts=3, backoff={"kind": "fixed", "delay_ms": WAIT_MS})
    wait_until(state.delayed, "the retry is scheduled")
    reference.stop()
    reference.end()
    workers.start(flavour)
    ledger.wait_for_ends(1)
    assert [(row["by"], row["run"], row["name"]) for row in ledger.starts(job_id)] == [
        ("reference", 1, "発送"),
        (flavour, 2, "発送"),
    ]


def test_delayed_jobs_are_removed_across(reference: Reference, ours: OurQueue, state: QueueState) -> None:
    ours.add("job", 1, delay=60_000, job_id="ours")
    reference.add("job", 1, delay_ms=60_000, job_id="theirs")
    assert len(state.delayed()) == 2
    assert reference.cancel("ours") is True
    assert reference.cancel("ours") is False
    assert ours.remove("theirs") == 1
    with pytest.raises(NotSupportedError):
        ours.remove("theirs")
    assert state.delayed() == []
    assert not list(state.client.scan_iter(match=state.key("d?d?:*").replace("{", "?", 1)))
    # Both ids are free again.
    assert not ours.add("job", 1, delay=60_000, job_id="ours").is_duplicate
    reference.add("job", 1, delay_ms=60_000, job_id="theirs")
    assert len(state.delayed()) == 2


def test_deduplication_of_delayed_jobs_is_common(reference: Reference, ours: OurQueue, state: QueueState) -> None:
    reference.add("job", "theirs", delay_ms=60_000, job_id="first theirs")
    assert ours.add_unique("job", "ours", delay=60_000, job_id="first theirs").is_duplicate
    assert not ours.add_unique("job", "ours", delay=60_000, job_id="first ours").is_duplicate
    reference.add_unique("job", "theirs", delay_ms=60_000, job_id="first ours")
    owners = {member_envelope(member)[0]: member_envelope(member)[1] for member, _ in state.delayed()}
    assert owners == {"first theirs": b"\xa6theirs", "first ours": b"\xa4ours"}
    for job_id in owners:
        assert state.client.get(state.key(f"didx:{job_id}")) in [member for member, _ in state.delayed()]
        assert abs(state.client.ttl(state.key(f"dlid:{job_id}")) - 3_660) < 30
        assert abs(state.client.ttl(state.key(f"didx:{job_id}")) - 3_660) < 30


def test_an_id_stays_reserved_after_its_run(
    reference: Reference, our_queue: OurQueue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    reference.add_unique("job", {}, delay_ms=50, job_id="once")
    workers.start()
    ledger.wait_for_ends(1)
    wait_until(state.is_empty, "acknowledged")
    assert our_queue.add_unique("job", {}, job_id="once").is_duplicate
    assert our_queue.add_unique("job", {}, delay=50, job_id="once").is_duplicate
    # Ours guards immediate adds too, with the marker that the reference's delayed adds respect.
    assert not our_queue.add_unique("job", {}, job_id="new").is_duplicate
    reference.add_unique("job", {}, delay_ms=50, job_id="new")
    assert state.delayed() == []


def test_the_reference_leads_at_once_when_ours_leaves(
    reference: Reference, our_queue: OurQueue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    our_queue.add("far", {}, delay=600_000)  # nobody of ours leads while nothing is delayed
    worker = workers.start(flavour, name="our-leader")
    wait_until(lambda: state.leader() == "our-leader", "ours leads")
    reference.work(consumer_id="their-leader")
    assert stays(lambda: state.leader() == "our-leader", seconds=1.0)
    assert worker.stop() == 0
    assert state.leader() != "our-leader"
    wait_until(lambda: state.leader() == "their-leader", "the reference leads", within=4)  # the lock lasts 5 s
    our_queue.add("job", {}, delay=100)
    ledger.wait_for_ends(1)


def test_ours_leads_when_the_reference_leaves(
    references: Callable[..., Reference], our_queue: OurQueue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    reference = references()
    reference.work(consumer_id="their-leader")
    wait_until(lambda: state.leader() == "their-leader", "the reference leads")
    our_queue.add("far", {}, delay=600_000)
    workers.start(name="our-leader")
    # While it leads, it promotes our jobs, and they reach both kinds of worker.
    for _ in range(4):
        our_queue.add("job", {}, delay=100)
    ledger.wait_for_ends(4)
    assert state.leader() == "their-leader"
    reference.end()  # killed: its lock runs out
    wait_until(lambda: state.leader() == "our-leader", "ours leads")
    reference = references()
    reference.add("job", {}, delay_ms=100)
    our_queue.add("job", {}, delay=100)
    ledger.wait_for_ends(6)
    assert set(ledger.started().values()) == {1}
