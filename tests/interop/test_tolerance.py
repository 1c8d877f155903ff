"""Entries as other writers may make them, fed by hand: what the reference runs, ours runs with the same data.

One table, one queue, one worker. Where ours is more tolerant than the reference the row says so. The rows are those
of the protocol's tolerance matrix (docs/wire-format.md).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.faults.ledger import Ledger, wait_until
from tests.faults.processes import workers_of
from tests.faults.state import Fields, QueueState
from tests.servers import RedisServer

from .reference import Reference

NOW = 1_795_489_845_830
DATA = {"to": "ada"}
PAYLOAD = msgpack.packb(DATA)
RUNS, DEAD = "runs", "decode_failed"
pack = msgpack.packb


def job(*rest: Any, job_id: Any = None, payload: Any = PAYLOAD, created: Any = NOW) -> list[Any]:
    return [job_id, payload, created, *rest]


BACKOFF = {"kind": "fixed", "delay_ms": 50, "max_delay_ms": None, "multiplier": None, "jitter_ms": None}
AS_MAP = {"id": None, "payload": PAYLOAD, "created_at_ms": NOW}

# name: (what the reference does, what ours does, the envelope; None as id stands for the row's name)
ENVELOPES: dict[str, tuple[str, str, Any]] = {
    "four elements": (RUNS, RUNS, job(0)),
    "five elements": (RUNS, RUNS, job(0, [2, ["fixed", 50, None, None, None]])),
    "retry is nil": (RUNS, RUNS, job(0, None)),
    "three elements": (RUNS, RUNS, job()),
    "two elements": (DEAD, DEAD, [None, PAYLOAD]),
    "six elements": (DEAD, DEAD, job(0, None, 1)),
    "a map": (RUNS, RUNS, AS_MAP),
    "a map with attempt and retry": (RUNS, RUNS, {**AS_MAP, "attempt": 1, "retry": [5, None]}),
    "a map with unknown keys": (RUNS, RUNS, {**AS_MAP, "added_by": "a newer version"}),
    "retry as map": (RUNS, RUNS, job(0, {"max_attempts": 2, "backoff": None})),
    "backoff as map": (RUNS, RUNS, job(0, [2, BACKOFF])),
    "retry with one element": (DEAD, DEAD, job(0, [2])),
    "retry with three elements": (DEAD, DEAD, job(0, [2, None, None])),
    "backoff with four elements": (DEAD, DEAD, job(0, [2, ["fixed", 50, None, None]])),
    "backoff with six elements": (DEAD, DEAD, job(0, [2, ["fixed", 50, None, None, None, 1]])),
    "payload as array of byte values": (RUNS, RUNS, job(0, payload=list(PAYLOAD))),
    "payload is a map": (DEAD, RUNS, job(0, payload=DATA)),
    "id is an int": (DEAD, DEAD, [7, PAYLOAD, NOW, 0]),
    "created_at is a float": (DEAD, DEAD, job(0, created=1.5)),
    "created_at is negative": (DEAD, DEAD, job(0, created=-1)),
    "attempt is negative": (DEAD, DEAD, job(-1)),
    "attempt is nil": (DEAD, DEAD, job(None)),
    "delay is a float": (DEAD, DEAD, job(0, [2, ["fixed", 50.5, None, None, None]])),
    "multiplier is an int": (RUNS, RUNS, job(0, [2, ["exponential", 50, None, 2, None]])),
    "unknown kind": (RUNS, RUNS, job(0, [2, ["linear", 50, None, None, None]])),
    "capital kind": (RUNS, RUNS, job(0, [2, ["Fixed", 50, None, None, None]])),
    "attempt at the limit": ("retries_exhausted", "retries_exhausted", job(3, [3, None])),
}


def with_id(value: Any, job_id: str) -> Any:
    if isinstance(value, dict):
        return {**value, "id": job_id}
    return [job_id if value[0] is None else value[0], *value[1:]]


def raw_envelopes() -> dict[str, tuple[str, str, bytes]]:
    """Forms that a MessagePack library does not write by itself."""

    def head(job_id: str) -> bytes:
        return b"\x94\xd9" + bytes([len(job_id)]) + job_id.encode()

    tail = b"\xcf" + NOW.to_bytes(8, "big") + b"\x00"
    bin8 = b"\xc4" + bytes([len(PAYLOAD)]) + PAYLOAD
    bin16 = b"\xc5" + len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
    bin32 = b"\xc6" + len(PAYLOAD).to_bytes(4, "big") + PAYLOAD
    binary_id = "id as bin"
    return {
        "long header of the id": (RUNS, RUNS, head("long header of the id") + bin8 + tail),
        "payload bin16": (RUNS, RUNS, head("payload bin16") + bin16 + tail),
        "payload bin32": (RUNS, RUNS, head("payload bin32") + bin32 + tail),
        "id as bin": (RUNS, RUNS, b"\x94\xc4" + bytes([len(binary_id)]) + binary_id.encode() + bin8 + tail),
        "created_at as int64": (
            RUNS,
            RUNS,
            head("created_at as int64") + bin8 + b"\xd3" + NOW.to_bytes(8, "big") + b"\x00",
        ),
        "attempt in a longer form": (RUNS, RUNS, head("attempt in a longer form") + bin8 + tail[:-1] + b"\xcd\x00\x00"),
        "array16": (RUNS, RUNS, b"\xdc\x00\x04" + head("array16")[1:] + bin8 + tail),
        "bytes after the envelope": (RUNS, RUNS, head("bytes after the envelope") + bin8 + tail + b"more"),
    }


def frames() -> dict[str, tuple[str, Fields]]:
    """Other fields around the envelope: all of them run; the name that the handler sees."""

    def envelope(job_id: str) -> bytes:
        return bytes(pack(job(0, job_id=job_id)))

    return {
        "unknown fields": ("name", {b"d": envelope("unknown fields"), b"n": b"name", b"x": b"1"}),
        "n before d": ("name", {b"n": b"name", b"d": envelope("n before d")}),
        "empty n": ("", {b"d": envelope("empty n"), b"n": b""}),
        "n is no text": ("", {b"d": envelope("n is no text"), b"n": b"\xff\xfe"}),
    }


def rows() -> dict[str, tuple[str, str, Fields]]:
    table = {
        name: (theirs, ours, {b"d": bytes(pack(with_id(value, name))), b"n": b"name"})
        for name, (theirs, ours, value) in ENVELOPES.items()
    }
    table |= {name: (a, b, {b"d": raw, b"n": b"name"}) for name, (a, b, raw) in raw_envelopes().items()}
    return table | {name: (RUNS, RUNS, fields) for name, (_, fields) in frames().items()}


ROWS = rows()


class Outcome:
    """What a worker of ours made of the whole table."""

    def __init__(self, ledger: Ledger, state: QueueState, entry_ids: dict[str, bytes]) -> None:
        self.runs = {row["id"]: row for row in ledger.starts()}
        by_source = {fields[b"source_id"]: fields for fields in state.dead()}
        self.dead = {name: by_source.get(entry_id) for name, entry_id in entry_ids.items()}


@pytest.fixture(scope="module", params=["sync", "asyncio"])
def outcome(
    request: pytest.FixtureRequest, newest_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    name = f"tolerance-{request.param}"
    state = QueueState(newest_redis.client, name)
    entry_ids = {row: state.add_entry(fields) for row, (_, _, fields) in ROWS.items()}
    with workers_of(newest_redis.url, name, tmp_path_factory.mktemp("tolerance")) as workers:
        workers.start(request.param)
        wait_until(state.is_empty, "the whole table is settled")
        yield Outcome(workers.ledger, state, entry_ids)
    newest_redis.client.unlink(*newest_redis.client.keys(f"{{chasqui:{name}}}:*"))


@pytest.mark.parametrize("row", ROWS)
def test_an_envelope_of_another_writer(outcome: Outcome, row: str) -> None:
    theirs, ours, fields = ROWS[row]
    dead = outcome.dead[row]
    if ours == RUNS:
        assert dead is None, dead
        assert outcome.runs[row]["data"] == DATA
        assert outcome.runs[row]["name"] == (frames()[row][0] if row in frames() else "name")
    else:
        assert theirs == ours, "ours must never be stricter"
        assert dead is not None
        assert dead[b"reason"].decode() == ours
        assert dead[b"d"] == fields[b"d"]
        assert row not in outcome.runs


def test_what_the_reference_runs_ours_runs() -> None:
    assert all(ours == RUNS for theirs, ours, _ in ROWS.values() if theirs == RUNS)


def test_the_table_tells_what_the_reference_does(reference: Reference, ledger: Ledger, state: QueueState) -> None:
    sources = {state.add_entry(fields): row for row, (_, _, fields) in ROWS.items()}
    reference.work()
    wait_until(state.is_empty, "the whole table is settled")
    seen = {row["id"]: RUNS for row in ledger.starts()}
    seen |= {sources[fields[b"source_id"]]: fields[b"reason"].decode() for fields in state.dead()}
    assert seen == {row: theirs for row, (theirs, _, _) in ROWS.items()}


def test_a_map_survives_a_retry(
    newest_redis: RedisServer, queue: str, state: QueueState, tmp_path: Path, flavour: str
) -> None:
    """It is written again as an array, without the keys that nobody knows."""
    payload = pack({"fails": 1})
    envelope = {"id": "map", "payload": payload, "created_at_ms": NOW, "retry": [2, None], "more": 1}
    state.add_entry({b"d": bytes(pack(envelope))})
    with workers_of(newest_redis.url, queue, tmp_path) as workers:
        workers.start(flavour)
        workers.ledger.wait_for_ends(1)
        assert [row["run"] for row in workers.ledger.starts("map")] == [1, 2]
        wait_until(state.is_empty, "acknowledged")


def test_data_that_cannot_be_decoded_are_failed_runs(
    newest_redis: RedisServer, queue: str, state: QueueState, tmp_path: Path
) -> None:
    for name, payload in {"broken": b"\xc1", "empty": b""}.items():
        state.add_entry({b"d": bytes(pack(job(0, [2, ["fixed", 10, None, None, 0]], job_id=name, payload=payload)))})
    with workers_of(newest_redis.url, queue, tmp_path) as workers:
        workers.start()
        wait_until(lambda: len(state.dead()) == 2, "two dead letters")
        assert {fields[b"reason"] for fields in state.dead()} == {b"retries_exhausted"}
        assert len(state.events("failed")) == 4
        assert workers.ledger.starts() == []
