"""Cron expressions as calendar patterns: what is written, and which times of a wall clock it names.

This module decides what an expression means. The dialect is the one that every engine of the protocol schedules
(docs/wire-format.md, next fire): it must never accept what another engine refuses, for that engine would throw the
spec away. It knows no time zone and no clock: times in here are *wall seconds*, the seconds from 1970-01-01 00:00 to
what a clock on the wall shows. How the two meet is decided in ``cron``.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from chasquimq._dataclass import dataclass, field
from chasquimq.errors import InvalidOptionError

__all__ = ["LAST_YEAR", "CronPattern", "parse"]

LAST_YEAR = 5000
"""The last year of the dialect. No pattern fires after it."""
MAX_EXPRESSION_LENGTH = 1000
# The Gregorian calendar repeats itself, weekdays included, after this many years.
CALENDAR_CYCLE_YEARS = 400
DAY_S = 86_400
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
LAST = -1  # stands for a number where "the last one" is meant

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    minimum: int
    maximum: int
    names: tuple[str, ...] = ()
    """Names of the values, the first one for the minimum."""


SECOND = _Field("second", 0, 59)
MINUTE = _Field("minute", 0, 59)
HOUR = _Field("hour", 0, 23)
DAY = _Field("day of month", 1, 31)
MONTH = _Field("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"))
# Sunday is 0 and 7, so that a range may end with it.
WEEKDAY = _Field("day of week", 0, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
YEAR = _Field("year", 1, LAST_YEAR)


@dataclass(frozen=True, slots=True)
class CronPattern:
    """One parsed expression. Numbers are sorted, so that the next one is found by bisection."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...] | None
    """None: every year."""
    days: frozenset[int]
    """Days of the month, LAST among them if the last one is meant."""
    nearest_weekdays: frozenset[int]
    """Days of the month that stand for the nearest day from Monday to Friday in the same month."""
    weekdays: frozenset[tuple[int, int]]
    """(0 = Sunday, which one of the month: 1 to 5 or LAST)."""
    days_and_weekdays: bool
    """Both kinds of day must match; otherwise one of them is enough."""
    is_fixed_time: bool
    """One single time of the day, written as such: the kind of job that is moved rather than dropped by a clock."""
    is_every_hour: bool
    """The hour field starts with a star: the kind of job that goes by time passed, not by what the clock shows."""
    _days_of_month: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def first_from(self, wall_s: int) -> int | None:
        """The first match at or after ``wall_s``, or None when there is none."""
        day, second_of_day = divmod(wall_s, DAY_S)
        today = date.fromordinal(day + EPOCH_ORDINAL)
        match = self._day_from(today.year, today.month, today.day)
        if match == day:
            time_s = self._time_from(second_of_day)
            if time_s is not None:
                return day * DAY_S + time_s
            match = self._day_from(today.year, today.month, today.day + 1)
        if match is None:
            return None
        return match * DAY_S + self.hours[0] * 3600 + self.minutes[0] * 60 + self.seconds[0]

    def _time_from(self, second_of_day: int) -> int | None:
        """The first matching second of a day at or after this one, or None when it is over for the day."""
        minute_of_day, second = divmod(second_of_day, 60)
        hour, minute = divmod(minute_of_day, 60)
        # Whatever has run out in a place carries into the next one, as on an odometer.
        if second > self.seconds[-1]:
            minute += 1
            second = 0
        if minute > self.minutes[-1]:
            hour += 1
            minute = second = 0
        if hour > self.hours[-1]:
            return None
        found_hour = _first_from(self.hours, hour)
        if found_hour > hour:
            minute = second = 0
        found_minute = _first_from(self.minutes, minute)
        if found_minute > minute:
            second = 0
        return found_hour * 3600 + found_minute * 60 + _first_from(self.seconds, second)

    def _day_from(self, year: int, month: int, day: int) -> int | None:
        """The first matching day at or after this one, in days since 1970-01-01. ``day`` may be after the month."""
        if self.years is None:
            years: Iterable[int] = range(year, min(year + CALENDAR_CYCLE_YEARS, LAST_YEAR) + 1)
        else:
            years = self.years[bisect_left(self.years, year) :]
        for each_year in years:
            for each_month in self.months:
                if each_year == year and each_month < month:
                    continue
                earliest = day if (each_year, each_month) == (year, month) else 1
                for each_day in self._days_of(each_year, each_month):
                    if each_day >= earliest:
                        return date(each_year, each_month, each_day).toordinal() - EPOCH_ORDINAL
        return None

    def _days_of(self, year: int, month: int) -> tuple[int, ...]:
        # There are only 28 kinds of month: which weekday it begins with, and how long it is.
        first, following = date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
        kind = (first.weekday(), (following - first).days)
        days = self._days_of_month.get(kind)
        if days is None:
            days = self._days_of_month[kind] = self._days_of_kind(*kind)
        return days

    def _days_of_kind(self, first_weekday: int, length: int) -> tuple[int, ...]:
        """The matching days of a month that begins with this weekday (0 = Monday)."""

        def weekday(day: int) -> int:
            return (first_weekday + day) % 7  # 0 = Sunday

        def nearest(day: int) -> int:
            if weekday(day) == 6:
                return day - 1 if day > 1 else day + 2
            if weekday(day) == 0:
                return day + 1 if day < length else day - 2
            return day

        by_month = {length if day == LAST else day for day in self.days if day <= length}
        by_month.update(nearest(day) for day in self.nearest_weekdays if day <= length)
        by_week = {
            day
            for day in range(1, length + 1)
            if (weekday(day), (day - 1) // 7 + 1) in self.weekdays
            or (day + 7 > length and (weekday(day), LAST) in self.weekdays)
        }
        return tuple(sorted(by_month & by_week if self.days_and_weekdays else by_month | by_week))


def _first_from(values: tuple[int, ...], value: int) -> int:
    return values[bisect_left(values, value)]


# -- reading an expression -----------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parse(expression: str) -> CronPattern:
    """Raises InvalidOptionError, which says what is wrong in which field and what to write instead."""
    if len(expression) > MAX_EXPRESSION_LENGTH:
        raise InvalidOptionError(
            f"the cron expression has {len(expression)} characters; at most {MAX_EXPRESSION_LENGTH} are read."
        )
    return _Reader(expression).read()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one expression; knows it so that every refusal can quote it."""

    expression: str

    def read(self) -> CronPattern:
        second, minute, hour, day, month, weekday, year = self._fields()
        # A question mark means that the *other* day field decides: there, and only there, it is a star.
        day, weekday = day.replace("?", "*"), weekday.replace("?", "*")
        with_and, weekday = weekday.startswith("+"), weekday.removeprefix("+")
        seconds = self._numbers(SECOND, second)
        minutes = self._numbers(MINUTE, minute)
        hours = self._numbers(HOUR, hour)
        days, nearest_weekdays = self._days(day)
        pattern = CronPattern(
            seconds=seconds,
            minutes=minutes,
            hours=hours,
            months=self._numbers(MONTH, month),
            years=None if year == "*" else self._numbers(YEAR, year),
            days=days,
            nearest_weekdays=nearest_weekdays,
            weekdays=self._weekdays(weekday),
            # A star names every day, so "and" leaves the decision to the other field.
            days_and_weekdays=with_and or day == "*" or weekday == "*",
            is_fixed_time=len(seconds) == len(minutes) == len(hours) == 1 and "/" not in second + minute + hour,
            is_every_hour=hour.startswith("*"),
        )
        if pattern.first_from((1 - EPOCH_ORDINAL) * DAY_S) is None:
            raise self._refused("no day of any year matches it. Check day, month and year against a calendar")
        return pattern

    def _fields(self) -> list[str]:
        text = self.expression.strip().upper()
        if text.startswith("@"):
            if text.lower() not in NICKNAMES:
                raise self._refused(f"there is no such nickname. Write one of {', '.join(NICKNAMES)}, or the fields")
            text = NICKNAMES[text.lower()]
        fields = text.split()
        match len(fields):
            case 5:
                return ["0", *fields, "*"]
            case 6:
                return [*fields, "*"]
            case 7:
                return fields
            case count:
                raise self._refused(
                    f"it has {count} {'field' if count == 1 else 'fields'}. Write 5 (minute, hour, day of month, "
                    "month, day of week), 6 (a second before them) or 7 (and a year after them)"
                )

    def _numbers(self, field: _Field, text: str) -> tuple[int, ...]:
        return tuple(sorted({number for item in self._items(field, text) for number in self._span(field, item, item)}))

    def _days(self, text: str) -> tuple[frozenset[int], frozenset[int]]:
        days: set[int] = set()
        nearest_weekdays: set[int] = set()
        for item in self._items(DAY, text):
            if item == "L":
                days.add(LAST)
            elif re.fullmatch("[0-9]+W", item):
                nearest_weekdays.add(self._value(DAY, item, item[:-1]))
            else:
                days.update(self._span(DAY, item, item))
        return frozenset(days), frozenset(nearest_weekdays)

    def _weekdays(self, text: str) -> frozenset[tuple[int, int]]:
        weekdays: set[tuple[int, int]] = set()
        for item in self._items(WEEKDAY, text):
            which: Iterable[int] = range(1, 6)
            if "#" in item:
                named, _, nth = item.partition("#")
                if nth not in {"1", "2", "3", "4", "5", "L"}:
                    raise self._refused_item(WEEKDAY, item, "which one of the month is 1 to 5 or L, as in 5#2")
                if "/" in named or named == "*":
                    raise self._refused_item(WEEKDAY, item, "before # stands one day or a range of days")
                span, which = self._span(WEEKDAY, item, named), (LAST if nth == "L" else int(nth),)
            elif item.endswith("L"):
                if item == "L":
                    raise self._refused_item(WEEKDAY, item, "write which day's last one is meant, as in 5L")
                value = self._value(WEEKDAY, item, item[:-1])
                span, which = range(value, value + 1), (LAST,)
            else:
                span = self._span(WEEKDAY, item, item)
            weekdays.update((day % 7, nth_day) for day in span for nth_day in which)
        return frozenset(weekdays)

    def _items(self, field: _Field, text: str) -> list[str]:
        # Commas too many are harmless, and other engines pass over them.
        items = [item for item in text.split(",") if item]
        if not items:
            raise self._refused_item(field, text, "it names no value")
        if "*" in items and text != "*":
            raise self._refused_item(field, text, "a * stands alone, for it already names every value")
        return items

    def _span(self, field: _Field, item: str, text: str) -> range:
        """The values of ``text``, a part of an item: a value, a range, or one of them with a step."""
        base, slash, step_text = text.partition("/")
        step = 1
        if slash:
            if not re.fullmatch("[0-9]{1,4}", step_text) or int(step_text) == 0:
                raise self._refused_item(field, item, "a step is a number from 1, as in */5")
            step = int(step_text)
        if base == "*":
            return range(field.minimum, field.maximum + 1, step)
        start_text, dash, end_text = base.partition("-")
        start = self._value(field, item, start_text)
        if dash:
            end = 7 if end_text == "SUN" and field is WEEKDAY else self._value(field, item, end_text)
        else:
            end = field.maximum if slash else start
        if start > end:
            raise self._refused_item(
                field,
                item,
                "a range runs from the lower to the higher value. Write two ranges, "
                f"as in {start}-{field.maximum},{field.minimum}-{end}",
            )
        return range(start, end + 1, step)

    def _value(self, field: _Field, item: str, text: str) -> int:
        if text in field.names:
            return field.minimum + field.names.index(text)
        # The length is bounded because reading a number of thousands of digits is an error of its own.
        if re.fullmatch("[0-9]{1,9}", text) and field.minimum <= int(text) <= field.maximum:
            return int(text)
        expected = f"expected a number from {field.minimum} to {field.maximum}"
        if field.names:
            expected += f" or a name from {field.names[0]} to {field.names[-1]}"
        raise self._refused_item(field, item, expected)

    def _refused_item(self, field: _Field, item: str, reason: str) -> InvalidOptionError:
        return self._refused(f"in the field {field.name}, {item!r} has no meaning: {reason}")

    def _refused(self, reason: str) -> InvalidOptionError:
        return InvalidOptionError(f"the cron expression {self.expression!r} cannot be scheduled: {reason}.")
