"""Cron expressions: when they fire next, in their time zone, across daylight saving changes.

Being built: the dialect and the rules stand in docs/wire-format.md, next fire.
"""

from __future__ import annotations

__all__ = ["check", "next_fire_ms"]


def check(expression: str, tz: str | None) -> None:
    """Raises InvalidOptionError for an expression or a time zone that cannot be scheduled."""
    next_fire_ms(expression, tz, 0)


def next_fire_ms(expression: str, tz: str | None, after_ms: int) -> int | None:
    """The first fire strictly after ``after_ms``, or None when the expression has no further match."""
    raise NotImplementedError
