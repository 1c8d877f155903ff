"""Which windows of a spec fire, and when a scheduler looks again."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chasquimq._core.keys import QueueKeys
from chasquimq._core.repeat import MAX_FIRES_PER_TICK, Fires, RepeatSpec, plan_fires
from chasquimq._core.scheduler import BATCH, IDLE_POLL_MS, LOCK_TTL_S, RETRY_MS, SET_ASIDE_MS, DueSpecs, Scheduling
from chasquimq._fast import decode_envelope
from chasquimq.errors import PayloadDecodeError, ServerReplyError
from chasquimq.options import MissedFires
from tests.unit.properties import searched
from tests.unit.resp import CLASSIC, NEWEST, answer, command, commands, error, scripted

KEYS = QueueKeys("q")
T = 1_800_000_000_000  # a full minute
NOW = 5_000.0
TICK = 1_000
SPEC_KEY = KEYS.tag + b"repeat:spec:k"

SKIP = MissedFires()
ONCE = MissedFires(kind="fire-once")


def fire_all(most):
    return MissedFires(kind="fire-all", max_catchup=most)


def every(interval_ms, missed=SKIP, **fields):
    return RepeatSpec("k", "tick", b"\x01", every_ms=interval_ms, missed_fires=missed, **fields)


def cron(pattern, missed=SKIP, **fields):
    return RepeatSpec("k", "tick", b"\x01", pattern=pattern, missed_fires=missed, **fields)


# -- which windows fire --------------------------------------------------------------------------------------------

MINUTE = 60_000
PLANS = [
    # One window is due: it fires, however late, with every policy.
    ("on time", every(MINUTE), T, [T], T + MINUTE),
    ("late, the next is not due", every(MINUTE), T + 59_999, [T], T + MINUTE),
    ("the next is due this very millisecond", every(MINUTE), T + MINUTE, [T], T + MINUTE),
    ("on time, fire-once", every(MINUTE, ONCE), T + 59_999, [T], T + MINUTE),
    ("on time, fire-all", every(MINUTE, fire_all(9)), T + 59_999, [T], T + MINUTE),
    # Several are due, longer ago than the grace.
    ("skip", every(MINUTE), T + 150_000, [], T + 3 * MINUTE),
    ("fire-once", every(MINUTE, ONCE), T + 150_000, [T], T + 3 * MINUTE),
    ("fire-all", every(MINUTE, fire_all(9)), T + 150_000, [T, T + MINUTE, T + 2 * MINUTE], T + 3 * MINUTE),
    ("fire-all, capped", every(MINUTE, fire_all(2)), T + 150_000, [T, T + MINUTE], T + 3 * MINUTE),
    ("fire-all, one", every(MINUTE, fire_all(1)), T + 150_000, [T], T + 3 * MINUTE),
    (
        "fire-all on the dot",
        every(MINUTE, fire_all(9)),
        T + 2 * MINUTE,
        [T + i * MINUTE for i in range(3)],
        T + 180_000,
    ),
    # Skip, with the last window within the grace of one tick.
    ("skip, just in time", every(MINUTE), T + 2 * MINUTE + TICK, [T + 2 * MINUTE], T + 3 * MINUTE),
    ("skip, just too late", every(MINUTE), T + 2 * MINUTE + TICK + 1, [], T + 3 * MINUTE),
    ("shorter than the tick", every(50), T + 980, [T + 950], T + 1_000),
    ("far shorter than the tick", every(1), T + 980, [T + 980], T + 981),
    ("shorter than the tick after a long pause", every(200), T + 3_600_150, [T + 3_600_000], T + 3_600_200),
    # Limits belong to the script.
    ("a limit changes nothing", every(MINUTE, limit=1), T, [T], T + MINUTE),
    # The end.
    ("the last window", every(MINUTE, end_before_ms=T + 59_999), T, [T], None),
    ("a window at the very end", every(MINUTE, end_before_ms=T + MINUTE), T, [T], T + MINUTE),
    ("the last, long ago", every(MINUTE, end_before_ms=T + 1), T + 99 * MINUTE, [T], None),
    ("skip past the end", every(MINUTE, end_before_ms=T + 90_000), T + 150_000, [], None),
    (
        "skip, the last one within the grace",
        every(MINUTE, end_before_ms=T + MINUTE),
        T + MINUTE + 5,
        [T + MINUTE],
        None,
    ),
    ("skip, the end between two windows", every(50, end_before_ms=T + 940), T + 980, [T + 900], None),
    ("cron skip, the end between two", cron("* * * * * *", end_before_ms=T + 2_500), T + 2_900, [T + 2_000], None),
    ("fire-once past the end", every(MINUTE, ONCE, end_before_ms=T + 90_000), T + 150_000, [T], None),
    ("fire-all to the end", every(MINUTE, fire_all(9), end_before_ms=T + 90_000), T + 150_000, [T, T + MINUTE], None),
    # Cron.
    ("cron on time", cron("* * * * *"), T, [T], T + MINUTE),
    ("cron skip", cron("* * * * *"), T + 150_000, [], T + 3 * MINUTE),
    ("cron skip, just in time", cron("* * * * *"), T + 2 * MINUTE + TICK, [T + 2 * MINUTE], T + 3 * MINUTE),
    ("cron skip, just too late", cron("* * * * *"), T + 2 * MINUTE + TICK + 1, [], T + 3 * MINUTE),
    ("cron each second", cron("* * * * * *"), T + 30_900, [T + 30_000], T + 31_000),
    ("cron fire-once", cron("* * * * *", ONCE), T + 150_000, [T], T + 3 * MINUTE),
    ("cron fire-all", cron("* * * * *", fire_all(2)), T + 150_000, [T, T + MINUTE], T + 3 * MINUTE),
    ("cron that is over", cron("0 0 0 1 1 * 2027"), T, [T], None),
    ("cron at its end", cron("* * * * *", end_before_ms=T + 1), T + 150_000, [T], None),
    # A start in the future of the score (somebody moved the score): the start is kept.
    ("before the start", every(MINUTE, start_after_ms=T + 600_000), T, [T], T + 660_000),
]


@pytest.mark.parametrize(
    ("spec", "now", "times", "following"), [row[1:] for row in PLANS], ids=[row[0] for row in PLANS]
)
def test_what_fires(spec, now, times, following):
    assert plan_fires(spec, T, now, TICK) == Fires(times, following)


def test_fire_all_is_bounded_whatever_the_spec_says():
    fires = plan_fires(every(1, fire_all(2**53)), T, T + 10**9, TICK)
    assert len(fires.times_ms) == MAX_FIRES_PER_TICK
    assert fires.next_ms == T + 10**9 + 1


def test_the_first_window_of_the_first_fire():
    assert every(500).next_fire_ms(T) == T + 500
    assert every(500, start_after_ms=T + 50).next_fire_ms(T) == T + 550
    assert every(500, start_after_ms=T - 50).next_fire_ms(T) == T + 500
    assert cron("* * * * *", start_after_ms=T + MINUTE + 1).next_fire_ms(T) == T + 2 * MINUTE
    assert every(500, end_before_ms=T + 499).next_fire_ms(T) is None
    assert every(500, end_before_ms=T + 500).next_fire_ms(T) == T + 500
    assert cron("0 0 0 1 1 * 2020").next_fire_ms(T) is None


policies = st.sampled_from([SKIP, ONCE]) | st.integers(1, 50).map(fire_all)


@searched
@given(
    st.integers(1, 5_000).map(every) | st.sampled_from(["* * * * * *", "*/7 * * * * *", "* * * * *"]).map(cron),
    policies,
    st.integers(0, 200_000),
    st.integers(1, 3_000),
    st.none() | st.integers(0, 200_000),
)
def test_every_window_is_a_window_of_the_spec_and_none_comes_twice(spec, missed, late_ms, grace_ms, end_in_ms):
    spec = RepeatSpec(
        "k", "n", b"", every_ms=spec.every_ms, pattern=spec.pattern, missed_fires=missed,
        end_before_ms=None if end_in_ms is None else T + end_in_ms,
    )  # fmt: skip
    now = T + late_ms
    windows = [T]
    while (window := spec.next_fire_ms(windows[-1])) is not None and window <= now:
        windows.append(window)
    fires = plan_fires(spec, T, now, grace_ms)
    assert [time for time in windows if time in set(fires.times_ms)] == fires.times_ms
    if windows[1:] == [now]:
        assert fires == Fires([T], now), "a window that is due this very millisecond is the next look's"
        return
    assert fires.next_ms == spec.next_fire_ms(windows[-1])
    if missed is SKIP and now - windows[-1] <= grace_ms:
        assert fires.times_ms


# -- what is asked and sent ----------------------------------------------------------------------------------------


@pytest.fixture
def scheduling():
    return Scheduling(KEYS, b"s-1", tick_ms=TICK)


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_what_is_due_is_asked_by_one_script_under_the_lock(scheduling, profile):
    call = scheduling.due(profile)
    keys, arguments = scripted(command(call), "due_repeatables", profile)
    assert keys == [KEYS.repeat, KEYS.scheduler_lock, KEYS.scheduler_wake]
    assert arguments == [b"s-1", b"%d" % LOCK_TTL_S, b"%d" % BATCH, b"0"]
    assert call.idempotent
    assert commands(call.eval_form(0))[0][2:] == command(call)[2:]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ([0, T, 4_999], DueSpecs(False, T, -1, ())),
        ([1, T, -1], DueSpecs(True, T, -1, [])),
        ([1, T, T + 5, b"a", b"7", b"b", b"8.5"], DueSpecs(True, T, T + 5, [(b"a", b"7"), (b"b", b"8.5")])),
    ],
)
def test_the_answer_is_read(scheduling, reply, found):
    assert answer(scheduling.due(CLASSIC), reply) == found


def test_a_stored_spec_is_read_by_its_raw_key(scheduling):
    call = scheduling.stored_spec(b"\xff k")
    assert command(call) == [b"HGET", KEYS.tag + b"repeat:spec:\xff k", b"spec"]
    assert answer(call, b"bytes") == b"bytes"
    assert answer(call, None) is None
    with pytest.raises(PayloadDecodeError):
        answer(call, 5)
    with pytest.raises(ServerReplyError, match="WRONGTYPE"):
        answer(call, error("WRONGTYPE x"))


@pytest.mark.parametrize("score", [b"-inf", b"inf", b"nan"])
def test_a_score_that_is_no_time_is_a_bad_spec(scheduling, score):
    with pytest.raises(PayloadDecodeError):
        scheduling.plan(every(5).encode(), score, T)


def test_a_plan_is_made_of_the_stored_bytes_the_score_and_the_servers_time(scheduling):
    spec, fires = scheduling.plan(every(MINUTE, ONCE).encode(), b"%d" % T, T + 150_000)
    assert spec == every(MINUTE, ONCE)
    assert fires == Fires([T], T + 3 * MINUTE)
    assert scheduling.plan(every(200).encode(), b"%d" % T, T + 1_150)[1].times_ms == [T + 1_000], (
        "the tick is the grace"
    )
    with pytest.raises(PayloadDecodeError):
        scheduling.plan(b"\xc1", b"1", T)


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_firing_sends_what_was_read_and_a_job_of_its_own_for_each_window(scheduling, profile):
    backoff = ("fixed", 250, 250, None, None)
    spec = RepeatSpec("k", "発送", b"\x01", every_ms=5, limit=9, max_attempts=4, backoff=backoff)
    call = scheduling.fire(b"k", b"7.5", b"stored", spec, Fires([T, T + 5], T + 10), T + 7, profile)
    keys, arguments = scripted(command(call), "fire_repeatable", profile)
    assert keys == [KEYS.stream, KEYS.repeat, SPEC_KEY]
    assert arguments[:5] == [b"k", b"7.5", b"stored", b"%d" % (T + 10), b"9"]
    first, name, second, other_name = arguments[5:]
    assert name == other_name == "発送".encode()
    jobs = [decode_envelope(each) for each in (first, second)]
    assert len({job.job_id for job in jobs}) == 2
    for job in jobs:
        assert (len(job.job_id), job.payload, job.created_at_ms, job.attempt) == (26, b"\x01", T + 7, 0)
        assert (job.max_attempts, job.backoff) == (4, backoff)
    assert call.idempotent, "a second sending finds another score"
    assert answer(call, [2, 0]) == 2
    assert answer(call, [-1, 0]) == -1


def test_an_end_and_no_limit_are_said_as_the_script_expects_them(scheduling):
    call = scheduling.fire(b"k", b"7", b"stored", every(5), Fires([], None), T, CLASSIC)
    _, arguments = scripted(command(call), "fire_repeatable", CLASSIC)
    assert arguments == [b"k", b"7", b"stored", b"", b"0"]


def test_a_plain_spec_fires_the_plain_envelope(scheduling):
    call = scheduling.fire(b"k", b"7", b"stored", every(5), Fires([T], T + 5), T, CLASSIC)
    envelope = scripted(command(call), "fire_repeatable", CLASSIC)[1][5]
    assert len(msgpack.unpackb(envelope)) == 4


def test_a_bad_spec_rests_for_a_minute_and_does_not_come_back_if_it_was_removed(scheduling):
    assert command(scheduling.set_aside(b"k", T)) == [b"ZADD", KEYS.repeat, b"XX", b"%d" % (T + SET_ASIDE_MS), b"k"]


def test_an_orphan_is_dropped_by_a_script_that_looks_again(scheduling):
    keys, arguments = scripted(command(scheduling.drop(b"k", CLASSIC)), "drop_orphan_repeatable", CLASSIC)
    assert (keys, arguments) == ([KEYS.repeat, SPEC_KEY], [b"k"])


def test_the_lock_is_released_by_its_holder(scheduling):
    keys, arguments = scripted(command(scheduling.release(CLASSIC)), "release_lock", CLASSIC)
    assert (keys, arguments) == ([KEYS.scheduler_lock], [b"s-1"])


# -- when it looks again -------------------------------------------------------------------------------------------


def found(*, leads=True, later=-1, due=0):
    return DueSpecs(leads, T, later, [(b"k%d" % number, b"1") for number in range(due)])


def test_a_new_one_looks_at_once_and_only_whether_there_is_anything(scheduling):
    assert scheduling.next_at < 0
    assert (scheduling.is_idle, scheduling.leads, scheduling.listens) == (True, False, True)
    assert command(scheduling.peek()) == [b"EXISTS", KEYS.repeat]
    assert answer(scheduling.peek(), 0) is False


def test_without_specs_it_looks_now_and_then_and_listens(scheduling):
    scheduling.peeked(False, NOW)
    assert (scheduling.is_idle, scheduling.listens, scheduling.next_at) == (True, True, NOW + IDLE_POLL_MS)
    scheduling.peeked(True, NOW)
    assert (scheduling.is_idle, scheduling.next_at) == (False, NOW)


@pytest.mark.parametrize(("later_in_ms", "wait_ms"), [(400, 400), (TICK, TICK), (3_600_000, TICK), (0, 1), (-5, 1)])
def test_the_leader_sleeps_until_the_next_fire_or_for_a_tick(scheduling, later_in_ms, wait_ms):
    scheduling.asked(found(later=T + later_in_ms), NOW)
    assert (scheduling.leads, scheduling.is_idle, scheduling.listens) == (True, False, True)
    assert scheduling.next_at == NOW + wait_ms


def test_after_a_fire_it_looks_at_once(scheduling):
    scheduling.asked(found(due=1, later=T + 400), NOW)
    assert (scheduling.leads, scheduling.is_idle, scheduling.next_at) == (True, False, NOW)


def test_the_last_spec_is_gone(scheduling):
    scheduling.asked(found(), NOW)
    assert (scheduling.is_idle, scheduling.listens, scheduling.next_at) == (True, True, NOW + IDLE_POLL_MS)


def test_a_follower_does_not_take_the_leaders_word(scheduling):
    scheduling.wake()
    scheduling.asked(found(leads=False), NOW)
    assert (scheduling.leads, scheduling.is_idle, scheduling.listens) == (False, False, False)
    assert scheduling.next_at == NOW + IDLE_POLL_MS


def test_a_leader_that_lost_the_lock_follows(scheduling):
    scheduling.asked(found(later=T + 5), NOW)
    scheduling.asked(found(leads=False), NOW)
    assert not scheduling.leads


def test_a_new_spec_wakes_it(scheduling):
    scheduling.peeked(False, NOW)
    scheduling.wake()
    assert not scheduling.is_idle
    assert scheduling.next_at < 0


def test_after_a_failure_it_tries_again_in_a_moment(scheduling):
    scheduling.failed(NOW)
    assert scheduling.next_at == NOW + RETRY_MS
