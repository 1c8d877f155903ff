"""Events of the stream as values: every kind, whatever the fields hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chasquimq import events
from chasquimq._core.events_face import SUBSCRIPTION_EVENTS, EventsFace
from chasquimq._core.subscription import aliases, parse_event
from chasquimq.errors import InvalidOptionError
from tests.unit.properties import searched

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text("utf-8"))["vectors"]
ENTRIES = next(vector["entries"] for vector in VECTORS if vector["kind"] == "events")


def parse(**fields):
    flat = [part.encode() if isinstance(part, str) else part for pair in fields.items() for part in pair]
    return parse_event("7-1", flat)


def of(kind, **fields):
    return kind(event_id="7-1", **fields)


JOB = {"id": "j-1", "ts": "5", "n": "w"}
TYPED = {"job_id": "j-1", "ts": 5, "name": "w"}


@pytest.mark.parametrize(
    ("event", "more", "expected"),
    [
        ("waiting", {}, of(events.Waiting, **TYPED)),
        ("active", {"attempt": "2"}, of(events.Active, **TYPED, attempt=2)),
        ("active", {"attempt": "2", "prev": "waiting"}, of(events.Active, **TYPED, attempt=2, prev="waiting")),
        ("completed", {"attempt": "1", "duration_us": "12"}, of(events.Completed, **TYPED, attempt=1, duration_us=12)),
        (
            "completed",
            {"attempt": "1", "duration_us": "12", "returnvalue": '{"a": [1, null]}'},
            of(events.Completed, **TYPED, attempt=1, duration_us=12, returnvalue={"a": [1, None]}),
        ),
        ("completed", {"returnvalue": "no json"}, of(events.Completed, **TYPED, returnvalue="no json")),
        (
            "failed",
            {"attempt": "1", "reason": "größer\nzwei", "duration_us": "3"},
            of(events.Failed, **TYPED, attempt=1, failed_reason="größer\nzwei", duration_us=3),
        ),
        (
            "retry-scheduled",
            {"attempt": "2", "backoff_ms": "100"},
            of(events.RetryScheduled, **TYPED, attempt=2, backoff_ms=100),
        ),
        ("delayed", {"delay_ms": "60000"}, of(events.Delayed, **TYPED, delay=60_000)),
        ("dlq", {"attempt": "2", "reason": "x"}, of(events.Dlq, **TYPED, attempt=2, reason="x")),
    ],
)
def test_every_event_of_a_job(event, more, expected):
    assert parse(e=event, **JOB, **more) == expected
    assert expected.event == event


def test_drained_has_no_job():
    assert parse(e="drained", id="", ts="5") == of(events.Drained, ts=5)


def test_what_is_left_out_is_empty():
    assert parse(e="waiting") == of(events.Waiting, job_id="", ts=0, name="")
    assert parse(e="dlq", id="", attempt="0", reason="decode_failed") == of(
        events.Dlq, job_id="", reason="decode_failed", attempt=0
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[0][1])
def test_what_the_reference_wrote(entry):
    fields = dict(entry)
    event = parse(**fields)
    assert type(event) is not events.Unknown
    assert event.event == fields["e"]
    assert event.ts == int(fields["ts"])
    shown = dataclasses.asdict(event)
    assert shown.get("job_id", "") == fields["id"]
    assert shown.get("name", "") == fields.get("n", "")
    for field in ("attempt", "duration_us", "backoff_ms"):
        if field in fields:
            assert shown[field] == int(fields[field])
    if "reason" in fields:
        assert shown.get("failed_reason", shown.get("reason")) == fields["reason"]


def test_every_kind_that_the_reference_writes_is_in_the_vectors():
    assert {dict(entry)["e"] for entry in ENTRIES} == {
        "active", "completed", "failed", "retry-scheduled", "waiting", "dlq", "drained",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["progress", "stalled", "", "Active", "gap", "unknown", "error", "retries-exhausted"])
def test_what_is_not_known_is_passed_through(name):
    event = parse(e=name, id="j-1", ts="5", progress="50")
    assert event == of(events.Unknown, ts=5, event_name=name, fields={"id": "j-1", "ts": "5", "progress": "50"})
    assert event.event == "unknown"


def test_an_entry_without_an_event_is_unknown():
    assert parse(d="x") == of(events.Unknown, event_name="", fields={"d": "x"})
    assert parse_event("7-1", []) == of(events.Unknown, event_name="", fields={})


@pytest.mark.parametrize("broken", ["", "x", "1.5", "NaN", "0x10", "9" * 5_000, b"\xff"])
def test_broken_numbers_are_zero(broken):
    event = parse(e="completed", id="j", ts=broken, attempt=broken, duration_us=broken)
    assert (event.ts, event.attempt, event.duration_us) == (0, 0, 0)


def test_numbers_may_be_negative_and_large():
    event = parse(e="completed", id="j", ts="-5", duration_us=str(2**80))
    assert (event.ts, event.duration_us) == (-5, 2**80)


def test_bytes_that_are_no_text_are_shown_as_well_as_they_can_be():
    event = parse(e="failed", id=b"\xff\xfe", reason=b"ok \xc3")
    assert (event.job_id, event.failed_reason) == ("\ufffd\ufffd", "ok \ufffd")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "1" * 10_000])
def test_a_return_value_of_hostile_shape_is_an_event_all_the_same(text):
    assert isinstance(parse(e="completed", id="j", returnvalue=text), events.Completed)


words = st.sampled_from(["e", "id", "ts", "n", "attempt", "reason", "returnvalue", "duration_us", *SUBSCRIPTION_EVENTS])


@searched
@given(st.lists(st.binary(max_size=20) | words.map(str.encode), max_size=14))
def test_whatever_an_entry_holds_an_event_comes_out(flat):
    event = parse_event("7-1", flat)
    assert isinstance(event, events.QueueEvent)
    assert event.event_id == "7-1"
    assert isinstance(event.ts, int)


# -- names and aliases ---------------------------------------------------------------------------------------------


def test_every_class_is_told_under_a_name_that_can_be_listened_to():
    kinds = [getattr(events, name) for name in events.__all__ if name != "QueueEvent"]
    assert {kind.event for kind in kinds} == set(SUBSCRIPTION_EVENTS) - {"error"}


def test_values_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        of(events.Waiting, job_id="j").job_id = "k"


def test_a_dead_letter_is_told_as_exhausted_too():
    dlq = of(events.Dlq, ts=5, job_id="j", name="w", reason="retries_exhausted", attempt=3)
    assert aliases(dlq) == [
        of(events.RetriesExhausted, ts=5, job_id="j", name="w", attempts_made=3, reason="retries_exhausted")
    ]
    assert aliases(of(events.Failed, job_id="j")) == []


class Heard(EventsFace):
    def __init__(self):
        super().__init__("q")
        self.calls = []

    def _call(self, name, *arguments):
        self.calls.append((name, *arguments))


def test_listeners_hear_an_event_under_all_its_names():
    face = Heard()
    for name in SUBSCRIPTION_EVENTS:
        face.on(name, print)
    dlq, drained = of(events.Dlq, job_id="j", attempt=2, reason="r"), of(events.Drained)
    gap = of(events.Gap, after="1-0")
    for event in (dlq, drained, gap):
        face._tell(event)
    assert face.calls == [
        ("dlq", dlq, "7-1"),
        ("retries-exhausted", aliases(dlq)[0], "7-1"),
        ("drained", "7-1"),
        ("gap", gap, "7-1"),
    ]


def test_events_that_do_not_exist_cannot_be_listened_to():
    with pytest.raises(InvalidOptionError, match="no event 'done'"):
        Heard().on("done", print)
    with pytest.raises(InvalidOptionError, match="no event 'progress'"):
        Heard().once("progress", print)
