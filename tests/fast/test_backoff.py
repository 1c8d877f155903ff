"""The waits between retries: growth, cap, jitter, and numbers that make no sense."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

MIDDLE = 0.5  # unit_random that adds no jitter
CAP = 30_000


@pytest.mark.parametrize(
    ("retry_number", "expected"), [(1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (5000, 30_000)]
)
def test_exponential_growth_up_to_the_cap(fast, retry_number, expected):
    assert fast.backoff.backoff_ms("exponential", 100, CAP, 2.0, 0, retry_number, MIDDLE) == expected


@pytest.mark.parametrize("kind", ["exponential", "Fixed", "", "linear"])
def test_unknown_kinds_grow(fast, kind):
    assert fast.backoff.backoff_ms(kind, 10, CAP, 3.0, 0, 3, MIDDLE) == 90


def test_fixed_waits_the_same_every_time(fast):
    waits = {fast.backoff.backoff_ms("fixed", 250, CAP, 2.0, 0, number, MIDDLE) for number in range(1, 50)}
    assert waits == {250}


def test_fixed_is_capped(fast):
    assert fast.backoff.backoff_ms("fixed", 60_000, CAP, 2.0, 0, 1, MIDDLE) == 30_000


def test_fractions_are_cut_off(fast):
    assert fast.backoff.backoff_ms("exponential", 3, CAP, 1.5, 0, 2, MIDDLE) == 4


@pytest.mark.parametrize(("unit_random", "expected"), [(0.0, 900), (0.25, 950), (0.5, 1000), (0.75, 1050)])
def test_jitter_is_symmetric(fast, unit_random, expected):
    assert fast.backoff.backoff_ms("fixed", 1000, CAP, 2.0, 100, 1, unit_random) == expected


def test_jitter_never_makes_a_wait_negative(fast):
    assert fast.backoff.backoff_ms("fixed", 10, CAP, 2.0, 100, 1, 0.0) == 0


@pytest.mark.parametrize(
    ("multiplier", "retry_number", "expected"),
    [
        (math.nan, 2, 0),
        (math.inf, 2, CAP),
        (-math.inf, 2, 0),
        (-math.inf, 3, CAP),
        (-2.0, 2, 0),
        (-2.0, 3, 400),
        (-1e300, 2, 0),
        (-1e300, 4, 0),
        (-1e300, 3, CAP),
        (1e300, 3, CAP),
        (0.0, 1, 100),
        (0.0, 2, 0),
        (math.nan, 1, 100),
        (2.0, 0, 100),
        (2.0, -7, 100),
        (2.0, 10**30, CAP),
    ],
)
def test_nonsensical_multipliers(fast, multiplier, retry_number, expected):
    assert fast.backoff.backoff_ms("exponential", 100, CAP, multiplier, 0, retry_number, MIDDLE) == expected


def test_no_delay_stays_no_delay(fast):
    assert fast.backoff.backoff_ms("exponential", 0, CAP, math.inf, 0, 3, MIDDLE) == 0


@pytest.mark.parametrize("unit_random", [math.nan, math.inf, -1.0, 2.0])
def test_a_random_number_out_of_range_means_no_jitter(fast, unit_random):
    assert fast.backoff.backoff_ms("fixed", 1000, CAP, 2.0, 100, 1, unit_random) == 1000


integers = st.one_of(st.integers(-10, 100_000), st.integers(-(2**70), 2**70))
floats = st.one_of(st.floats(), st.floats(0, 10))


wild = st.tuples(
    st.sampled_from(["fixed", "exponential"]),
    integers,
    integers,
    floats,
    integers,
    st.one_of(st.integers(0, 200), integers),
    st.floats(0, 1, exclude_max=True),
)


@given(arguments=wild)
@example(arguments=("exponential", 2**70, 2**70, 2.0, 2**70, 2**70, 0.999))
@settings(derandomize=True, deadline=None, database=None, max_examples=500)
def test_any_numbers_give_the_same_sane_wait(twins, arguments):
    waits = {fast.backoff.backoff_ms(*arguments) for fast in twins}
    assert len(waits) == 1
    assert 0 <= waits.pop() <= 2**53


def test_numbers_only(fast):
    with pytest.raises(TypeError):
        fast.backoff.backoff_ms("fixed", "100", CAP, 2.0, 0, 1, MIDDLE)
