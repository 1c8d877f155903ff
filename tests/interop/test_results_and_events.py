"""Results and events written by either side are read by the other."""

import json

from tests.faults.ledger import Ledger, wait_until
from tests.faults.processes import Workers
from tests.faults.state import QueueState

from .ours import OurQueue
from .reference import Reference

RESULTS = [False, 0, "", 1.5, [1, "two", None], {"ok": True, "deep": {"er": [1]}}, "x" * 100_000]


def test_results_of_ours_are_read_by_the_reference(
    reference: Reference, workers: Workers, ledger: Ledger, state: QueueState, flavour: str
) -> None:
    workers.start(flavour, store_results=True, result_ttl_ms=1_500_000)
    ids = [reference.add("job", {"returns": value}) for value in RESULTS]
    nothing = reference.add("job", {})
    ledger.wait_for_ends(len(ids) + 1)
    wait_until(state.is_empty, "everything acknowledged")
    assert [reference.result(job_id) for job_id in ids] == RESULTS
    assert reference.result(nothing) is None
    assert 1_400 <= state.client.ttl(state.key(f"result:{ids[0]}")) <= 1_500


def test_results_of_the_reference_are_read_by_ours(
    reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    reference.work(store_results=True)
    jobs = ours.add_bulk([("job", {"returns": value}) for value in RESULTS])
    nothing = ours.add("job", {})
    ledger.wait_for_ends(len(jobs) + 1)
    wait_until(state.is_empty, "everything acknowledged")
    assert [ours.get_job_result(job.id) for job in jobs] == RESULTS
    assert ours.get_job_result(nothing.id) is None


def test_events_of_ours_are_understood_by_the_reference(
    reference: Reference, workers: Workers, ledger: Ledger, flavour: str
) -> None:
    reference.listen()
    workers.start(flavour, drain_delay=300)
    fine = reference.add("発送", {})
    unnamed = reference.add("", {})
    fails = reference.add("job", {"fails": 1}, backoff=50)
    dies = reference.add("job", {"unrecoverable": True})
    delayed = reference.add("later", {}, delay_ms=50)
    ledger.wait_for_ends(4)

    def seen(name: str, job_id: str | None = None) -> list[dict[str, object]]:
        return [event for event in reference.heard() if event["name"] == name and job_id in (None, event["id"])]

    wait_until(lambda: len(seen("completed")) == 4 and seen("dlq") and seen("drained"), "all events")
    (completed,) = seen("completed", fine)
    assert completed["job_name"] == "発送"
    assert completed["attempt"] == 1
    assert isinstance(completed["duration_us"], int)
    assert isinstance(completed["ts"], int)
    assert seen("active", fine)
    assert seen("completed", unnamed)[0]["job_name"] == ""
    assert [event["attempt"] for event in seen("active", fails)] == [1, 2]
    (failed,) = seen("failed", fails)
    assert (failed["attempt"], failed["reason"]) == (1, "run 1 fails as told")
    (retried,) = seen("retry-scheduled", fails)
    assert (retried["attempt"], retried["backoff_ms"]) == (2, 50)
    assert seen("completed", fails)[0]["attempt"] == 2
    (dead,) = seen("dlq", dies)
    assert (dead["attempt"], dead["reason"], dead["job_name"]) == (1, "unrecoverable", "job")
    assert seen("waiting", delayed)
    assert seen("waiting", fails)
    assert seen("drained")[0]["id"] is None


def test_both_write_the_same_events(
    reference: Reference, our_queue: OurQueue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    """The same jobs, run by one and then by the other: the fields agree, in their order too."""

    def shapes() -> set[tuple[str, ...]]:
        rows = state.events()
        state.client.delete(state.key("events"))
        return {(row["e"], *row) for row in rows}

    def run_some() -> None:
        before = len(ledger.ends())
        our_queue.add("named", {})
        our_queue.add("", {})
        our_queue.add("named", {"fails": 1}, backoff=10)
        our_queue.add("", {"fails": 1}, backoff=10)
        our_queue.add("named", {"unrecoverable": True})
        state.add_entry({b"d": b"\xc1", b"n": b"broken"})
        ledger.wait_for_ends(before + 4)
        wait_until(lambda: len(state.events("dlq")) == 2 and state.is_empty(), "all settled")
        wait_until(lambda: len(state.events("completed")) == 4 and state.events("drained"), "the last events")

    worker = workers.start(drain_delay=300)
    run_some()
    assert worker.stop() == 0
    ours = shapes()
    reference.work()
    run_some()
    reference.stop()
    assert ours == shapes()


def test_events_of_our_producers_are_understood_by_the_reference(
    reference: Reference, ours: OurQueue, ledger: Ledger, state: QueueState
) -> None:
    reference.listen()
    telling = OurQueue(ours.url, ours.name, ours.flavour, events=True)
    at_once = telling.add("発送", {})
    late = telling.add("later", {}, delay=100, job_id="late")
    assert telling.add("later", {}, delay=100, job_id="late").is_duplicate
    rows = telling.add_bulk([("row", {}), ("row", {}, {"delay": 100}), ("", {})])
    reference.work()
    ledger.wait_for_ends(5)
    wait_until(state.is_empty, "everything acknowledged")

    def seen(name: str) -> list[dict[str, object]]:
        return [event for event in reference.heard() if event["name"] == name]

    wait_until(lambda: len(seen("completed")) == 5, "all events")
    wait_until(lambda: len(seen("waiting")) == 5, "those of its promoter, too, which come without a name")
    by_producer = seen("waiting")[:3]
    assert [(event["id"], event["job_name"]) for event in by_producer] == [
        (at_once.id, "発送"),
        (rows[0].id, "row"),
        (rows[2].id, ""),
    ]
    assert all(isinstance(event["ts"], int) for event in by_producer)
    delayed = {event["id"]: (event["job_name"], event["delay_ms"]) for event in seen("delayed")}
    assert delayed == {late.id: ("later", 100), rows[1].id: ("row", 100)}


def test_a_return_value_in_an_event_does_not_disturb_the_reference(
    reference: Reference, workers: Workers, ledger: Ledger, flavour: str
) -> None:
    reference.listen()
    workers.start(flavour)
    shown = reference.add("job", {"returns": {"größe": [1, None]}})
    too_long = reference.add("job", {"returns": "x" * 100_000})
    ledger.wait_for_ends(2)

    def completed() -> dict[object, dict[str, object]]:
        return {event["id"]: event for event in reference.heard() if event["name"] == "completed"}

    wait_until(lambda: len(completed()) == 2, "both ends")
    assert json.loads(str(completed()[shown]["returnvalue"])) == {"größe": [1, None]}
    assert "returnvalue" not in completed()[too_long]
    assert {type(event["duration_us"]) for event in completed().values()} == {int}
