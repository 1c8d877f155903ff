"""Repeatable jobs: the specs that any language stores, cron expressions, and the options of users."""

from __future__ import annotations

from typing import Any

from chasquimq._core import cron
from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.repeat import decode_spec, score_ms, spec_from_options
from chasquimq._core.scheduler import Scheduling
from chasquimq.errors import ChasquiError, InvalidOptionError, InvalidOptionTypeError, PayloadDecodeError
from tests.fuzz.source import Source
from tests.fuzz.verdict import outcome

NOW_MS = 1_795_489_905_760
SCORES = (
    *(b"1795489905760", b"0", b"1.5", b"-1", b"1795489000000", b"1e308", b"-1e308", b"inf", b"nan", b"", b"x"),
    *(b"9007199254740993", b"-62135596800000", b"95617584000000"),
)
# What one round of the scheduler sets aside, telling of a bad spec; any other error would end the round.
_SET_ASIDE = (PayloadDecodeError, InvalidOptionError)
_MOST_TEXT = 2_000


def spec(data: bytes) -> None:
    """A stored spec is read, shown, planned and fired, or one of two errors sets it aside."""
    kind, found = outcome(decode_spec, data, allowed=(PayloadDecodeError,))
    if kind != "gave":
        assert len(found) < _MOST_TEXT, "an error quotes a foreign text at any length"
        return
    assert (found.every_ms is None) != (found.pattern is None)
    found.key.encode()
    found.job_name.encode()
    assert isinstance(found.payload, bytes)
    again = decode_spec(found.encode())
    assert repr(again) == repr(found)
    # The score is not part of what was fuzzed, but each spec should meet several.
    size = len(data)
    for score in (SCORES[size % len(SCORES)], SCORES[(size + 1) % len(SCORES)], b"%d" % (NOW_MS - 60_000)):
        outcome(_fire, data, score, allowed=_SET_ASIDE)
        outcome(lambda score=score: found.meta(score_ms(score)), allowed=(ChasquiError,))


_scheduling = Scheduling(QueueKeys("q"), b"holder", tick_ms=1_000)
_profile = ServerProfile("redis", "8.6.0")


def _fire(stored: bytes, score: bytes) -> None:
    found, fires = _scheduling.plan(stored, score, NOW_MS)
    assert len(fires.times_ms) <= 10_000
    _scheduling.fire(b"key", score, stored, found, fires, NOW_MS, _profile)


def cron_pattern(data: bytes) -> None:
    """An expression and a zone are refused, or name instants that come one after the other."""
    source = Source(data)
    after_ms = source.choice([NOW_MS, 0, -1, -(2**70), 2**70, 1_805_007_600_000, 95_617_584_000_000, source.whole()])
    tz = source.text() if source.byte() % 2 else None
    expression = source.rest().decode("utf-8", "surrogateescape")
    kind, text = outcome(cron.check, expression, tz, allowed=(InvalidOptionError,))
    if kind != "gave":
        assert len(text) < _MOST_TEXT + 10 * len(expression)
        assert outcome(cron.next_fire_ms, expression, tz, after_ms, allowed=(InvalidOptionError,)) == (kind, text)
        return
    for _ in range(3):
        fire_ms = cron.next_fire_ms(expression, tz, after_ms)
        if fire_ms is None:
            return
        assert fire_ms > after_ms
        assert fire_ms % 1000 == 0
        after_ms = fire_ms


def options(data: bytes) -> None:
    """What a user hands in as ``repeat=`` is refused with an error of ours, or makes a spec that reads back."""
    source = Source(data)
    names = ("pattern", "every", "tz", "limit", "start_date", "end_date", "missed_fires")
    repeat = {source.choice(names): _option(source) for _ in range(source.byte() % 5)}
    kind, made = outcome(
        lambda: spec_from_options("n", b"\x01", repeat, repeat_job_key=source.choice([None, "k", "\ud800", "\0}{"]),
                                  max_attempts=None, backoff=None),
        allowed=(InvalidOptionError, InvalidOptionTypeError),
    )  # fmt: skip
    if kind == "gave":
        assert repr(decode_spec(made.encode())) == repr(made)
        made.next_fire_ms(NOW_MS)


def _option(source: Source) -> Any:
    kind = source.byte() % 8
    if kind < 3:
        return source.text()
    if kind < 5:
        return source.whole()
    if kind == 5:
        return source.choice([0.5, 1e308, float("nan"), float("inf"), -0.0, 10**5_000, True, None])
    if kind == 6:
        return source.choice(["* * * * *", "@daily", "UTC", "2030-01-31T08:00:00Z", "skip", "fire-all", "fire-once"])
    return source.choice([[], {}, b"", {"kind": "fire-all", "max_catchup": source.whole()}, object(), {1: 2}])
