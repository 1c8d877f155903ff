"""The dialect of cron expressions: what is accepted and what it means, what is refused and with which words."""

from datetime import datetime, timedelta
from itertools import islice

import pytest
from croniter import croniter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chasquimq._core.cron_pattern import parse
from chasquimq.errors import InvalidOptionError
from tests.unit.properties import searched

EPOCH = datetime(1970, 1, 1)
NEW_YEAR = datetime(2027, 1, 1)  # a Friday


def matches(expression: str, after: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    for _ in range(count):
        wall_s = parse(expression).first_from((after - EPOCH) // timedelta(seconds=1) + 1)
        if wall_s is None:
            break
        after = EPOCH + timedelta(seconds=wall_s)
        found.append(after)
    return found


@pytest.mark.parametrize(
    ("expression", "dates"),
    [
        ("0 0 L * *", "01-31 02-28 03-31 04-30"),
        ("0 0 l * *", "01-31 02-28 03-31 04-30"),
        ("0 0 1,L * *", "01-31 02-01 02-28 03-01"),
        ("0 0 15W * *", "01-15 02-15 03-15 04-15"),
        ("0 0 15w,20W * *", "01-15 01-20 02-15 02-19"),
        ("0 0 1W * *", "02-01 03-01 04-01 05-03"),  # May 1 is a Saturday, and the Friday before is in April
        ("0 0 31W * *", "01-29 03-31 05-31 07-30"),  # months without a 31st have none
        ("0 0 L,15W * *", "01-15 01-31 02-15 02-28"),
        ("0 0 1-10/3 * *", "01-04 01-07 01-10 02-01"),
        ("0 0 1/5 * *", "01-06 01-11 01-16 01-21"),
        ("0 0 1 FEB/3 *", "02-01 05-01 08-01 11-01"),
        ("0 0 1 jan-mar *", "02-01 03-01 2028-01-01 2028-02-01"),
        ("0 0 31 * *", "01-31 03-31 05-31 07-31"),
        ("0 0 * * SUN", "01-03 01-10 01-17 01-24"),
        ("0 0 * * 0,7", "01-03 01-10 01-17 01-24"),
        ("0 0 * * SUN-TUE", "01-03 01-04 01-05 01-10"),
        ("0 0 * * FRI-SUN", "01-02 01-03 01-08 01-09"),
        ("0 0 * * 5-7", "01-02 01-03 01-08 01-09"),
        ("0 0 * * */2", "01-02 01-03 01-05 01-07"),
        ("0 0 * * 5#2", "01-08 02-12 03-12 04-09"),
        ("0 0 * * FRI#2,FRI#4", "01-08 01-22 02-12 02-26"),
        ("0 0 * * 7#1", "01-03 02-07 03-07 04-04"),
        ("0 0 * * MON#5", "03-29 05-31 08-30 11-29"),
        ("0 0 * * 1-5#2", "01-08 01-11 01-12 01-13"),
        ("0 0 * * 5L", "01-29 02-26 03-26 04-30"),
        ("0 0 * * fri#l", "01-29 02-26 03-26 04-30"),
        ("0 0 * * 7L", "01-31 02-28 03-28 04-25"),
        ("0 0 * * 1,3L", "01-04 01-11 01-18 01-25"),
        # Both kinds of day set: one of them is enough, unless a plus asks for both. A star leaves it to the other.
        ("0 0 13 * 5", "01-08 01-13 01-15 01-22"),
        ("0 0 13 * +5", "08-13 2028-10-13 2029-04-13 2029-07-13"),
        ("0 0 L * 1", "01-04 01-11 01-18 01-25"),
        ("0 0 L * +1", "05-31 2028-01-31 2028-07-31 2029-04-30"),
        ("0 0 */2 * 1", "01-03 01-04 01-05 01-07"),
        ("0 0 1-31 * 1", "01-02 01-03 01-04 01-05"),
        ("0 0 13 * +*", "01-13 02-13 03-13 04-13"),
        ("0 0 * * +5", "01-08 01-15 01-22 01-29"),
        ("0 0 ? * 1", "01-04 01-11 01-18 01-25"),
        ("0 0 13 * ?", "01-13 02-13 03-13 04-13"),
        ("0 0 30 2 1", "02-01 02-08 02-15 02-22"),
        ("0 0 31 2 1L", "02-22 2028-02-28 2029-02-26 2030-02-25"),
        ("0 0 29 2 *", "2028-02-29 2032-02-29 2036-02-29 2040-02-29"),
        ("0 0 29 2 +1", "2044-02-29 2072-02-29 2112-02-29 2140-02-29"),
        ("0 0 0 1 1 * 2030/5", "2030-01-01 2035-01-01 2040-01-01 2045-01-01"),
        ("0 0 0 1 1 * 2027,2029-2030,2028", "2028-01-01 2029-01-01 2030-01-01"),
        ("0 0 0 1 1 * */2", "2029-01-01 2031-01-01 2033-01-01 2035-01-01"),  # steps from the year 1
        ("@daily", "01-02 01-03 01-04 01-05"),
        (" @Weekly ", "01-03 01-10 01-17 01-24"),
        ("@MONTHLY", "02-01 03-01 04-01 05-01"),
        ("@yearly", "2028-01-01 2029-01-01 2030-01-01 2031-01-01"),
        ("@annually", "2028-01-01 2029-01-01 2030-01-01 2031-01-01"),
    ],
)
def test_days(expression: str, dates: str) -> None:
    expected = [
        datetime.fromisoformat(each if len(each) == len("2027-01-01") else f"2027-{each}") for each in dates.split()
    ]
    assert matches(expression, NEW_YEAR, 4)[: len(expected)] == expected
    assert len(matches(expression, NEW_YEAR, 4)) == len(expected)


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("* * * * *", "00:01:00 00:02:00 00:03:00"),
        ("* * * * * *", "00:00:01 00:00:02 00:00:03"),
        ("* * * * * * *", "00:00:01 00:00:02 00:00:03"),
        ("*/20 * * * * *", "00:00:20 00:00:40 00:01:00"),
        ("5/15 * * * *", "00:05:00 00:20:00 00:35:00"),
        ("1-5/2 * * * *", "00:01:00 00:03:00 00:05:00"),
        ("50-59/5 * * * *", "00:50:00 00:55:00 01:50:00"),
        ("*/5,3 * * * *", "00:03:00 00:05:00 00:10:00"),
        ("1-1 * * * *", "00:01:00 01:01:00 02:01:00"),
        ("*/999 * * * *", "01:00:00 02:00:00 03:00:00"),
        ("0001 * * * *", "00:01:00 01:01:00 02:01:00"),
        ("1,,2, * * * *", "00:01:00 00:02:00 01:01:00"),
        ("30 15 */8 * * *", "00:15:30 08:15:30 16:15:30"),
        ("59 59 23 * * *", "23:59:59"),
        ("@hourly", "01:00:00 02:00:00 03:00:00"),
        ("\t0 \u00a0 9\n* *  * ", "09:00:00"),
    ],
)
def test_times_of_day(expression: str, times: str) -> None:
    expected = [datetime.fromisoformat(f"2027-01-01 {each}") for each in times.split()]
    assert matches(expression, NEW_YEAR, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "it has 0 fields. Write 5"),
        ("  ", "it has 0 fields. Write 5"),
        ("*", "it has 1 field. Write 5"),
        ("* * * *", "it has 4 fields. Write 5"),
        ("* * * * * * * *", "it has 8 fields. Write 5"),
        ("@midnight", "no such nickname. Write one of @yearly, @annually, @monthly, @weekly, @daily, @hourly"),
        ("@reboot", "no such nickname"),
        ("@every 5m", "no such nickname"),
        ("@daily *", "no such nickname"),
        ("@", "no such nickname"),
        ("60 * * * *", "in the field minute, '60' has no meaning: expected a number from 0 to 59"),
        ("60 * * * * *", "in the field second"),
        ("* 24 * * *", "in the field hour, '24' has no meaning: expected a number from 0 to 23"),
        ("0 0 0 * *", "in the field day of month"),
        ("0 0 32 * *", "in the field day of month"),
        ("0 0 * 0 *", "in the field month"),
        ("0 0 * 13 *", "in the field month, '13' has no meaning: expected a number from 1 to 12 or a name from JAN"),
        ("0 0 * * 8", "in the field day of week"),
        ("0 0 0 1 1 * 0", "in the field year"),
        ("0 0 0 1 1 * 5001", "in the field year"),
        ("0 0 0 1 1 * L", "in the field year"),
        ("0 22-2 * * *", "in the field hour, '22-2' has no meaning: a range runs .* as in 22-23,0-2"),
        ("0 0 * * 6-1", "as in 6-7,0-1"),
        ("0 0 L-3 * *", "'L-3'"),
        ("0 0 LW * *", "'LW'"),
        ("0 0 WL * *", "'WL'"),
        ("0 0 W * *", "'W'"),
        ("0 0 W15 * *", "'W15'"),
        ("0 0 0W * *", "'0W'"),
        ("0 0 32W * *", "'32W'"),
        ("0 0 1-15W * *", "'1-15W'"),
        ("0 0 15WW * *", "'15WW'"),
        ("0 0 5L * *", "'5L'"),
        ("0 0 L/2 * *", "'L/2'"),
        ("0 0 * * L", "write which day's last one is meant, as in 5L"),
        ("0 0 * * L5", "'L5'"),
        ("0 0 * * 8L", "'8L'"),
        ("0 0 * * 1-5L", "'1-5L'"),
        ("0 0 * * *L", r"'\*L'"),
        ("0 0 * * 5LL", "'5LL'"),
        ("0 0 * * 1#0", "which one of the month is 1 to 5 or L, as in 5#2"),
        ("0 0 * * 1#6", "which one of the month is 1 to 5 or L, as in 5#2"),
        ("0 0 * * 1#", "which one of the month"),
        ("0 0 * * 1#1#2", "which one of the month"),
        ("0 0 * * 1#2L", "which one of the month"),
        ("0 0 * * #1", "'#1'"),
        ("0 0 * * *#1", "before # stands one day or a range of days"),
        ("0 0 * * */2#1", "before # stands one day or a range of days"),
        ("0 0 */0 * *", r"in the field day of month, '\*/0' has no meaning: a step is a number from 1"),
        ("*/ * * * *", "a step is a number from 1"),
        ("*/-1 * * * *", "a step is a number from 1"),
        ("*/2/2 * * * *", "a step is a number from 1"),
        ("/5 * * * *", "'/5'"),
        ("H * * * *", "in the field minute, 'H'"),
        ("L * * * *", "in the field minute, 'L'"),
        ("-1 * * * *", "'-1'"),
        ("1- * * * *", "'1-'"),
        ("1-2-3 * * * *", "'1-2-3'"),
        ("*-5 * * * *", r"'\*-5'"),
        ("*5 * * * *", r"'\*5'"),
        ("*,5 * * * *", r"a \* stands alone"),
        ("0 0 *, * 1", r"a \* stands alone"),
        (", * * * *", "it names no value"),
        ("0 0 * * +", "it names no value"),
        ("1.5 * * * *", "'1.5'"),
        ("\u0661 * * * *", "in the field minute"),
        ("+1 * * * *", r"'\+1'"),
        ("0 0 +1 * 5", r"'\+1'"),
        ("0 0 13 * ++5", r"'\+5'"),
        ("? * * * *", r"in the field minute, '\?'"),
        ("0 0 ? ? *", r"in the field month, '\?'"),
        ("0 0 * SUN *", "in the field month, 'SUN'"),
        ("0 0 * * JAN", "in the field day of week, 'JAN'"),
        ("0 0 * * Sunday", "'SUNDAY'"),
        ("0 9 1JAN * *", "'1JAN'"),
        ("0 0 30 2 *", "no day of any year matches it"),
        ("0 0 31 4,6 *", "no day of any year matches it"),
        ("0 0 30 2 +1", "no day of any year matches it"),
        ("0 0 31 * +5#1", "no day of any year matches it"),
        ("0 0 0 29 2 * 2027", "no day of any year matches it"),
        ("0 " * 600, "at most 1000 are read"),
    ],
)
def test_refused_expressions(expression: str, reason: str) -> None:
    with pytest.raises(InvalidOptionError, match=reason):
        parse(expression)


# -- an independent implementation agrees ----------------------------------------------------------------------------
#
# On what both can say. croniter takes 5-5 for every value, 1-31 for a star, and asks for both days where one of them
# has an L, W or #; where those meet, the tables above decide.


def field(minimum: int, maximum: int) -> st.SearchStrategy[str]:
    value = st.integers(minimum, maximum)
    step = st.integers(2, maximum - minimum)
    range_ = st.lists(value, min_size=2, max_size=2, unique=True).map(sorted).map("{0[0]}-{0[1]}".format)
    item = st.one_of(
        value.map(str), range_, step.map("*/{}".format), st.tuples(range_, step).map("{0[0]}/{0[1]}".format)
    )
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=3).map(",".join))


one_day = st.sampled_from(
    ["L * *", "1W * *", "30W * *", "1,L * *", "? * 7", "* * MON-fri", "* * 1#5", "* * 0L", "* * 5L"]
)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)).map(lambda moment: moment.replace(microsecond=0))


@settings(searched, max_examples=60)
@given(
    st.tuples(field(0, 59), field(0, 23)),
    st.one_of(one_day, st.tuples(field(1, 28), field(1, 12), field(0, 6)).map(" ".join)),
    moments,
)
def test_croniter_agrees(times: tuple[str, str], days: str, after: datetime) -> None:
    ours = " ".join((*times, days))
    weekdays = {weekday for weekday, _ in parse(ours).weekdays}
    day, _, weekday = days.split()
    assume("*" in {day, weekday} or (len(parse(ours).days) < 31 and len(weekdays) < 7))
    theirs = ours.replace("0L", "L0").replace("5L", "L5")
    assert matches(ours, after, 4) == list(islice(croniter(theirs, after, ret_type=datetime), 4))
