"""Next fires: every row of the shared table, time zones, and what holds for any expression at any time."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chasquimq._core.cron import check, next_fire_ms
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError
from tests.unit.properties import searched

VECTORS = Path(__file__).parents[1] / "vectors" / "cron.json"
ROWS: list[dict[str, Any]] = json.loads(VECTORS.read_text())["rows"]
NEW_YEAR_MS = 1_798_761_600_000  # 2027-01-01, a Friday


def at_ms(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp() * 1000)


def test_the_table_is_whole() -> None:
    assert len(ROWS) == 117


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['expression']}|{row['tz']}|{row['from_ms']}")
def test_every_row_of_the_table(row: dict[str, Any]) -> None:
    try:
        fire_ms = next_fire_ms(row["expression"], row["tz"], row["from_ms"])
    except InvalidOptionError:
        fire_ms = None
    assert fire_ms == row.get("next_ms")


def test_a_year_that_is_over_is_no_error_but_has_no_fire() -> None:
    check("0 0 0 1 1 * 2030", None)
    assert next_fire_ms("0 0 0 1 1 * 2030", None, at_ms("2029-12-31T23:59:59Z")) == at_ms("2030-01-01T00:00:00Z")
    assert next_fire_ms("0 0 0 1 1 * 2030", None, at_ms("2030-01-01T00:00:00Z")) is None


def test_fires_are_strictly_after_to_the_millisecond() -> None:
    fire_ms = at_ms("2027-01-01T09:00:00Z")
    assert next_fire_ms("0 9 * * *", None, fire_ms - 1) == fire_ms
    assert next_fire_ms("0 9 * * *", None, fire_ms) == fire_ms + 86_400_000
    assert next_fire_ms("0 9 * * *", None, fire_ms + 1) == fire_ms + 86_400_000


@pytest.mark.parametrize(
    ("expression", "after", "fires"),
    [
        ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
        ("0 0 29 2 +1", "2027-01-01", "2044-02-29"),
        ("0 0 0 1 1 * 2099", "2027-01-01", "2099-01-01"),
        ("0 0 0 31 12 * 4999", "2027-01-01", "4999-12-31"),
    ],
)
def test_far_matches_are_found(expression: str, after: str, fires: str) -> None:
    assert next_fire_ms(expression, None, at_ms(after + "T00:00:00Z")) == at_ms(fires + "T00:00:00Z")


def test_no_instant_is_too_early_or_too_late() -> None:
    assert next_fire_ms("* * * * *", "Europe/Berlin", -1) == 0
    assert next_fire_ms("0 0 0 1 1 * 1970", None, -(10**18)) == 0
    assert next_fire_ms("* * * * *", "-23:59", -(10**18)) is not None
    assert next_fire_ms("* * * * *", "Europe/Berlin", 10**18) is None
    assert next_fire_ms("* * * * *", "-23:59", at_ms("5000-12-31T23:59:59Z")) is not None
    assert next_fire_ms("* * * * *", "+23:59", at_ms("5000-12-31T23:59:59Z")) is None


# -- time zones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tz", [None, "", " ", "\t", "UTC", "utc", "Utc", " UTC ", "Z", " Z", "+00:00", "-00:00"])
def test_names_of_utc(tz: str | None) -> None:
    assert next_fire_ms("0 2 * * *", tz, NEW_YEAR_MS) == at_ms("2027-01-01T02:00:00Z")


@pytest.mark.parametrize(
    ("tz", "fires"),
    [
        ("+05:30", "2027-01-01T20:30:00Z"),
        ("-05:30", "2027-01-01T07:30:00Z"),
        ("+0530", "2027-01-01T20:30:00Z"),
        ("+5:30", "2027-01-01T20:30:00Z"),
        (" +05:30 ", "2027-01-01T20:30:00Z"),
        ("+23:59", "2027-01-01T02:01:00Z"),
        ("-23:59", "2027-01-01T01:59:00Z"),
        ("America/New_York", "2027-01-01T07:00:00Z"),
        (" America/New_York ", "2027-01-01T07:00:00Z"),
        ("US/Eastern", "2027-01-01T07:00:00Z"),
        ("EST5EDT", "2027-01-01T07:00:00Z"),
        ("Etc/GMT+5", "2027-01-01T07:00:00Z"),
        ("Asia/Calcutta", "2027-01-01T20:30:00Z"),
        ("W-SU", "2027-01-01T23:00:00Z"),
        ("GMT0", "2027-01-01T02:00:00Z"),
        ("Zulu", "2027-01-01T02:00:00Z"),
    ],
)
def test_offsets_and_names_of_the_iana_database(tz: str, fires: str) -> None:
    assert next_fire_ms("0 2 * * *", tz, NEW_YEAR_MS) == at_ms(fires)


@pytest.mark.parametrize(
    "tz",
    [
        "z",
        "+05",
        "+5",
        "+530",
        "05:30",
        "+24:00",
        "-24:00",
        "+99:99",
        "+00:60",
        "+:30",
        "+05:",
        "+ 5:30",
        "++5:30",
        "+1:2",
        "+05:30:00",
        "\u221205:00",
        "+\u0660\u0665:30",
        "UTC+1",
        "UTC+01:00",
        "GMT+1",
        "gmt",
        "America/new_york",
        "america/New_York",
        "Europe",
        "Europe/",
        "Europe//Berlin",
        "./Europe/Berlin",
        "Europe/../Europe/Berlin",
        "../etc/passwd",
        "/etc/localtime",
        "/usr/share/zoneinfo/Europe/Berlin",
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
        "localtime",
        "posixrules",
        "Factory",
        "tzdata.zi",
        "zone.tab",
        "Europe\\Berlin",
        "C:\\x",
        "Europe/Berlin\0",
        "\ud800",
        "x" * 5000,
    ],
)
def test_refused_time_zones(tz: str) -> None:
    with pytest.raises(InvalidOptionError, match="there is no time zone") as refused:
        check("0 2 * * *", tz)
    assert "America/New_York" in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_time_zone_is_given_by_its_name() -> None:
    with pytest.raises(InvalidOptionTypeError, match="expected its name as a text"):
        check("0 2 * * *", UTC)  # type: ignore[arg-type]


# -- any expression, any time ----------------------------------------------------------------------------------------

ZONES = ["UTC", "+05:30", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"]


def field(minimum: int, maximum: int) -> st.SearchStrategy[str]:
    """A field of a list of values, ranges and steps."""
    value = st.integers(minimum, maximum)
    step = st.integers(1, maximum)
    item = st.one_of(
        value.map(str),
        st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.tuples(value, value, step).map(lambda each: f"{min(each[:2])}-{max(each[:2])}/{each[2]}"),
    )
    return st.one_of(st.just("*"), step.map("*/{}".format), value.map(str), st.lists(item, max_size=3).map(",".join))


seconds, minutes, hours = field(0, 59), field(0, 59), field(0, 23)
days = st.one_of(field(1, 31), st.sampled_from(["L", "15W", "1W", "31W", "1,L", "?"]))
weekdays = st.one_of(field(0, 7), st.sampled_from(["MON-FRI", "5L", "5#2", "+5", "+1-5", "?"]))
expressions = st.tuples(seconds, minutes, hours, days, field(1, 12), weekdays).map(" ".join)
moments = st.integers(0, at_ms("2045-01-01T00:00:00Z"))


@searched
@given(expressions, st.sampled_from(ZONES), moments, st.integers(0, 10**9))
def test_fires_are_whole_seconds_in_order_and_none_is_passed_over(
    expression: str, tz: str, after_ms: int, further_ms: int
) -> None:
    try:
        fire_ms = next_fire_ms(expression, tz, after_ms)
    except InvalidOptionError:
        return  # such as February 30
    if fire_ms is None:
        return
    assert fire_ms > after_ms
    assert fire_ms % 1000 == 0
    # Asked about any time between, the answer is the same one; asked about a later time, it is not an earlier one.
    between_ms = after_ms + further_ms % (fire_ms - after_ms)
    assert next_fire_ms(expression, tz, between_ms) == fire_ms
    assert next_fire_ms(expression, tz, fire_ms - 1) == fire_ms
    later_ms = next_fire_ms(expression, tz, fire_ms + further_ms)
    assert later_ms is None or later_ms > fire_ms + further_ms


@settings(searched, max_examples=400)
@given(
    st.one_of(st.text(), st.text(alphabet="0123456789*,-/#LW+?@ JANMOdaily\t", max_size=40)),
    st.one_of(st.none(), st.text(), st.text(alphabet="0123456789:+-ZUTCEurope/Blin.", max_size=20)),
    st.integers(),
)
@example("9" * 10_000 + " * * * *", None, 0)
@example("1-" + "9" * 900 + " * * * *", None, 0)
@example("*/" + "9" * 900 + " * * * *", None, 0)
@example("0 0 * * 1#" + "9" * 900, None, 0)
@example("* * * * *", "+" + "9" * 10_000, 0)
@example("\ud800 * * * *", "\ud800", 0)
def test_any_text_is_scheduled_or_refused(expression: str, tz: str | None, after_ms: int) -> None:
    try:
        check(expression, tz)
    except InvalidOptionError:
        with pytest.raises(InvalidOptionError):
            next_fire_ms(expression, tz, after_ms)
    else:
        fire_ms = next_fire_ms(expression, tz, after_ms)
        assert fire_ms is None or fire_ms > after_ms
