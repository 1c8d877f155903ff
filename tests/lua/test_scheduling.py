"""due_repeatables and fire_repeatable: one leads, each window fires once, and what was removed stays removed."""

from __future__ import annotations

import pytest
import redis

from chasquimq._core.repeat import RepeatSpec
from chasquimq._core.scheduler import SET_ASIDE_MS, Scheduling
from tests.lua.test_callers import run
from tests.unit.entries import envelope

FUTURE = 4_102_444_800_000
DUE = 1_700_000_000_000
NEXT = DUE + 1_000


@pytest.fixture(autouse=True)
def _nothing_else_is_left(place):
    yield
    place.client.delete(place.keys.repeat, *place.client.keys(place.keys.tag + b"repeat:spec:*"))


def upsert(place, key="k", due=DUE, spec=b"spec"):
    keys = [place.keys.repeat, place.keys.repeat_spec(key), place.keys.scheduler_wake]
    place.run("upsert_repeatable", keys, key, due, spec)


def due(place, holder="me", batch=64):
    return place.run("due_repeatables", [place.keys.repeat, place.keys.scheduler_lock], holder, 5, batch)


def fire(place, *windows, score=DUE, spec=b"spec", following=NEXT, limit=0, key="k", name="w"):
    """Fires these job ids, as a scheduler that has read ``score`` and ``spec``."""
    jobs = [part for job_id in windows for part in (envelope(job_id), name)]
    keys = [place.keys.stream, place.keys.repeat, place.keys.repeat_spec(key)]
    return place.run("fire_repeatable", keys, key, score, spec, following, limit, *jobs)


def fields(place, key="k"):
    return place.client.hgetall(place.keys.repeat_spec(key))


def score(place, key="k"):
    return place.client.zscore(place.keys.repeat, key)


def jobs(place):
    return [entry[b"d"] for entry in place.stream()]


# -- what is due ---------------------------------------------------------------------------------------------------


def test_the_leader_learns_what_is_due_and_when_the_next_one_is(place):
    for key, at in [("b", DUE + 5), ("a", DUE), ("later", FUTURE + 7), ("much later", FUTURE + 99)]:
        upsert(place, key, at)
    before = place.now_ms()
    leads, now, later, *rows = due(place)
    assert before <= now <= place.now_ms()
    assert (leads, later) == (1, FUTURE + 7)
    assert rows == [b"a", b"%d" % DUE, b"b", b"%d" % (DUE + 5)]
    assert due(place)[2:] == [later, *rows], "asking changes nothing"


def test_nothing_at_all_is_said_with_a_minus_one(place):
    assert due(place)[2:] == [-1]


def test_what_is_due_this_millisecond_is_due(place):
    upsert(place, due=place.now_ms())
    assert due(place)[3] == b"k"


def test_a_fire_between_two_milliseconds_is_never_promised_too_early(place):
    place.client.execute_command("ZADD", place.keys.repeat, "4102444800000.25", "k")
    assert due(place)[2] == FUTURE + 1


def test_a_batch_is_the_most_that_is_told(place):
    place.client.zadd(place.keys.repeat, {f"k{number:03}": number for number in range(100)})
    assert due(place, batch=3)[3:] == [b"k000", b"0", b"k001", b"1", b"k002", b"2"]
    assert len(due(place)[3:]) == 2 * 64


def test_scores_that_are_no_times_do_not_hurt_the_answer(place):
    place.client.zadd(place.keys.repeat, {"never": "inf", "always": "-inf"})
    assert due(place)[3:] == [b"always", b"-inf"]


def test_one_leads_and_the_others_learn_nothing(place):
    upsert(place)
    assert due(place, "leader")[3] == b"k"
    leads, now, left = due(place)
    assert leads == 0
    assert now <= place.now_ms()
    assert 0 < left <= 5_000
    assert due(place, "leader")[3] == b"k"


def test_the_lock_is_extended_by_its_holder_and_given_up_by_nobody_else(place):
    due(place, "leader")
    place.client.pexpire(place.keys.scheduler_lock, 100_000)
    due(place, "leader")
    assert 0 < place.client.pttl(place.keys.scheduler_lock) <= 5_000
    release = [place.keys.scheduler_lock]
    assert place.run("release_lock", release, "me") == 0
    assert place.run("release_lock", release, "leader") == 1
    assert due(place)[0] == 1


def test_asking_works_on_a_full_server(place):
    upsert(place)
    with place.full():
        assert due(place)[3] == b"k"


# -- fire ----------------------------------------------------------------------------------------------------------


def test_a_fire_adds_the_job_counts_it_and_moves_on(place):
    upsert(place)
    assert fire(place, "job-1") == [1, 0]
    assert place.stream() == [{b"d": envelope("job-1"), b"n": b"w"}]
    assert (score(place), fields(place)) == (NEXT, {b"spec": b"spec", b"fired": b"1"})


def test_a_job_without_a_name_has_no_name_field(place):
    upsert(place)
    fire(place, "job-1", name="")
    assert place.stream() == [{b"d": envelope("job-1")}]


def test_several_windows_fire_in_order(place):
    upsert(place)
    assert fire(place, "a", "b", "c") == [3, 0]
    assert jobs(place) == [envelope("a"), envelope("b"), envelope("c")]
    assert fields(place)[b"fired"] == b"3"


def test_no_window_at_all_moves_on_only(place):
    upsert(place)
    assert fire(place) == [0, 0]
    assert (score(place), fields(place), place.stream()) == (NEXT, {b"spec": b"spec"}, [])


def test_what_was_due_before_the_group_exists_is_read_by_it(place):
    upsert(place)
    fire(place, "job-1")
    place.group()
    ((_, entries),) = place.client.xreadgroup("default", "me", {place.keys.stream: ">"})
    assert len(entries) == 1


def test_a_window_fires_once_whoever_sends_it_and_how_often(place):
    upsert(place)
    assert fire(place, "first") == [1, 0]
    assert [fire(place, "second"), fire(place, "third")] == [[-1, 0], [-1, 0]]
    assert (jobs(place), score(place), fields(place)[b"fired"]) == ([envelope("first")], NEXT, b"1")


def test_a_spec_that_was_removed_meanwhile_never_comes_back(place):
    upsert(place)
    place.run("remove_repeatable", [place.keys.repeat, place.keys.repeat_spec("k")], "k")
    assert fire(place, "job-1") == [-1, 0]
    assert place.client.keys(place.keys.tag + b"repeat*") == []
    assert place.stream() == []


@pytest.mark.parametrize("gone", ["score", "hash"])
def test_half_a_spec_does_not_fire_either(place, gone):
    upsert(place)
    if gone == "score":
        place.client.zrem(place.keys.repeat, "k")
    else:
        place.client.delete(place.keys.repeat_spec("k"))
    assert fire(place, "job-1") == [-1, 0]
    assert place.stream() == []


@pytest.mark.parametrize(("at", "spec"), [(DUE + 1, b"spec"), (DUE, b"another"), (FUTURE, b"another")])
def test_a_spec_that_was_stored_again_meanwhile_keeps_its_new_form(place, at, spec):
    upsert(place)
    upsert(place, due=at, spec=spec)
    assert fire(place, "job-1") == [-1, 0]
    assert (score(place), fields(place), place.stream()) == (at, {b"spec": spec}, [])


def test_a_score_is_compared_as_it_was_read(place):
    upsert(place)
    place.client.execute_command("ZADD", place.keys.repeat, "1700000000000.25", "k")
    read = due(place)[4]
    assert fire(place, "job-1", score=read) == [1, 0]


def test_specs_do_not_meet(place):
    upsert(place)
    upsert(place, "other")
    assert fire(place, "job-1") == [1, 0]
    assert (score(place, "other"), fields(place, "other")) == (DUE, {b"spec": b"spec"})


# -- limit and end -------------------------------------------------------------------------------------------------


def test_the_limit_ends_it(place):
    upsert(place)
    assert fire(place, "a", limit=2) == [1, 0]
    assert fire(place, "b", score=NEXT, following=NEXT + 1, limit=2) == [1, 1]
    assert place.client.keys(place.keys.tag + b"repeat*") == []
    assert len(jobs(place)) == 2


def test_the_limit_cuts_what_is_caught_up(place):
    upsert(place)
    assert fire(place, "a", "b", "c", limit=2) == [2, 1]
    assert jobs(place) == [envelope("a"), envelope("b")]


def test_a_limit_counts_over_storing_it_again(place):
    upsert(place)
    fire(place, "a", limit=3)
    upsert(place, spec=b"again")
    assert fire(place, "b", spec=b"again", limit=3) == [1, 0]
    upsert(place)
    assert fire(place, "c", "d", limit=3) == [1, 1]
    assert len(jobs(place)) == 3


def test_a_limit_below_what_has_fired_adds_nothing_more(place):
    upsert(place)
    place.client.hset(place.keys.repeat_spec("k"), "fired", 5)
    assert fire(place, "a", limit=3) == [0, 1]
    assert (place.stream(), score(place)) == ([], None)


def test_the_last_window_takes_the_spec_with_it(place):
    upsert(place)
    assert fire(place, "a", following="") == [1, 1]
    assert place.client.keys(place.keys.tag + b"repeat*") == []
    upsert(place, due=FUTURE)
    assert fields(place) == {b"spec": b"spec"}, "a new life counts from zero"


# -- trouble -------------------------------------------------------------------------------------------------------


def test_a_full_server_loses_no_fire(place):
    upsert(place)
    with place.full(), pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
        fire(place, "job-1")
    assert (score(place), fields(place), place.stream()) == (DUE, {b"spec": b"spec"}, [])
    assert fire(place, "job-1") == [1, 0]


def test_another_programs_key_in_the_way_of_the_jobs_loses_no_fire(place):
    upsert(place)
    place.client.set(place.keys.stream, "not ours", ex=100)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        fire(place, "job-1")
    assert (score(place), fields(place)) == (DUE, {b"spec": b"spec"})
    place.client.delete(place.keys.stream)
    assert fire(place, "job-1") == [1, 0]


@pytest.mark.parametrize("limit", [0, 5])
def test_a_count_that_is_no_number_begins_at_zero(place, limit):
    upsert(place)
    place.client.hset(place.keys.repeat_spec("k"), "fired", "x")
    assert fire(place, "job-1", limit=limit) == [1, 0]
    assert (score(place), fields(place)[b"fired"]) == (NEXT, b"1")


def test_another_programs_key_in_place_of_a_spec_is_told(place):
    upsert(place)
    place.client.set(place.keys.repeat_spec("k"), "not ours", ex=100)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        fire(place, "job-1")
    assert place.stream() == []


# -- the core's Calls and the scripts agree ------------------------------------------------------------------------


@pytest.fixture
def scheduling(place):
    return Scheduling(place.keys, b"s-me", tick_ms=1_000)


def fire_all_due(place, scheduling):
    found = run(place, scheduling.due(place.profile))
    added = []
    for key, at in found.due:
        stored = run(place, scheduling.stored_spec(key))
        spec, fires = scheduling.plan(stored, at, found.server_now_ms)
        call = scheduling.fire(key, at, stored, spec, fires, found.server_now_ms, place.profile)
        added += [run(place, call), run(place, call)]
    return found, added


def test_a_round_of_the_core_fires_a_spec_once(place, scheduling):
    assert run(place, scheduling.peek()) is False
    spec = RepeatSpec("発送", "w", b"\x01", every_ms=3_600_000, limit=2, max_attempts=7)
    upsert(place, "発送", place.now_ms() - 5, spec.encode())
    assert run(place, scheduling.peek()) is True
    found, added = fire_all_due(place, scheduling)
    assert (found.leads, found.later_ms, added) == (True, -1, [1, -1])
    assert score(place, "発送") > place.now_ms()
    assert jobs(place)[0].endswith(b"\x92\x07\xc0")
    assert run(place, scheduling.due(place.profile)).due == []
    assert run(place, scheduling.release(place.profile)) == 1


def test_a_bad_spec_rests_and_an_orphan_is_dropped_by_the_core(place, scheduling):
    upsert(place, "bad")
    place.client.zadd(place.keys.repeat, {"orphan": DUE})
    now = place.now_ms()
    assert run(place, scheduling.stored_spec(b"orphan")) is None
    assert run(place, scheduling.drop(b"orphan", place.profile)) == 1
    run(place, scheduling.set_aside(b"bad", now))
    assert (score(place, "bad"), score(place, "orphan")) == (now + SET_ASIDE_MS, None)
    run(place, scheduling.set_aside(b"removed", now))
    assert score(place, "removed") is None, "resting does not bring a removed spec back"
