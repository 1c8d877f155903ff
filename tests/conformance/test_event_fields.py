"""The arguments of every event of a subscription: all fields of the product page, typed, to listeners and iterations.

What writers of this protocol put into the events stream is written by hand here, whoever writes it usually.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chasquimq import events
from tests.conformance.test_following import follow, take
from tests.conformance.world import World

OF_A_JOB = {"id": "j-1", "ts": "1700000000001", "n": "welcome"}
TYPED = {"job_id": "j-1", "ts": 1_700_000_000_001, "name": "welcome"}
WRITTEN: list[tuple[str, dict[str, str], type[events.QueueEvent], dict[str, Any]]] = [
    ("waiting", {}, events.Waiting, {}),
    ("active", {"attempt": "2"}, events.Active, {"prev": "", "attempt": 2}),
    (
        "completed",
        {"attempt": "3", "duration_us": "2707", "returnvalue": '{"sent":1}'},
        events.Completed,
        {"attempt": 3, "duration_us": 2_707, "returnvalue": {"sent": 1}},
    ),
    (
        "failed",
        {"attempt": "1", "reason": "because", "duration_us": "5"},
        events.Failed,
        {"attempt": 1, "failed_reason": "because", "duration_us": 5},
    ),
    (
        "retry-scheduled",
        {"attempt": "2", "backoff_ms": "30000"},
        events.RetryScheduled,
        {"attempt": 2, "backoff_ms": 30_000},
    ),
    ("delayed", {"delay_ms": "60000"}, events.Delayed, {"delay": 60_000}),
    ("dlq", {"attempt": "4", "reason": "unrecoverable"}, events.Dlq, {"attempt": 4, "reason": "unrecoverable"}),
]


def write(world: World, kind: str, fields: dict[str, str]) -> str:
    return world.admin.xadd(world.key("events"), {"e": kind, **fields}).decode()


@pytest.mark.parametrize(("kind", "fields", "event_class", "typed"), WRITTEN, ids=[row[0] for row in WRITTEN])
async def test_the_fields_of_an_event(
    world: World, kind: str, fields: dict[str, str], event_class: type[events.QueueEvent], typed: dict[str, Any]
) -> None:
    heard: list[tuple[Any, ...]] = []
    async with follow(world) as following:
        following.on(kind, lambda *arguments: heard.append(arguments))
        event_id = write(world, kind, {**OF_A_JOB, **fields})
        expected = event_class(event_id=event_id, **TYPED, **typed)
        await world.until(lambda: heard)
        assert await take(following, 1) == [expected]
    assert heard == [(expected, event_id)]
    assert expected.event == kind


async def test_the_fields_of_the_alias_of_a_dead_letter(world: World) -> None:
    heard: list[tuple[Any, ...]] = []
    async with follow(world) as following:
        following.on("retries-exhausted", lambda *arguments: heard.append(arguments))
        event_id = write(world, "dlq", {**OF_A_JOB, "attempt": "4", "reason": "retries_exhausted"})
        await world.until(lambda: heard)
    expected = events.RetriesExhausted(event_id=event_id, **TYPED, attempts_made=4, reason="retries_exhausted")
    assert heard == [(expected, event_id)]


async def test_the_fields_of_drained_and_of_what_is_not_known(world: World) -> None:
    heard: list[tuple[Any, ...]] = []
    async with follow(world) as following:
        for kind in ("drained", "unknown"):
            following.on(kind, lambda *arguments, kind=kind: heard.append((kind, *arguments)))
        drained_id = write(world, "drained", {"id": "", "ts": "5"})
        unknown_id = write(world, "paused", {"id": "", "ts": "6", "by": "somebody"})
        await world.until(lambda: len(heard) == 2)
        found = await take(following, 2)
    unknown = events.Unknown(
        event_id=unknown_id, ts=6, event_name="paused", fields={"id": "", "ts": "6", "by": "somebody"}
    )
    assert found == [events.Drained(event_id=drained_id, ts=5), unknown]
    assert heard == [("drained", drained_id), ("unknown", unknown, unknown_id)]


def test_every_class_is_shown_here() -> None:
    shown = {row[2] for row in WRITTEN} | {events.RetriesExhausted, events.Drained, events.Unknown}
    made_by_readers = {events.Gap}
    everything = {value for name in events.__all__ if dataclasses.is_dataclass(value := getattr(events, name))}
    assert shown | made_by_readers | {events.QueueEvent} == everything
