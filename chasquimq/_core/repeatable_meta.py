"""What a producer tells of a repeatable job: a value of its own, so that naming its type loads no calendar."""

from __future__ import annotations

from chasquimq._dataclass import dataclass
from chasquimq.options import MissedFires

__all__ = ["RepeatableMeta"]


@dataclass(frozen=True, slots=True)
class RepeatableMeta:
    """What ``get_repeatable_jobs`` tells of a spec (product page, RepeatableJobMeta). There is no payload."""

    key: str
    """Its identity, for ``remove_repeatable_by_key``."""
    job_name: str
    """The dispatch name of the jobs that it adds."""
    pattern_kind: str
    """``"cron"`` or ``"every"``."""
    pattern: str | None
    """The cron expression, or None."""
    tz: str | None
    """The time zone of the expression; None is UTC."""
    every: int | None
    """The interval in milliseconds, or None."""
    next_fire_ms: int
    """When it fires next, milliseconds since the epoch."""
    limit: int | None
    """How often it fires in all; None is without end."""
    start_after_ms: int | None
    """It does not fire before; milliseconds since the epoch."""
    end_before_ms: int | None
    """It does not fire after; milliseconds since the epoch."""
    missed_fires: MissedFires
    """What happens to fires that nobody was there to do."""
