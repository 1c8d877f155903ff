"""Cron expressions: when they fire next, in their time zone, across changes of the clock.

This module decides which instants a pattern (``cron_pattern``) names in a time zone. It reads no clock, and never
gives an instant that is not after the one it was asked about.

Twice a year most clocks are changed, and a wall clock then skips a part of the day or shows it twice:

* Skipped time. A single time of the day (one hour, one minute, one second) fires at the first instant after the gap,
  so that a daily job never misses a day. What lists, ranges and steps name inside the gap is dropped: they go on
  right after it.
* Repeated time. An hour field that starts with ``*`` fires in both passes, because such a job goes by the time that
  passes. Any other fires once, in the first pass.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from chasquimq._core.cron_pattern import LAST_YEAR, CronPattern, parse
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError

__all__ = ["check", "next_fire_ms"]

EPOCH = datetime(1970, 1, 1)
EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
# A day inside what dates can express, so that no offset leads out of it.
FIRST_INSTANT_S = (date(1, 1, 2) - date(1970, 1, 1)).days * 86_400
LAST_INSTANT_S = (date(LAST_YEAR + 1, 1, 2) - date(1970, 1, 1)).days * 86_400
# A pattern that met nothing but gaps for so long names nothing but gaps ("the night the clock goes forward, every
# quarter of an hour from two to three").
MOST_GAPS = 100


def check(expression: str, tz: str | None) -> None:
    """Raises InvalidOptionError for an expression or a time zone that cannot be scheduled.

    An expression whose years are all over is fine in itself: it has no next fire.
    """
    parse(expression)
    _zone(tz)


def next_fire_ms(expression: str, tz: str | None, after_ms: int) -> int | None:
    """The first fire strictly after ``after_ms``, or None when the expression has no further match.

    Fires are whole seconds, in milliseconds since the epoch. Raises as ``check`` does.
    """
    pattern, zone = parse(expression), _zone(tz)
    start_s = max(after_ms // 1000 + 1, FIRST_INSTANT_S)
    if start_s > LAST_INSTANT_S:
        return None
    fire_s = _next_instant(pattern, zone, start_s)
    return None if fire_s is None else fire_s * 1000


def _next_instant(pattern: CronPattern, zone: tzinfo, start_s: int) -> int | None:
    """The first fire at or after an instant, all in seconds since the epoch."""
    offset_s, is_second_pass = _offset_at(zone, start_s)
    wall_s = start_s + offset_s
    if isinstance(zone, timezone):
        match = pattern.first_from(wall_s)
        return None if match is None else match - offset_s

    before_s, after_s = _offsets_of(zone, wall_s)
    if before_s > after_s:
        change_s = _change(zone, wall_s, before_s, after_s)
        end_s = change_s + before_s  # where the repeated time ends, on the wall
        if pattern.is_every_hour:
            match = pattern.first_from(wall_s)
            if match is not None and match < end_s:
                return match - offset_s
            if not is_second_pass:
                # The wall clock goes back before it goes on.
                return _next_instant(pattern, zone, change_s)
        if is_second_pass:
            wall_s = end_s
    elif pattern.is_fixed_time:
        # With the clock of a second ago: at the first instant after a gap, what was skipped is due.
        wall_s = start_s + _offset_at(zone, start_s - 1)[0]

    for _ in range(MOST_GAPS):
        match = pattern.first_from(wall_s)
        if match is None:
            return None
        before_s, after_s = _offsets_of(zone, match)
        if before_s >= after_s:
            return match - before_s  # if this time is repeated: in the first pass
        change_s = _change(zone, match, before_s, after_s)
        if pattern.is_fixed_time:
            return change_s
        wall_s = change_s + after_s
    return None


def _offset_at(zone: tzinfo, instant_s: int) -> tuple[int, bool]:
    """The offset at an instant in seconds, and whether the wall clock shows its time for the second time."""
    local = (EPOCH_UTC + timedelta(seconds=instant_s)).astimezone(zone)
    return _seconds(local.utcoffset()), local.fold == 1


def _offsets_of(zone: tzinfo, wall_s: int) -> tuple[int, int]:
    """The offsets before and after a change of the clock that touches this wall time; else the same one twice.

    They tell the kind of change: the offset grows where wall time is skipped, and shrinks where it is repeated.
    """
    wall = EPOCH + timedelta(seconds=wall_s)
    return _seconds(zone.utcoffset(wall)), _seconds(zone.utcoffset(wall.replace(fold=1)))


def _change(zone: tzinfo, wall_s: int, before_s: int, after_s: int) -> int:
    """The first instant after the change of the clock that skips or repeats this wall time."""
    earlier, later = sorted((wall_s - before_s, wall_s - after_s))
    # A time on either side of the change reads the same on the wall: earlier < change <= later.
    while later - earlier > 1:
        middle = (earlier + later) // 2
        if _offset_at(zone, middle)[0] == after_s:
            later = middle
        else:
            earlier = middle
    return later


def _seconds(offset: timedelta | None) -> int:
    assert offset is not None  # noqa: S101 - zones of ours always know their offset
    return offset.days * 86_400 + offset.seconds


# -- time zones ----------------------------------------------------------------------------------------------------


def _zone(tz: str | None) -> tzinfo:
    if tz is None:
        return UTC
    if not isinstance(tz, str):
        raise InvalidOptionTypeError(
            f"the time zone is {type(tz).__name__}; expected its name as a text, for example 'Europe/Berlin'."
        )
    return _zone_named(tz)


@lru_cache(maxsize=1024)
def _zone_named(tz: str) -> tzinfo:
    name = tz.strip()
    if name in {"", "Z"} or name.upper() == "UTC":
        return UTC
    offset = re.fullmatch(r"([+-])(?:([0-9]{1,2}):|([0-9]{2}))([0-9]{2})", name)
    if offset is not None:
        sign, hours, hours_without_colon, minutes = offset.groups()
        hour, minute = int(hours or hours_without_colon), int(minutes)
        if hour <= 23 and minute <= 59:
            difference = timedelta(hours=hour, minutes=minute)
            return timezone(-difference if sign == "-" else difference)
    elif name in _names_in_package() or name in _names_in_system():
        from zoneinfo import ZoneInfo  # noqa: PLC0415  most schedules are in UTC

        try:
            return ZoneInfo(name)
        except (OSError, ValueError) as error:
            raise InvalidOptionError(
                f"the data of the time zone {name!r} cannot be read ({error}). Install or upgrade the package tzdata."
            ) from error
    raise InvalidOptionError(
        f"there is no time zone {tz[:100]!r}. Write UTC, an offset from -23:59 to +23:59 with hours and minutes "
        "('+05:30'), or a name of the IANA database with its capital letters ('America/New_York')."
    )


# Only listed names are looked up: a file system may find America/new_york too, or what is no time zone.


@lru_cache(maxsize=1)
def _names_in_package() -> frozenset[str]:
    """The names that the tzdata package lists in one small file."""
    from importlib import resources  # noqa: PLC0415  costs more to load than all of cron; few specs name a zone

    try:
        names = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    except (ImportError, OSError):  # where a distribution relies on the system's database instead
        return frozenset()
    return frozenset(names) - NOT_PLACES


@lru_cache(maxsize=1)
def _names_in_system() -> frozenset[str]:
    """The names of the system's database, which may be newer. Walking through it takes a tenth of a second."""
    from zoneinfo import available_timezones  # noqa: PLC0415  see above

    return frozenset(available_timezones()) - NOT_PLACES


# Entries of the database that tell nothing, or something else on every machine.
NOT_PLACES = frozenset({"Factory", "localtime"})
