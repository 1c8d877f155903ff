"""Repeatable jobs as values: the stored spec, its key, and when it fires.

A spec is what ``add(..., repeat=...)`` leaves in Redis and any worker of any language fires (docs/wire-format.md,
repeatable specs). This module checks the options, writes and reads the stored form, and computes fire times; the
calendar itself is in ``cron``. It never reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgpack

from chasquimq._core import cron
from chasquimq._core.repeatable_meta import RepeatableMeta
from chasquimq._dataclass import dataclass
from chasquimq._fast import BackoffTuple, decode_payload
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, PayloadDecodeError
from chasquimq.options import MissedFires, RepeatOptions, build, merge, to_utf8, whole_number
from chasquimq.times import GREATEST, Instant, duration_ms, instant_ms

__all__ = ["Fires", "RepeatSpec", "decode_spec", "plan_fires", "score_ms", "spec_from_options"]

MAX_FIRES_PER_TICK = 10_000
SKIP = MissedFires()


@dataclass(frozen=True, slots=True)
class RepeatSpec:
    """One repeatable job. ``every_ms`` or ``pattern`` is set; ``payload`` is what each fired job carries."""

    key: str
    job_name: str
    payload: bytes
    every_ms: int | None = None
    pattern: str | None = None
    tz: str | None = None
    limit: int | None = None
    start_after_ms: int | None = None
    end_before_ms: int | None = None
    missed_fires: MissedFires = SKIP
    max_attempts: int | None = None
    backoff: BackoffTuple | None = None

    def next_fire_ms(self, after_ms: int) -> int | None:
        """The first fire strictly after ``after_ms``, or None when there is none any more."""
        start = max(after_ms, self.start_after_ms or 0)
        if self.every_ms is not None:
            fire: int | None = start + self.every_ms
        else:
            assert self.pattern is not None  # noqa: S101 - one of the two is set
            fire = cron.next_fire_ms(self.pattern, self.tz, start)
        if fire is not None and self.end_before_ms and fire > self.end_before_ms:
            return None
        return fire

    def meta(self, next_fire_ms: int) -> RepeatableMeta:
        """What a listing tells of it."""
        return RepeatableMeta(
            key=self.key,
            job_name=self.job_name,
            pattern_kind="every" if self.every_ms is not None else "cron",
            pattern=self.pattern,
            tz=self.tz,
            every=self.every_ms,
            next_fire_ms=next_fire_ms,
            limit=self.limit,
            start_after_ms=self.start_after_ms,
            end_before_ms=self.end_before_ms,
            missed_fires=self.missed_fires,
        )

    def encode(self) -> bytes:
        """The stored form: a positional array, or a map when each fire has a retry override of its own."""
        every = self.every_ms
        pattern = {"Cron": [self.pattern, self.tz]} if every is None else {"Every": [every]}
        # The engine's payload is a bin, and it is stored as MessagePack again: bin inside bin.
        payload = _pack(self.payload)
        missed: Any = None
        if self.missed_fires.kind == "fire-once":
            missed = "FireOnce"
        elif self.missed_fires.kind == "fire-all":
            missed = {"FireAll": [self.missed_fires.max_catchup]}
        fields = [self.key, self.job_name, pattern, payload, self.limit, self.start_after_ms, self.end_before_ms, 0]
        if self.max_attempts is None and self.backoff is None:
            return _pack(fields if missed is None else [*fields, missed])
        stored: dict[str, Any] = dict(zip(_FIELDS, fields, strict=False))
        if missed is not None:
            stored["missed_fires"] = missed
        stored["retry"] = [self.max_attempts, None if self.backoff is None else list(self.backoff)]
        return _pack(stored)


_FIELDS = (
    "key",
    "job_name",
    "pattern",
    "payload",
    "limit",
    "start_after_ms",
    "end_before_ms",
    "fired",
    "missed_fires",
    "retry",
)


@dataclass(frozen=True, slots=True)
class Fires:
    """What is due of one spec: the times it fires for now, and its next fire (None = it is over)."""

    times_ms: list[int]
    next_ms: int | None


def plan_fires(spec: RepeatSpec, score_ms: int, now_ms: int, grace_ms: int) -> Fires:
    """What to fire at ``now_ms`` for a spec that was due at ``score_ms``.

    If only that one window is due it fires, however late. If several are, the missed-fires policy decides about
    them; a window that is not older than ``grace_ms`` was not missed, so that an interval shorter than a
    scheduler's tick keeps firing.
    """
    following = spec.next_fire_ms(score_ms)
    if following is None or following >= now_ms:
        return Fires([score_ms], following)
    upcoming = _first_after(spec, score_ms, now_ms)
    kind = spec.missed_fires.kind
    if kind == "fire-once":
        return Fires([score_ms], upcoming)
    if kind == "fire-all":
        most = min(spec.missed_fires.max_catchup or 1, MAX_FIRES_PER_TICK)
        times = [score_ms]
        window: int | None = following
        while len(times) < most and window is not None and window <= now_ms:
            times.append(window)
            window = spec.next_fire_ms(window)
        return Fires(times, upcoming)
    latest = _last_until(spec, score_ms, now_ms, grace_ms)
    return Fires([] if latest is None else [latest], upcoming)


def _first_after(spec: RepeatSpec, score_ms: int, now_ms: int) -> int | None:
    if spec.every_ms is None:
        return spec.next_fire_ms(now_ms)
    steps = (now_ms - score_ms) // spec.every_ms
    return spec.next_fire_ms(score_ms + steps * spec.every_ms)


def _last_until(spec: RepeatSpec, score_ms: int, now_ms: int, grace_ms: int) -> int | None:
    """The last window that is not older than the grace, or None."""
    if spec.every_ms is not None:
        until = min(now_ms, spec.end_before_ms or now_ms)
        latest = score_ms + (until - score_ms) // spec.every_ms * spec.every_ms
        return latest if latest >= score_ms and now_ms - latest <= grace_ms else None
    latest_cron = None
    window = spec.next_fire_ms(max(score_ms, now_ms - grace_ms - 1))
    while window is not None and window <= now_ms:
        latest_cron = window
        window = spec.next_fire_ms(window)
    return latest_cron


def spec_from_options(
    name: str,
    payload: bytes,
    repeat: RepeatOptions | Mapping[str, Any],
    *,
    repeat_job_key: str | None,
    max_attempts: int | None,
    backoff: BackoffTuple | None,
) -> RepeatSpec:
    """Checks the options of ``add(..., repeat=...)``. Raises InvalidOptionError or InvalidOptionTypeError."""
    options = merge(RepeatOptions, repeat, {})
    if (options.pattern is None) == (options.every is None):
        raise InvalidOptionError("repeat needs exactly one of pattern= (cron) and every= (an interval).")
    every = pattern = tz = None
    if options.every is not None:
        every = duration_ms("repeat every", options.every)
        if every < 1:
            raise InvalidOptionError("repeat every is 0 ms; the shortest interval is 1 ms.")
        signature = f"every:{every}"
    else:
        pattern, tz = options.pattern, options.tz
        if not isinstance(pattern, str):
            raise InvalidOptionTypeError(f"repeat pattern is {type(pattern).__name__}; expected a cron expression.")
        cron.check(pattern, tz)
        signature = f"cron:{pattern}:{'UTC' if tz is None else tz}"
    if repeat_job_key is not None and not isinstance(repeat_job_key, str):
        raise InvalidOptionTypeError(f"repeat_job_key is {type(repeat_job_key).__name__}; expected a text.")
    if repeat_job_key is not None:
        to_utf8("repeat_job_key", repeat_job_key)
    limit = None if options.limit is None else whole_number("repeat limit", options.limit, minimum=1)
    return RepeatSpec(
        key=repeat_job_key or f"{name}::{signature}",
        job_name=name,
        payload=payload,
        every_ms=every,
        pattern=pattern,
        tz=tz,
        limit=limit,
        start_after_ms=None if options.start_date is None else _date_ms("repeat start_date", options.start_date),
        end_before_ms=None if options.end_date is None else _date_ms("repeat end_date", options.end_date),
        missed_fires=_missed_fires(options.missed_fires),
        max_attempts=max_attempts,
        backoff=backoff,
    )


def _missed_fires(value: MissedFires | Mapping[str, Any] | str | None) -> MissedFires:
    if value is None:
        return MissedFires()
    if isinstance(value, MissedFires):
        return value
    if isinstance(value, str):
        return MissedFires(kind=value)  # type: ignore[arg-type]  # checked by MissedFires itself
    if not isinstance(value, Mapping):
        raise InvalidOptionTypeError(
            f"missed_fires is {type(value).__name__}; expected MissedFires, a mapping or the name of a policy."
        )
    return build(MissedFires, value)


def _date_ms(option: str, value: Instant | str) -> int:
    if isinstance(value, str):
        try:
            return instant_ms(option, datetime.fromisoformat(value))
        except ValueError as error:
            if isinstance(error, InvalidOptionError):
                raise
            raise InvalidOptionError(
                f"{option} is {value!r}; expected an ISO 8601 date with a time zone, for example "
                "'2030-01-31T08:00:00+01:00', an aware datetime, or milliseconds since the epoch."
            ) from error
    return instant_ms(option, value)


# -- reading the stored form ---------------------------------------------------------------------------------------


def decode_spec(data: bytes) -> RepeatSpec:
    """The spec in any of the forms that writers of this protocol use. Raises PayloadDecodeError."""
    try:
        fields = _fields(decode_payload(data))
        every, pattern, tz = _pattern(fields["pattern"])
        retry = fields.get("retry") or [None, None]
        if isinstance(retry, dict):
            retry = [retry.get("max_attempts"), retry.get("backoff")]
        return RepeatSpec(
            key=_as(str, fields["key"]),
            job_name=_as(str, fields["job_name"]),
            payload=_payload(_as(bytes, fields["payload"])),
            every_ms=every,
            pattern=pattern,
            tz=tz,
            limit=_optional_int(fields.get("limit")) or None,
            start_after_ms=_optional_int(fields.get("start_after_ms")),
            end_before_ms=_optional_int(fields.get("end_before_ms")),
            missed_fires=_stored_missed_fires(fields.get("missed_fires")),
            max_attempts=_optional_int(retry[0]),
            backoff=_stored_backoff(retry[1]),
        )
    except Exception as error:
        # Hostile bytes raise whatever they like in there; one error tells that they are not a spec.
        raise PayloadDecodeError(f"not a repeatable spec: {type(error).__name__}: {error!s:.300}") from error


def score_ms(score: bytes) -> int:
    """The fire time in a score of the repeat set. Raises PayloadDecodeError for one that is no time."""
    try:
        return int(float(score))
    except (OverflowError, ValueError) as error:
        raise PayloadDecodeError(f"a repeatable spec is scheduled for {score!r}, which is no time") from error


def _fields(stored: Any) -> dict[str, Any]:
    if isinstance(stored, dict):
        return stored
    if not isinstance(stored, list) or not 7 <= len(stored) <= len(_FIELDS):
        raise ValueError("expected an array of 7 to 10 elements or a map")
    return dict(zip(_FIELDS, stored, strict=False))


def _pattern(stored: Any) -> tuple[int | None, str | None, str | None]:
    ((kind, body),) = stored.items()
    if kind == "Every":
        every = body["interval_ms"] if isinstance(body, dict) else body[0] if isinstance(body, list) else body
        if _as(int, every) < 1:
            raise ValueError("an interval of 0")
        return every, None, None
    if kind == "Cron":
        expression, tz = (body["expression"], body.get("tz")) if isinstance(body, dict) else (body[0], body[1])
        cron.check(_as(str, expression), tz)
        return None, expression, tz
    raise ValueError(f"unknown kind of pattern {kind!r}")


def _payload(stored: bytes) -> bytes:
    inner = decode_payload(stored)
    # A Rust application's own payload stands inline: then its MessagePack is what a job carries.
    return inner if isinstance(inner, bytes) else stored


def _stored_missed_fires(stored: Any) -> MissedFires:
    if stored is None or stored == "Skip" or (isinstance(stored, dict) and "Skip" in stored):
        return MissedFires()
    if stored == "FireOnce" or (isinstance(stored, dict) and "FireOnce" in stored):
        return MissedFires(kind="fire-once")
    body = stored["FireAll"]
    most = body["max_catchup"] if isinstance(body, dict) else body[0] if isinstance(body, list) else body
    return MissedFires(kind="fire-all", max_catchup=min(max(1, most), GREATEST))


def _stored_backoff(stored: Any) -> BackoffTuple | None:
    if stored is None:
        return None
    if isinstance(stored, dict):
        stored = [stored.get(name) for name in ("kind", "delay_ms", "max_delay_ms", "multiplier", "jitter_ms")]
    kind, delay, max_delay, multiplier, jitter = stored
    return (
        _as(str, kind),
        _as(int, delay),
        _optional_int(max_delay),
        None if multiplier is None else float(multiplier),
        _optional_int(jitter),
    )


def _optional_int(value: Any) -> int | None:
    return None if value is None else _as(int, value)


def _as(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _pack(value: Any) -> bytes:
    packed = msgpack.packb(value, use_bin_type=True)
    assert isinstance(packed, bytes)  # noqa: S101 - packb without a buffer of ours gives bytes
    return packed
