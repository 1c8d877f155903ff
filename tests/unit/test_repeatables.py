"""Storing, listing and removing repeatable specs, step by step, as a producer does it."""

from __future__ import annotations

import pytest

from chasquimq._core.keys import QueueKeys
from chasquimq._core.repeat import RepeatSpec
from chasquimq._core.repeatables import list_specs, remove_spec, upsert_spec
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, RedisConnectionError, ServerReplyError
from tests.unit.resp import CLASSIC, NEWEST, answer, command, commands, error, scripted

KEYS = QueueKeys("q")
SERVER = 1_800_000_000_123
EVERY = RepeatSpec("k", "tick", b"\x01", every_ms=5_000)


def result_of(steps, call, *replies):
    """The next Call of an operation, or its result."""
    try:
        return steps.send(answer(call, *replies))
    except StopIteration as end:
        return end.value


def stored(spec):
    return spec.encode()


# -- upsert --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_the_first_fire_is_computed_from_the_servers_clock(profile):
    steps = upsert_spec(KEYS, EVERY, profile)
    asking = next(steps)
    assert command(asking) == [b"TIME"]
    storing = result_of(steps, asking, [b"1800000000", b"123999"])
    keys, arguments = scripted(command(storing), "upsert_repeatable", profile)
    assert keys == [KEYS.repeat, KEYS.tag + b"repeat:spec:k", KEYS.scheduler_wake]
    assert arguments == [b"k", b"%d" % (SERVER + 5_000), stored(EVERY)]
    assert (asking.idempotent, storing.idempotent) == (True, True)
    assert commands(storing.eval_form(0))[0][2:] == command(storing)[2:]
    assert result_of(steps, storing, 1) == SERVER + 5_000


@pytest.mark.parametrize(
    "spec",
    [
        RepeatSpec("k", "n", b"", every_ms=5_000, end_before_ms=SERVER + 4_999),
        RepeatSpec("k", "n", b"", pattern="0 0 0 1 1 * 2020"),
        RepeatSpec("k", "n", b"", pattern="* * * * *", end_before_ms=SERVER),
    ],
)
def test_a_spec_that_would_never_fire_is_refused_and_not_stored(spec):
    steps = upsert_spec(KEYS, spec, CLASSIC)
    asking = next(steps)
    with pytest.raises(InvalidOptionError, match="never fire"):
        result_of(steps, asking, [b"1800000000", b"123000"])


def test_errors_of_the_server_are_told():
    steps = upsert_spec(KEYS, EVERY, CLASSIC)
    asking = next(steps)
    with pytest.raises(ServerReplyError, match="NOPERM"):
        answer(asking, error("NOPERM no"))
    storing = steps.send(SERVER)
    with pytest.raises(ServerReplyError, match="OOM"):
        answer(storing, error("OOM no"))


# -- list ----------------------------------------------------------------------------------------------------------


def test_specs_are_listed_in_one_look_and_one_batch():
    steps = list_specs(KEYS, 10)
    asking = next(steps)
    assert command(asking) == [b"ZRANGE", KEYS.repeat, b"0", b"9", b"WITHSCORES"]
    reading = result_of(steps, asking, [b"k", b"7", b"\xff", b"8.5", b"c", b"9"])
    assert commands(reading.request) == [
        [b"HGET", KEYS.tag + b"repeat:spec:" + key, b"spec"] for key in (b"k", b"\xff", b"c")
    ]
    cron = RepeatSpec("c", "n", b"", pattern="@daily")
    found = result_of(steps, reading, stored(EVERY), stored(EVERY), stored(cron))
    assert [(each.key, each.next_fire_ms, each.pattern_kind) for each in found] == [
        ("k", 7, "every"),
        ("k", 8, "every"),
        ("c", 9, "cron"),
    ]


def test_what_cannot_be_read_is_passed_over():
    steps = list_specs(KEYS, 10)
    reading = result_of(steps, next(steps), [b"gone", b"1", b"bad", b"2", b"k", b"3", b"never", b"inf"])
    found = result_of(steps, reading, None, b"\xc1", stored(EVERY), stored(EVERY))
    assert [each.key for each in found] == ["k"]


def test_another_programs_key_does_not_hide_the_others():
    steps = list_specs(KEYS, 10)
    reading = result_of(steps, next(steps), [b"foreign", b"1", b"k", b"2"])
    found = result_of(steps, reading, error("WRONGTYPE no hash"), stored(EVERY))
    assert [each.key for each in found] == ["k"]


def test_a_refusal_by_the_server_is_told():
    steps = list_specs(KEYS, 10)
    with pytest.raises(ServerReplyError, match="NOPERM"):
        answer(next(steps), error("NOPERM no"))
    reading = steps.send([b"k", b"1"])
    with pytest.raises(ServerReplyError, match="NOPERM"):
        answer(reading, error("NOPERM no"))


def test_no_specs_need_no_second_look():
    steps = list_specs(KEYS, 10)
    assert result_of(steps, next(steps), []) == []


def test_a_limit_of_zero_asks_nobody():
    with pytest.raises(StopIteration) as end:
        next(list_specs(KEYS, 0))
    assert end.value.value == []


@pytest.mark.parametrize(
    ("limit", "refusal"), [(-1, InvalidOptionError), ("5", InvalidOptionTypeError), (1.5, InvalidOptionTypeError)]
)
def test_wrong_limits_are_refused(limit, refusal):
    with pytest.raises(refusal):
        next(list_specs(KEYS, limit))


# -- remove --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_removing_is_one_script(profile):
    call = remove_spec(KEYS, "発送::every:5", profile)
    keys, arguments = scripted(command(call), "remove_repeatable", profile)
    assert keys == [KEYS.repeat, KEYS.tag + b"repeat:spec:" + "発送::every:5".encode()]
    assert arguments == ["発送::every:5".encode()]
    assert [answer(call, 1), answer(call, 0)] == [True, False]
    assert not call.idempotent, "a second sending would say that there was none"


@pytest.mark.parametrize("key", [None, 5, b"k"])
def test_a_key_is_a_text(key):
    with pytest.raises(InvalidOptionTypeError, match="get_repeatable_jobs"):
        remove_spec(KEYS, key, CLASSIC)


def test_a_key_that_is_no_text_of_unicode_is_refused():
    with pytest.raises(InvalidOptionError):
        remove_spec(KEYS, "\ud800", CLASSIC)


def test_the_first_step_may_fail_without_a_trace():
    steps = upsert_spec(KEYS, EVERY, CLASSIC)
    next(steps)
    with pytest.raises(RedisConnectionError):
        steps.throw(RedisConnectionError("gone"))
    with pytest.raises(StopIteration):
        next(steps)
