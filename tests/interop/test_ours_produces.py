"""We add jobs in all our forms, in every flavour; the reference runs them."""

import datetime
import itertools

from chasquimq import BackoffOptions, BackoffSpec, BulkJob
from tests.faults.ledger import Ledger, wait_until
from tests.faults.state import QueueState

from .ours import OurQueue
from .reference import Reference


def test_data_name_and_id_arrive(reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState) -> None:
    values = [None, True, -1, 2**63, 1.5, "", "発送", [1, [2, {"three": [None]}]], {"long": "x" * 70_000}]
    expected = {}
    for number, value in enumerate(values):
        name = ["welcome", "", "発送", "x" * 256][number % 4]
        expected[ours.add(name, value).id] = (name, value)
    rows = [
        ("pair", 1),
        ("triple", 2, {"attempts": 3}),
        {"name": "mapping", "data": 3, "opts": {"job_id": "bulk-3"}},
        BulkJob("object", 4),
        ("delayed", 5, {"delay": 300}),
        ("", 6, {"delay": 300, "job_id": "bulk-6"}),
        *(("many", number) for number in range(10, 60)),
    ]
    jobs = ours.add_bulk(rows)
    expected |= {job.id: (job.name, job.data) for job in jobs}
    expected[ours.add_unique("unique", 7, job_id="my:id}\n").id] = ("unique", 7)
    expected[ours.add("binary", b"\x00\xff").id] = ("binary", {"$hex": "00ff"})
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(milliseconds=400)
    expected[ours.add("instant", 8, delay=soon).id] = ("instant", 8)

    reference.work()
    ledger.wait_for_ends(len(expected))
    assert {row["id"]: (row["name"], row["data"]) for row in ledger.starts()} == expected
    assert set(ledger.started().values()) == {1}
    wait_until(state.is_empty, "everything acknowledged")
    assert not state.client.exists(state.key("didx:bulk-6"))


def test_attempts_and_backoff_are_honoured(
    reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    reference.work(max_attempts=9)
    succeeds = ours.add("job", {"fails": 2}, attempts=3, backoff=BackoffSpec.fixed(300, jitter_ms=0)).id
    grows = ours.add(
        "job",
        {"fails": 2},
        backoff=BackoffOptions(type="exponential", delay=150, multiplier=3.0, jitter_ms=0, max_delay=5000),
    ).id
    plain = ours.add("job", {"fails": 1}, backoff=200).id
    dies = ours.add("job", {"fails": 99}, attempts=2, backoff=10).id
    skips = ours.add("job", {"unrecoverable": True}, attempts=9).id

    ledger.wait_for_ends(3)
    wait_until(lambda: len(state.dead()) == 2, "the dead letters")
    runs = {job_id: ledger.starts(job_id) for job_id in (succeeds, grows, plain, dies, skips)}
    assert [[row["run"] for row in rows] for rows in runs.values()] == [[1, 2, 3], [1, 2, 3], [1, 2], [1, 2], [1]]
    gaps = {job_id: [b["at"] - a["at"] for a, b in itertools.pairwise(rows)] for job_id, rows in runs.items()}
    assert min(gaps[succeeds]) >= 0.299
    assert gaps[grows][0] >= 0.149
    assert gaps[grows][1] >= 0.449
    assert gaps[plain][0] >= 0.199
    assert sorted(fields[b"reason"] for fields in state.dead()) == [b"retries_exhausted", b"unrecoverable"]


def test_delayed_jobs_are_promoted_by_the_reference(
    reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    reference.work()
    wait_until(state.leader, "the reference leads")
    plain = ours.add("発送", 1, delay=700).id
    unique = ours.add_unique("", 2, job_id="later", delay=datetime.timedelta(milliseconds=900), attempts=5).id
    due = sorted(score for _, score in state.delayed())
    assert len(due) == 2
    ledger.wait_for_starts(1)
    assert state.server_now_ms() >= due[0]
    ledger.wait_for_ends(2)
    assert state.server_now_ms() >= due[1]
    assert ledger.started() == {plain: 1, unique: 1}


def test_a_wait_beyond_the_readers_cap_is_written_out(
    reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    """The reference caps at 30 s what names no cap: ours names one, so that it waits what was asked."""
    reference.work()
    ours.add("job", {"fails": 1}, attempts=2, backoff=BackoffSpec.fixed(60_000, jitter_ms=0))
    before = state.server_now_ms()
    member, due = wait_until(state.delayed, "the retry is scheduled")[0]
    assert due >= before + 59_000
    assert member
