"""Changes of the clock: every one of ten years in five zones, against an oracle that walks instant by instant.

The oracle knows no rule by which a clock is changed. It looks at the wall clock at each instant in turn: what it has
seen before is repeated, and where it jumped, time was skipped.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from chasquimq._core.cron import next_fire_ms
from tests.unit.properties import searched

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOUR_MS = 3_600_000

ZONES = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Chatham"]
MORE_ZONES = [*ZONES, "America/Santiago", "Africa/Cairo", "Asia/Beirut"]
YEARS = range(2026, 2036)
# Minutes, hours: most of these name something within an hour of a change in one of the zones.
PATTERNS = [
    "* * * * *",
    "*/7 * * * *",
    "*/30 * * * *",
    "0 * * * *",
    "0 */2 * * *",
    "10-20 */3 * * *",
    "*/15 1-3 * * *",
    "15,45 1-3 * * *",
    "*/20 1 * * *",
    "*/20 2 * * *",
    "* 2 * * *",
    "0,30 0,2,3 * * *",
    "30 */24 * * *",
    "30 1 * * *",
    "0 2 * * *",
    "15 2 * * *",
    "30 2 * * *",
    "59 2 * * *",
    "0 3 * * *",
    "45 3 * * *",
    "30 2 * * 0",
    "30 2 1-7 * *",
]


def ms(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(milliseconds=1)


@cache
def changes(zone: str) -> list[datetime]:
    """The first instants after the changes of the clock in these years."""
    info = ZoneInfo(zone)

    def walk(start: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
        """Each instant whose offset is not that of the one before."""
        for number in range(1, (end - start) // step + 1):
            instant = start + step * number
            if instant.astimezone(info).utcoffset() != (instant - step).astimezone(info).utcoffset():
                yield instant

    days = walk(datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[-1] + 1, 1, 1, tzinfo=UTC), DAY)
    return [minute for day in days for minute in walk(day - DAY, day, MINUTE)]


class Moment(NamedTuple):
    """An instant, as somebody sees it who has watched the wall clock."""

    instant_ms: int
    wall: datetime
    is_repeated: bool
    skipped: list[datetime]


def watch(zone: str, start: datetime, end: datetime) -> list[Moment]:
    """Every minute after ``start`` until ``end``."""
    info = ZoneInfo(zone)
    before = start.astimezone(info).replace(tzinfo=None, fold=0)
    shown = {before}
    moments = []
    for number in range(1, (end - start) // MINUTE + 1):
        instant = start + number * MINUTE
        wall = instant.astimezone(info).replace(tzinfo=None, fold=0)
        skipped = [before + minute * MINUTE for minute in range(1, (wall - before) // MINUTE)]
        moments.append(Moment(ms(instant), wall, wall in shown, skipped))
        shown.add(wall)
        before = wall
    return moments


def oracle(expression: str, moments: list[Moment]) -> list[int]:
    """All fires. Days are restricted in one of the two fields at most."""
    ranges = (range(60), range(24), range(1, 32), range(1, 13), range(7))
    expanded = croniter.expand(expression)[0]
    minute, hour, day, _, weekday = (
        set(every if values == ["*"] else values) for every, values in zip(ranges, expanded, strict=True)
    )
    written = expression.split()[:2]
    is_once_a_day = all(each.isdigit() for each in written)
    is_every_hour = written[1].startswith("*")

    def names(wall: datetime) -> bool:
        return wall.hour in hour and wall.minute in minute and wall.day in day and wall.isoweekday() % 7 in weekday

    return [
        moment.instant_ms
        for moment in moments
        if (names(moment.wall) and (is_every_hour or not moment.is_repeated))
        or (is_once_a_day and any(map(names, moment.skipped)))
    ]


def compare(expression: str, zone: str, fires: list[int], after: list[int]) -> None:
    """What is said to be next, after each of these instants, is the oracle's next."""
    for after_ms in after:
        position = bisect_right(fires, after_ms)
        if position < len(fires):
            found = next_fire_ms(expression, zone, after_ms)
            assert found == fires[position], f"{expression} in {zone} after {after_ms}: not {fires[position]}"


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_ten_years(zone: str) -> None:
    random = Random(zone)
    assert len(changes(zone)) >= 18
    for change in changes(zone):
        moments = watch(zone, change - DAY, change + DAY)
        at_ms = ms(change)
        at_the_change = [at_ms + each for each in (-60_000, -1_000, -1, 0, 1)]
        for expression in PATTERNS:
            fires = oracle(expression, moments)
            # The chain of fires: all of it if they are few, and some of it near the change if they are many.
            near = [fire for fire in fires if abs(fire - at_ms) < 4 * HOUR_MS]
            chain = fires if len(fires) < 50 else random.sample(near, min(12, len(near)))
            anywhere = [random.randrange(at_ms - 24 * HOUR_MS, at_ms + 24 * HOUR_MS) for _ in range(3)]
            nearby = [random.randrange(at_ms - 4 * HOUR_MS, at_ms + 4 * HOUR_MS) for _ in range(5)]
            compare(expression, zone, fires, chain + anywhere + nearby + at_the_change)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe"])
def test_every_single_minute_around_a_change(zone: str, number: int) -> None:
    change = changes(zone)[number]
    moments = watch(zone, change - 3 * HOUR, change + 27 * HOUR)
    for expression in ("*/7 * * * *", "*/20 1-2 * * *", "30 1 * * *", "15 2 * * *", "0 0 * * *"):
        after = [moment.instant_ms for moment in moments[: 6 * 60]]
        compare(expression, zone, oracle(expression, moments), after)


fields = st.tuples(
    st.one_of(st.just("*"), st.integers(0, 59).map(str), st.integers(2, 40).map("*/{}".format), st.just("0-20,40/7")),
    st.one_of(
        st.just("*"),
        st.integers(0, 4).map(str),
        st.integers(2, 5).map("*/{}".format),
        st.sampled_from(["1-3", "0,2,3"]),
    ),
).map(lambda pair: f"{pair[0]} {pair[1]} * * *")


@settings(searched, max_examples=60)
@given(
    fields, st.sampled_from([*ZONES, "America/Santiago", "Africa/Cairo", "Asia/Beirut"]), st.integers(0, 19), st.data()
)
def test_any_pattern_at_a_change(expression: str, zone: str, number: int, data: st.DataObject) -> None:
    change = changes(zone)[number % len(changes(zone))]
    moments = watch(zone, change - 6 * HOUR, change + 6 * HOUR)
    after = data.draw(st.lists(st.integers(moments[0].instant_ms, moments[-1].instant_ms), min_size=5, max_size=10))
    fires = oracle(expression, moments)
    compare(expression, zone, fires, [*after, *fires[:: len(fires) // 40 + 1]])


def chain(expression: str, zone: str, after: str, count: int) -> list[str]:
    info = ZoneInfo(zone)
    after_ms = ms(datetime.fromisoformat(after).replace(tzinfo=info))
    found = []
    for _ in range(count):
        fire_ms = next_fire_ms(expression, zone, after_ms)
        if fire_ms is None:
            break
        after_ms = fire_ms
        found.append((EPOCH + timedelta(milliseconds=fire_ms)).astimezone(info).strftime("%d %H:%M:%S %z"))
    return found


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        # One time of the day, whichever way it is written, is moved behind the gap ...
        ("30 2 * * *", ["14 03:00:00 -0400", "15 02:30:00 -0400"]),
        ("15 30 2 * * *", ["14 03:00:00 -0400", "15 02:30:15 -0400"]),
        ("30,30 2-2 * * *", ["14 03:00:00 -0400", "15 02:30:00 -0400"]),
        ("30 2 * * 0", ["14 03:00:00 -0400", "21 02:30:00 -0400"]),
        # ... and several are not, even where a step leaves but one of them.
        ("*/20 30 2 * * *", ["15 02:30:00 -0400", "15 02:30:20 -0400"]),
        ("30 2/23 * * *", ["15 02:30:00 -0400", "16 02:30:00 -0400"]),
        ("0 2,14 * * *", ["14 14:00:00 -0400", "15 02:00:00 -0400"]),
        ("*/20 59 * * * *", ["14 01:59:00 -0500", "14 01:59:20 -0500", "14 01:59:40 -0500", "14 03:59:00 -0400"]),
    ],
)
def test_skipped_time_to_the_second(expression: str, fires: list[str]) -> None:
    assert chain(expression, "America/New_York", "2027-03-14T01:50:00", len(fires)) == fires


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("*/20 59 * * * *", ["07 01:59:40 -0400", "07 01:59:00 -0500", "07 01:59:20 -0500", "07 01:59:40 -0500"]),
        ("*/20 59 1 * * *", ["07 01:59:40 -0400", "08 01:59:00 -0500"]),
        ("59 59 1 * * *", ["07 01:59:59 -0400", "08 01:59:59 -0500"]),
        ("0 0 1 * * *", ["08 01:00:00 -0500"]),
        ("0 0 */1 * * *", ["07 01:00:00 -0500", "07 02:00:00 -0500"]),
    ],
)
def test_repeated_time_to_the_second(expression: str, fires: list[str]) -> None:
    assert chain(expression, "America/New_York", "2027-11-07T01:59:20", len(fires)) == fires


def test_the_last_match_of_all_may_be_in_the_second_pass() -> None:
    """In Chile the last hour of the day is repeated; as far as the wall clock can tell, the pattern is over by then."""
    assert chain("0 30 23/1 3 4 * 2027", "America/Santiago", "2027-04-03T22:59:00", 2) == ["03 23:30:00 -0300"]
    both = ["03 23:30:00 -0300", "03 23:30:00 -0400"]
    assert chain("0 30 * 3 4 * 2027", "America/Santiago", "2027-04-03T22:59:00", 3) == both


def test_a_whole_day_may_be_skipped() -> None:
    """Samoa had no December 30 in 2011."""
    assert chain("30 2 * * *", "Pacific/Apia", "2011-12-29T02:30:00", 2) == ["31 00:00:00 +1400", "31 02:30:00 +1400"]
    assert chain("0 */12 * * *", "Pacific/Apia", "2011-12-29T12:00:00", 2) == ["31 00:00:00 +1400", "31 12:00:00 +1400"]
    assert chain("30 2 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00", 1) == ["31 00:00:00 +1400"]


def test_a_pattern_that_names_nothing_but_gaps_never_fires() -> None:
    """The second Sunday of March, from two to three: that is when the clock goes forward."""
    in_every_gap = "*/15 2 8-14 3 +0"
    assert next_fire_ms(in_every_gap, "America/New_York", ms(datetime(2027, 1, 1, tzinfo=UTC))) is None
    assert chain(in_every_gap, "Europe/Berlin", "2027-01-01T00:00:00", 1) == ["14 02:00:00 +0100"]
    assert chain("30 2 8-14 3 +0", "America/New_York", "2027-01-01T00:00:00", 1) == ["14 03:00:00 -0400"]
