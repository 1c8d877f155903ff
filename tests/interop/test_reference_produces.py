"""The reference adds jobs in all its forms; our workers run them, in every flavour."""

import itertools

from tests.faults.ledger import Ledger, wait_until
from tests.faults.processes import Workers
from tests.faults.state import QueueState

from .ours import OurQueue
from .reference import Reference

VALUES = [
    None,
    True,
    -1,
    2**63,
    1.5,
    "",
    "発送",
    {"$hex": "not a marker", "more": 1},
    [1, [2, {"three": [None]}]],
    {"key": {"nested": "x" * 70_000}},
]


def test_data_name_and_id_arrive(
    reference: Reference, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    names = ["welcome", "", "発送", "x" * 256]
    expected = {
        reference.add(names[number % len(names)], value): (names[number % len(names)], value)
        for number, value in enumerate(VALUES)
    }
    rows = [{"name": f"bulk-{number}", "data": {"number": number}} for number in range(50)]
    for job_id, row in zip(reference.add_bulk(rows), rows, strict=True):
        expected[job_id] = (row["name"], row["data"])
    expected[reference.add_unique("unique", 1, job_id="my:id}\n")] = ("unique", 1)
    expected[reference.add("binary", b"\x00\xff")] = ("binary", {"$hex": "00ff"})

    workers.start(flavour)
    ledger.wait_for_ends(len(expected))

    assert {row["id"]: (row["name"], row["data"]) for row in ledger.starts()} == expected
    assert set(ledger.started().values()) == {1}
    assert "my:id}\n" in expected
    wait_until(state.is_empty, "everything acknowledged")


def test_attempts_and_backoff_are_honoured(
    reference: Reference, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    workers.start(flavour, max_attempts=9)
    succeeds = reference.add("job", {"fails": 2}, attempts=3, backoff={"kind": "fixed", "delay_ms": 300})
    grows = reference.add(
        "job",
        {"fails": 2},
        backoff={"kind": "exponential", "delay_ms": 150, "multiplier": 3.0, "jitter_ms": 0},
    )
    plain = reference.add("job", {"fails": 1}, backoff=200)
    dies = reference.add("job", {"fails": 99}, attempts=2, backoff=10)

    ledger.wait_for_ends(3)
    wait_until(state.dead, "the dead letter")
    runs = {job_id: ledger.starts(job_id) for job_id in (succeeds, grows, plain, dies)}
    assert [row["run"] for row in runs[succeeds]] == [1, 2, 3]
    assert [row["run"] for row in runs[grows]] == [1, 2, 3]
    assert [row["run"] for row in runs[plain]] == [1, 2]
    assert [row["run"] for row in runs[dies]] == [1, 2]
    assert {row["attempts"] for row in runs[succeeds]} == {3}
    assert {row["attempts"] for row in runs[grows]} == {None}
    assert runs[grows][0]["backoff"] == "exponential"
    gaps = {job_id: [b["at"] - a["at"] for a, b in itertools.pairwise(rows)] for job_id, rows in runs.items()}
    assert min(gaps[succeeds]) >= 0.299
    assert gaps[grows][0] >= 0.149
    assert gaps[grows][1] >= 0.449
    assert gaps[plain][0] >= 0.199
    assert [fields[b"reason"] for fields in state.dead()] == [b"retries_exhausted"]
    wait_until(state.is_empty, "everything settled")


def test_delayed_jobs_are_promoted_by_ours(
    reference: Reference, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    plain = reference.add("発送", {"number": 1}, delay_ms=1200)
    unique = reference.add_unique("", {"number": 2}, job_id="later", delay_ms=1000, attempts=5)
    due = sorted(score for _, score in state.delayed())
    assert len(due) == 2

    workers.start(flavour)
    ledger.wait_for_starts(1)
    assert state.server_now_ms() >= due[0]
    ledger.wait_for_ends(2)
    assert state.server_now_ms() >= due[1]

    assert {row["id"]: (row["name"], row["data"]) for row in ledger.starts()} == {
        plain: ("発送", {"number": 1}),
        unique: ("", {"number": 2}),
    }
    wait_until(lambda: len(state.events("waiting")) == 2, "the waiting events")
    assert {event["id"] for event in state.events("waiting")} == {plain, unique}
    assert not state.client.exists(state.key("didx:later"))
    assert state.client.ttl(state.key("dlid:later")) > 3000


def test_our_worker_finds_foreign_delayed_jobs_while_it_leads(
    reference: Reference, ours: OurQueue, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    """Other producers do not wake our promoter: it must look by itself."""
    ours.add("far", {}, delay=600_000)
    workers.start(flavour)
    wait_until(state.leader, "our worker leads")
    job_id = reference.add("job", {}, delay_ms=50)
    ledger.wait_for_ends(1, within=10)
    assert ledger.started() == {job_id: 1}
