"""Durations and instants: milliseconds, timedelta, aware datetime; everything unclear is refused."""

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chasquimq.errors import ChasquiError, InvalidOptionError, InvalidOptionTypeError
from chasquimq.times import duration_ms, instant_ms
from tests.unit.properties import searched

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_MS = 253_402_300_799_999  # the last millisecond of the year 9999


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (0, 0),
        (1500, 1500),
        (0.5, 0),
        (1.999, 1),
        (-0.0, 0),
        (2**53, 2**53),
        (timedelta(0), 0),
        (timedelta(seconds=1.5), 1500),
        (timedelta(microseconds=999), 0),
        (timedelta(days=30), 2_592_000_000),
    ],
)
def test_a_duration_is_whole_milliseconds_rounded_down(given_value, expected):
    assert duration_ms("delay", given_value) == expected


@pytest.mark.parametrize(
    "wrong", [-1, -0.001, timedelta(microseconds=-1), math.nan, math.inf, -math.inf, 2**53 + 1, 1e300]
)
def test_a_duration_outside_the_range_is_refused(wrong):
    with pytest.raises(InvalidOptionError, match="delay"):
        duration_ms("delay", wrong)


def test_a_timedelta_has_the_same_upper_bound_as_a_number():
    with pytest.raises(InvalidOptionError, match="delay"):
        duration_ms("delay", timedelta.max)


@pytest.mark.parametrize("wrong", [True, False, None, "100", b"1", Decimal(1), [1], EPOCH, 1j])
def test_a_duration_of_another_type_is_refused(wrong):
    with pytest.raises(InvalidOptionTypeError, match=f"delay is {type(wrong).__name__}"):
        duration_ms("delay", wrong)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (0, 0),
        (1_795_489_845_846, 1_795_489_845_846),
        (1_795_489_845_846.9, 1_795_489_845_846),
        (EPOCH, 0),
        (datetime(2026, 11, 24, 1, 30, 45, tzinfo=UTC), 1_795_483_845_000),
        (datetime(2026, 11, 24, 3, 30, 45, tzinfo=timezone(timedelta(hours=2))), 1_795_483_845_000),
        (datetime(1970, 1, 1, 0, 0, 1, 1999, tzinfo=UTC), 1001),
    ],
)
def test_an_instant_is_milliseconds_since_the_epoch_in_any_zone(given_value, expected):
    assert instant_ms("timestamp", given_value) == expected


@searched
@example(1_088_711_250_455, 0)
@given(st.integers(0, LATEST_MS), st.integers(0, 999))
def test_a_datetime_names_exactly_its_millisecond(whole_ms, microseconds):
    moment = EPOCH + timedelta(milliseconds=whole_ms, microseconds=microseconds)
    assert instant_ms("timestamp", moment) == whole_ms


def test_a_naive_datetime_is_refused_with_what_to_do():
    with pytest.raises(InvalidOptionError, match="without a time zone") as refused:
        instant_ms("timestamp", datetime(2026, 1, 1))
    assert "astimezone" in str(refused.value)


@pytest.mark.parametrize("wrong", [-1, datetime(1969, 12, 31, tzinfo=UTC), math.nan, math.inf, -(2**60)])
def test_an_instant_that_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidOptionError, match="timestamp"):
        instant_ms("timestamp", wrong)


@pytest.mark.parametrize("wrong", [True, "2026-01-01", None, timedelta(1), EPOCH.date()])
def test_an_instant_of_another_type_is_refused(wrong):
    with pytest.raises(InvalidOptionTypeError, match="timestamp"):
        instant_ms("timestamp", wrong)


@searched
@given(st.one_of(st.integers(), st.floats(), st.timedeltas(), st.booleans(), st.none(), st.text()))
def test_whatever_is_given_there_is_a_number_or_one_of_our_errors(value):
    try:
        whole = duration_ms("delay", value)
    except ChasquiError:
        return
    assert type(whole) is int
    assert 0 <= whole <= 2**53
