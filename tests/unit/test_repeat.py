"""The stored form of a repeatable spec, byte for byte, whatever wrote it; and the options that make one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chasquimq._core.repeat import RepeatSpec, decode_spec, spec_from_options
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, PayloadDecodeError
from chasquimq.options import MissedFires, RepeatOptions
from tests.unit.properties import searched

VECTORS = [
    vector
    for vector in json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text("utf-8"))["vectors"]
    if vector["kind"] == "repeat_spec"
]
DATA = msgpack.packb({"a": 1})
# The calls of the vectors in this library's words: name, payload, options of the repeat, explicit key.
CALLS = {
    "every 60 s": ("tick", DATA, {"every": 60_000}, None),
    "cron with tz": ("tick", DATA, {"pattern": "0 2 * * *", "tz": "America/New_York"}, None),
    "cron, no tz, 6 fields, fire_all(3)": (
        "tick",
        DATA,
        {"pattern": "*/5 * * * * *", "missed_fires": MissedFires(kind="fire-all", max_catchup=3)},
        None,
    ),
    "every, fire_once": ("tick", DATA, {"every": timedelta(seconds=1), "missed_fires": "fire-once"}, None),
    "every, skip given": ("tick", DATA, {"every": 1_000, "missed_fires": {"kind": "skip"}}, None),
    "limit + window": (
        "tick",
        DATA,
        {"every": 1_000, "limit": 5, "start_date": 1_900_000_000_000, "end_date": 1_900_000_009_999},
        None,
    ),
    "explicit key": ("jn", b"x", {"every": 5_000}, "explicit"),
}
NOW = 1_800_000_000_000


def spec_of(name="tick", payload=DATA, *, key=None, max_attempts=None, backoff=None, **repeat):
    return spec_from_options(name, payload, repeat, repeat_job_key=key, max_attempts=max_attempts, backoff=backoff)


def stored(**fields):
    """A spec in the map form, by an encoder that is not ours."""
    whole = {"key": "k", "job_name": "n", "pattern": {"Every": [1_000]}, "payload": msgpack.packb(b"\x01"), **fields}
    return msgpack.packb(whole)


# -- vectors -------------------------------------------------------------------------------------------------------


def test_every_vector_has_its_call():
    assert len(VECTORS) == len(CALLS)
    assert {vector["label"].split(" (")[0] for vector in VECTORS} == set(CALLS)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["label"])
def test_what_the_reference_wrote_is_written(vector):
    name, payload, repeat, key = CALLS[vector["label"].split(" (")[0]]
    spec = spec_from_options(name, payload, repeat, repeat_job_key=key, max_attempts=None, backoff=None)
    assert spec.key == vector["key"]
    assert spec.encode().hex() == vector["spec"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["label"])
def test_what_the_reference_wrote_is_read(vector):
    name, payload, repeat, key = CALLS[vector["label"].split(" (")[0]]
    spec = decode_spec(bytes.fromhex(vector["spec"]))
    assert spec == spec_from_options(name, payload, repeat, repeat_job_key=key, max_attempts=None, backoff=None)
    assert spec.encode().hex() == vector["spec"]


# -- the map form, for the retry of each fire ----------------------------------------------------------------------

FULL_BACKOFF = ("exponential", 100, 5_000, 3.0, 0)


@pytest.mark.parametrize(
    ("max_attempts", "backoff", "retry"),
    [
        (5, None, [5, None]),
        (None, ("fixed", 250, 250, None, None), [None, ["fixed", 250, 250, None, None]]),
        (7, FULL_BACKOFF, [7, ["exponential", 100, 5_000, 3.0, 0]]),
    ],
)
@pytest.mark.parametrize("missed", [{}, {"missed_fires": "fire-once"}])
def test_a_retry_of_each_fire_makes_it_a_map(max_attempts, backoff, retry, missed):
    spec = spec_of(every=1_000, limit=3, max_attempts=max_attempts, backoff=backoff, **missed)
    assert msgpack.unpackb(spec.encode()) == {
        "key": "tick::every:1000",
        "job_name": "tick",
        "pattern": {"Every": [1_000]},
        "payload": msgpack.packb(DATA),
        "limit": 3,
        "start_after_ms": None,
        "end_before_ms": None,
        "fired": 0,
        **({"missed_fires": "FireOnce"} if missed else {}),
        "retry": retry,
    }
    assert decode_spec(spec.encode()) == spec


specs = st.builds(
    RepeatSpec,
    key=st.text(min_size=1),
    job_name=st.text(),
    payload=st.binary(),
    every_ms=st.integers(1, 2**53),
    limit=st.none() | st.integers(1, 2**53),
    start_after_ms=st.none() | st.integers(0, 2**53),
    end_before_ms=st.none() | st.integers(0, 2**53),
    missed_fires=st.sampled_from([MissedFires(), MissedFires(kind="fire-once")])
    | st.builds(MissedFires, kind=st.just("fire-all"), max_catchup=st.integers(1, 2**53)),
    max_attempts=st.none() | st.integers(1, 2**32 - 1),
    backoff=st.none() | st.just(FULL_BACKOFF) | st.just(("fixed", 1, None, None, 2**40)),
)


@searched
@given(specs)
def test_what_is_written_is_read_again(spec):
    assert decode_spec(spec.encode()) == spec


# -- tolerance -----------------------------------------------------------------------------------------------------

FIELDS = ["k", "n", {"Every": [1_000]}, msgpack.packb(b"\x01"), None, None, None, 0, "Skip", [3, None]]
PLAIN = RepeatSpec("k", "n", b"\x01", every_ms=1_000)


@pytest.mark.parametrize("length", [7, 8, 9])
def test_shorter_arrays_are_read(length):
    assert decode_spec(msgpack.packb(FIELDS[:length])) == PLAIN


@pytest.mark.parametrize(
    "retry", [[3, ["fixed", 5, None, None, None]], {"max_attempts": 3, "backoff": {"kind": "fixed", "delay_ms": 5}}]
)
def test_the_newer_array_with_a_retry_is_read(retry):
    spec = decode_spec(msgpack.packb([*FIELDS[:9], retry]))
    assert (spec.max_attempts, spec.backoff) == (3, ("fixed", 5, None, None, None))


def test_nothing_where_the_retry_belongs_is_read():
    assert decode_spec(msgpack.packb([*FIELDS[:9], None])) == PLAIN
    assert decode_spec(msgpack.packb([*FIELDS[:9], [None, None]])) == PLAIN


def test_a_map_with_unknown_names_is_read():
    assert decode_spec(stored(colour="red", fired=9, retry={})) == PLAIN


@pytest.mark.parametrize(
    ("pattern", "every", "cron", "tz"),
    [
        ({"Every": [5]}, 5, None, None),
        ({"Every": 5}, 5, None, None),
        ({"Every": {"interval_ms": 5}}, 5, None, None),
        ({"Cron": ["0 2 * * *", None]}, None, "0 2 * * *", None),
        ({"Cron": ["0 2 * * *", "UTC"]}, None, "0 2 * * *", "UTC"),
        ({"Cron": {"expression": "0 2 * * *"}}, None, "0 2 * * *", None),
        ({"Cron": {"expression": "0 2 * * *", "tz": "+05:30"}}, None, "0 2 * * *", "+05:30"),
    ],
)
def test_patterns_of_every_form_are_read(pattern, every, cron, tz):
    spec = decode_spec(stored(pattern=pattern))
    assert (spec.every_ms, spec.pattern, spec.tz) == (every, cron, tz)


@pytest.mark.parametrize(
    ("policy", "kind", "most"),
    [
        (None, "skip", None),
        ("Skip", "skip", None),
        ({"Skip": None}, "skip", None),
        ("FireOnce", "fire-once", None),
        ({"FireOnce": None}, "fire-once", None),
        ({"FireAll": [3]}, "fire-all", 3),
        ({"FireAll": 3}, "fire-all", 3),
        ({"FireAll": {"max_catchup": 3}}, "fire-all", 3),
        ({"FireAll": [0]}, "fire-all", 1),
        ({"FireAll": [2**64 - 1]}, "fire-all", 2**53),
    ],
)
def test_policies_of_every_form_are_read(policy, kind, most):
    assert decode_spec(stored(missed_fires=policy)).missed_fires == MissedFires(kind=kind, max_catchup=most)


def test_a_limit_of_zero_means_none():
    assert decode_spec(stored(limit=0)).limit is None


def test_a_payload_that_is_no_bin_in_a_bin_is_what_a_job_carries():
    assert decode_spec(stored(payload=DATA)).payload == DATA


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        msgpack.packb(5),
        msgpack.packb("text"),
        msgpack.packb({}),
        msgpack.packb(FIELDS[:6]),
        msgpack.packb([*FIELDS, 11]),
        msgpack.packb(FIELDS) + b"\x00",
        stored(key=None),
        stored(key=b"bytes"),
        stored(job_name=7),
        stored(pattern=None),
        stored(pattern={}),
        stored(pattern={"Every": [1], "Cron": ["* * * * *", None]}),
        stored(pattern={"Every": [0]}),
        stored(pattern={"Every": [-1]}),
        stored(pattern={"Every": [True]}),
        stored(pattern={"Every": []}),
        stored(pattern={"Every": ["5"]}),
        stored(pattern={"Never": [1]}),
        stored(pattern={"Cron": []}),
        stored(pattern={"Cron": ["* * * *", None]}),
        stored(pattern={"Cron": ["* * * * *", "Nowhere/Land"]}),
        stored(pattern={"Cron": ["* * * * *", 5]}),
        stored(payload="text"),
        stored(payload=b""),
        stored(payload=b"\x91" * 100_000),
        stored(payload=b"\x01\x01"),
        stored(limit="5"),
        stored(limit=True),
        stored(start_after_ms=1.5),
        stored(end_before_ms=[]),
        stored(missed_fires="FireNever"),
        stored(missed_fires={"FireAll": ["x"]}),
        stored(missed_fires={"FireAll": {}}),
        stored(missed_fires=5),
        stored(retry=[1]),
        stored(retry="ab"),
        stored(retry=[None, ["fixed"]]),
        stored(retry=[None, ["fixed", "5", None, None, None]]),
        stored(retry=[None, ["fixed", 5, None, "x", None]]),
    ],
    ids=lambda data: data[:60].hex(),
)
def test_what_is_no_spec_is_refused_with_one_error(hostile):
    with pytest.raises(PayloadDecodeError, match="not a repeatable spec"):
        decode_spec(hostile)


def _damaged(original):
    return st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255)).map(
        lambda change: original[: change[0]] + bytes([change[1]]) + original[change[0] + 1 :]
    )


@searched
@given(st.binary(max_size=80) | _damaged(stored(retry=[1, list(FULL_BACKOFF)])) | _damaged(msgpack.packb(FIELDS)))
def test_no_bytes_raise_anything_else(data):
    try:
        spec = decode_spec(data)
    except PayloadDecodeError:
        return
    assert isinstance(spec, RepeatSpec)
    assert (spec.every_ms is None) != (spec.pattern is None)


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", [{}, {"every": 5, "pattern": "* * * * *"}, {"tz": "UTC"}, {"limit": 5}])
def test_exactly_one_of_pattern_and_every(repeat):
    with pytest.raises(InvalidOptionError, match=r"exactly one of pattern= .* and every="):
        spec_of(**repeat)


@pytest.mark.parametrize(
    ("repeat", "text"),
    [
        ({"every": 0}, "0 ms"),
        ({"every": 0.9}, "0 ms"),
        ({"every": -1}, "negative"),
        ({"every": float("nan")}, "finite"),
        ({"every": 5, "limit": 0}, "limit"),
        ({"every": 5, "limit": -1}, "limit"),
        ({"every": 5, "start_date": datetime(2030, 1, 1)}, "time zone"),
        ({"every": 5, "end_date": "2030-01-31T08:00:00"}, "time zone"),
        ({"every": 5, "start_date": "2030-01-31"}, "time zone"),
        ({"every": 5, "end_date": "soon"}, "'soon'; expected an ISO 8601 date"),
        ({"every": 5, "end_date": -1}, "before 1970"),
        ({"every": 5, "missed_fires": "all"}, "'all'"),
        ({"every": 5, "missed_fires": {"kind": "fire-all", "max_catchup": 0}}, "max_catchup"),
        ({"every": 5, "missed_fires": {"kind": "skip", "max_catchup": 5}}, "fire-all"),
        ({"pattern": "* * * *"}, "cron"),
        ({"pattern": ""}, "cron"),
        ({"pattern": "* * * * *", "tz": "Europe/Atlantis"}, "Atlantis"),
    ],
)
def test_impossible_options_are_refused(repeat, text):
    with pytest.raises(InvalidOptionError, match=text):
        spec_of(**repeat)


@pytest.mark.parametrize(
    "repeat",
    [
        {"every": "5"},
        {"every": True},
        {"pattern": 5},
        {"pattern": b"* * * * *"},
        {"every": 5, "limit": "3"},
        {"every": 5, "limit": 1.5},
        {"every": 5, "start_date": b"2030"},
        {"every": 5, "missed_fires": 5},
        {"every": 5, "missed_fires": "fire-all"},
        {"every": 5, "missed_fires": {"no_such": 1}},
        {"every": 5, "no_such": 1},
        {"every": 5, "key": 5},
        {"every": 5, "key": b"k"},
        {"pattern": "* * * * *", "tz": 5},
    ],
)
def test_options_of_the_wrong_type_are_refused(repeat):
    with pytest.raises(InvalidOptionTypeError):
        spec_of(**repeat)


def test_a_key_that_is_no_text_of_unicode_is_refused():
    with pytest.raises(InvalidOptionError):
        spec_of(every=5, key="\ud800")


@pytest.mark.parametrize(
    ("name", "key", "repeat", "resolved"),
    [
        ("tick", None, {"every": 60_000}, "tick::every:60000"),
        ("tick", None, {"every": timedelta(minutes=1)}, "tick::every:60000"),
        ("tick", "", {"every": 60_000}, "tick::every:60000"),
        ("tick", "mine", {"every": 60_000}, "mine"),
        ("", None, {"every": 1_000}, "::every:1000"),
        ("tick", None, {"pattern": " 0  2 * * *"}, "tick::cron: 0  2 * * *:UTC"),
        ("tick", None, {"pattern": "0 2 * * *", "tz": "UTC"}, "tick::cron:0 2 * * *:UTC"),
        ("発送", None, {"pattern": "@daily", "tz": "Asia/Tokyo"}, "発送::cron:@daily:Asia/Tokyo"),
    ],
)
def test_the_key_is_the_given_one_or_made_of_name_and_signature(name, key, repeat, resolved):
    assert spec_of(name, key=key, **repeat).key == resolved


def test_no_zone_and_utc_share_a_key_but_not_the_stored_form():
    unsaid, said = spec_of(pattern="0 2 * * *"), spec_of(pattern="0 2 * * *", tz="UTC")
    assert unsaid.key == said.key
    assert (unsaid.tz, said.tz) == (None, "UTC")
    assert unsaid.encode() != said.encode()


@pytest.mark.parametrize(
    ("given_date", "ms"),
    [
        (1_900_000_000_000, 1_900_000_000_000),
        (datetime(2030, 1, 31, 8, tzinfo=UTC), 1_896_076_800_000),
        (datetime(2030, 1, 31, 8, tzinfo=timezone(timedelta(hours=1))), 1_896_073_200_000),
        ("2030-01-31T08:00:00Z", 1_896_076_800_000),
        ("2030-01-31T08:00:00.250+01:00", 1_896_073_200_250),
        ("2030-01-31 08:00+00:00", 1_896_076_800_000),
    ],
)
def test_dates_of_every_form(given_date, ms):
    spec = spec_of(every=5, start_date=given_date, end_date=given_date)
    assert (spec.start_after_ms, spec.end_before_ms) == (ms, ms)


def test_options_may_be_an_object():
    options = RepeatOptions(every=5, limit=2, immediately=True, job_id="ignored")
    spec = spec_from_options("n", b"", options, repeat_job_key=None, max_attempts=None, backoff=None)
    assert spec == RepeatSpec("n::every:5", "n", b"", every_ms=5, limit=2)


def test_what_is_shown_of_a_spec():
    every = spec_of(every=5, limit=2, start_date=10, end_date=20, missed_fires="fire-once").meta(15)
    assert (every.pattern_kind, every.every, every.pattern, every.tz) == ("every", 5, None, None)
    assert (every.key, every.job_name, every.next_fire_ms) == ("tick::every:5", "tick", 15)
    assert (every.limit, every.start_after_ms, every.end_before_ms) == (2, 10, 20)
    assert every.missed_fires == MissedFires(kind="fire-once")
    cron = spec_of(pattern="@daily", tz="Asia/Tokyo").meta(15)
    assert (cron.pattern_kind, cron.every, cron.pattern, cron.tz) == ("cron", None, "@daily", "Asia/Tokyo")
    assert not hasattr(cron, "payload")
