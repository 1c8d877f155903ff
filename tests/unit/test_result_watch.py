"""Waiting for results: when keys are looked at, what the events stream spares and prompts, and who does what."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chasquimq._core import result_policy, result_wait, result_watch
from chasquimq._core.keys import QueueKeys
from chasquimq._core.result_policy import FollowingPolicy
from chasquimq._core.result_wait import Wait
from chasquimq._core.result_watch import Notice, ResultWatch, Step, notice_of
from chasquimq.errors import AbortError, RedisConnectionError, WaitForResultTimeoutError
from chasquimq.events import Gap
from tests.unit.resp import answer, command

KEYS = QueueKeys("q")


def content(notice: Notice) -> tuple[str, bytes, bytes]:
    return notice.event_id, notice.event, notice.job_id


class Clock:
    """One watch, and the time that its waiters see."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.policy = FollowingPolicy()
        self.watch = ResultWatch(KEYS, self.policy)
        self.numbers = itertools.count()

    def join(self, job_id: str = "job", budget: float = 30_000, interval: float = 100) -> Wait:
        wait = Wait(job_id, budget_ms=budget, interval_ms=interval, now_ms=self.now)
        self.watch.join(wait)
        return wait

    def step(self, wait: Wait, *, is_aborted: bool = False) -> Step:
        return self.watch.step(wait, self.now, is_aborted=is_aborted)

    def look(self, own: Wait, results: dict[str, bytes] | None = None) -> list[Wait]:
        """The whole of a LOOK; returns for whom it was."""
        waits = self.watch.due(own, self.now)
        self.watch.looked(waits, [(results or {}).get(wait.job_id) for wait in waits], self.now)
        return waits

    def rest(self, wait: Wait, until: float = float("inf")) -> float:
        """Lets the rest of this waiter pass; how long it was."""
        rest = min(self.watch.rest_ms(wait, self.now), until - self.now)
        self.now += rest
        return rest

    def looks_until(self, wait: Wait, end: float, *, follows: bool = False) -> list[float]:
        """Runs one waiter; the times of its looks, counted from now on. It reads nothing new in the stream."""
        begun, times = self.now, []
        while (step := self.step(wait)) is not Step.OVER:
            if step is Step.LOOK:
                times.append(self.now - begun)
                self.look(wait)
            elif self.now - begun >= end:
                break
            else:
                assert step is Step.REST or follows, "this waiter should not read"
                self.rest(wait, begun + end)
            self.stop_reading(wait)
        return times

    def stop_reading(self, wait: Wait) -> list[Wait]:
        return self.watch.stop_reading(wait, self.now)

    def patient(self, job_id: str = "job", **options: Any) -> Wait:
        """A wait that has become patient and reads: the stream is followed from here on."""
        wait = self.join(job_id, **options)
        while self.step(wait) is not Step.READ:
            self.look(wait) if wait.next_look_ms <= self.now else self.rest(wait)
        answer(self.watch.place(), [])
        return wait

    def tell(self, *told: tuple[str, str]) -> list[Wait]:
        """The stream tells of events, each with its job."""
        notices = [Notice(f"{next(self.numbers)}-1", event.encode(), job_id.encode()) for event, job_id in told]
        return self.watch.heard(notices, self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- looks ---------------------------------------------------------------------------------------------------------


def test_the_first_looks_follow_one_another_closely_and_then_come_at_the_interval(clock: Clock) -> None:
    clock.policy.failed(clock.now + 100_000)  # the stream cannot be read
    wait = clock.join()
    assert clock.looks_until(wait, 500) == [0, 2, 6, 14, 30, 62, 126, 226, 326, 426]


@pytest.mark.parametrize(("interval", "expected"), [(5, [0, 2, 6, 11, 16, 21]), (1, [0, 1, 2, 3]), (0, [0, 1, 2, 3])])
def test_a_short_interval_is_kept_from_the_start(clock: Clock, interval: float, expected: list[float]) -> None:
    assert clock.looks_until(clock.join(interval=interval), expected[-1]) == expected


def test_one_key_is_got_and_several_are_got_at_once(clock: Clock) -> None:
    one, other = clock.join("a"), clock.join("b")
    call = clock.watch.look([one])
    assert command(call) == [b"GET", KEYS.result("a")]
    assert answer(call, b"\x01") == [b"\x01"]
    assert answer(call, None) == [None]
    call = clock.watch.look([one, other])
    assert command(call) == [b"MGET", KEYS.result("a"), KEYS.result("b")]
    assert answer(call, [None, b"\x01"]) == [None, b"\x01"]
    assert call.idempotent


def test_what_is_found_ends_the_wait(clock: Clock) -> None:
    wait = clock.join()
    assert clock.step(wait) is Step.LOOK
    clock.look(wait, {"job": b"\x01"})
    assert clock.step(wait) is Step.OVER
    assert wait.outcome() == b"\x01"


def test_there_is_one_look_at_a_time_and_the_next_one_gathers_meanwhile(clock: Clock) -> None:
    first, second, third = (clock.join(name) for name in "abc")
    assert [clock.step(wait) for wait in (first, second, third)] == [Step.LOOK, Step.REST, Step.REST]
    assert clock.watch.due(first, clock.now) == [first, second, third]
    late = clock.join("late")
    assert clock.step(late) is Step.REST
    assert clock.watch.looked([first, second, third], [None, b"\x01", None], clock.now) == [second]
    assert clock.step(second) is Step.OVER
    assert clock.step(first) is Step.LOOK, "whoever looks minds what came meanwhile"
    assert clock.watch.due(first, clock.now) == [late]


def test_one_minds_the_looks_of_all_and_the_others_sleep(clock: Clock) -> None:
    clock.policy.failed(clock.now + 100_000)
    looker, *others = (clock.join(str(number)) for number in range(5))
    for _ in range(8):
        assert clock.step(looker) is Step.LOOK
        assert clock.look(looker) == [looker, *others]
        assert clock.step(looker) is Step.REST
        assert {clock.step(wait) for wait in others} == {Step.REST}
        assert {clock.watch.rest_ms(wait, clock.now) for wait in others} == {result_wait.RARE_LOOK_MS}
        clock.rest(looker)


def test_whoever_comes_looks_at_once(clock: Clock) -> None:
    looker = clock.join("a")
    clock.look(looker)
    assert clock.step(looker) is Step.REST
    newcomer = clock.join("b")
    assert clock.step(newcomer) is Step.LOOK
    clock.look(newcomer)
    assert clock.step(looker) is Step.REST
    assert clock.watch.rest_ms(looker, clock.now) == result_wait.RARE_LOOK_MS
    assert clock.watch.rest_ms(newcomer, clock.now) == 2


def test_whoever_has_half_of_the_rest_behind_is_looked_for_along_with_others(clock: Clock) -> None:
    waits = [clock.join(name) for name in "abc"]
    for wait in waits:
        wait.looked_at_ms = clock.now
    for wait, left in zip(waits, (0, 50, 51), strict=True):
        wait.rest_ms, wait.next_look_ms = 100, clock.now + left
    assert clock.watch.due(waits[0], clock.now) == waits[:2]
    assert clock.watch.due(waits[2], clock.now) == waits[:2]


def test_one_look_is_for_a_thousand_at_most(clock: Clock) -> None:
    waits = [clock.join(str(number)) for number in range(2_500)]
    clock.step(waits[0])
    sizes = [len(clock.look(waits[0]))]
    while left := [wait for wait in waits if wait.next_look_ms <= clock.now]:
        sizes.append(len(clock.look(left[0])))
    assert sizes == [1_000, 1_000, 500]


def test_many_who_poll_cost_as_many_looks_as_one(clock: Clock) -> None:
    clock.policy.failed(clock.now + 100_000)
    waits = [clock.join(str(number)) for number in range(50)]
    looks = 0
    end = clock.now + 5_000
    while clock.now < end:
        for wait in waits:
            if clock.step(wait) is Step.LOOK:
                looks += 1
                clock.look(wait)
        clock.now += 1
    assert looks <= 5_000 / 100 + 10


def test_a_failed_look_ends_the_waits_that_it_was_for_each_with_an_error_of_its_own(clock: Clock) -> None:
    waits = [clock.join(name) for name in "ab"]
    clock.step(waits[0])
    looked_for = clock.watch.due(waits[0], clock.now)
    late = clock.join("late")
    error = RedisConnectionError("gone", may_have_executed=True)
    error.__cause__ = OSError("reset")
    assert clock.watch.look_failed(looked_for, error) == waits
    raised = []
    for wait in waits:
        assert clock.step(wait) is Step.OVER
        with pytest.raises(RedisConnectionError, match="gone") as failure:
            wait.outcome()
        raised.append(failure.value)
    assert raised[0] is error
    assert raised[1] is not error
    assert (raised[1].may_have_executed, raised[1].__cause__) == (True, error.__cause__)
    assert clock.watch.leave(waits[0], clock.now) == [late], "somebody has to mind its look"
    assert clock.step(late) is Step.LOOK


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_look_that_was_interrupted_is_made_by_somebody_else_at_once(clock: Clock, is_noticed: bool) -> None:
    first, second = clock.join("a"), clock.join("b")
    clock.step(first)
    waits = clock.watch.due(first, clock.now)
    assert clock.step(second) is Step.REST
    if is_noticed:
        clock.watch.look_given_up(waits, clock.now)
    assert clock.watch.leave(first, clock.now) == [second]
    assert clock.step(second) is Step.LOOK


def test_when_the_looker_leaves_another_one_minds_the_looks(clock: Clock) -> None:
    clock.policy.failed(clock.now + 100_000)
    waits = [clock.join(name) for name in "abc"]
    clock.step(waits[0])
    clock.look(waits[0])
    assert [clock.step(wait) for wait in waits] == [Step.REST] * 3
    assert clock.watch.leave(waits[1], clock.now) == []
    assert clock.watch.leave(waits[0], clock.now) == [waits[2]]
    assert clock.rest(waits[2]) == 2
    assert clock.step(waits[2]) is Step.LOOK


# -- the end of the time, and the signal ---------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, 1, 63, 250])
def test_the_last_look_comes_at_the_end_of_the_time(clock: Clock, budget: float) -> None:
    clock.policy.failed(clock.now + 100_000)
    wait = clock.join("late", budget=budget)
    assert clock.looks_until(wait, 1_000)[-1] == budget
    assert clock.step(wait) is Step.OVER
    with pytest.raises(WaitForResultTimeoutError, match=f"job late within {budget} ms"):
        wait.outcome()


def test_a_result_that_comes_with_the_last_look_counts(clock: Clock) -> None:
    wait = clock.join(budget=0)
    clock.step(wait)
    clock.look(wait, {"job": b"\x01"})
    assert wait.outcome() == b"\x01"


def test_nobody_waits_longer_because_somebody_elses_look_takes_long(clock: Clock) -> None:
    first = clock.join("a")
    clock.step(first)
    clock.watch.due(first, clock.now)
    second = clock.join("b", budget=500)
    second.looked_at_ms = clock.now
    clock.now += 500
    assert clock.step(second) is Step.OVER
    with pytest.raises(WaitForResultTimeoutError):
        second.outcome()


def test_a_look_that_is_under_way_for_a_wait_is_waited_for(clock: Clock) -> None:
    first, second = clock.join("a"), clock.join("b", budget=500)
    clock.look(first)
    clock.now += 490
    clock.step(first)
    waits = clock.watch.due(first, clock.now)
    assert waits == [first, second]
    clock.now += 20
    assert clock.step(second) is Step.REST
    assert clock.watch.rest_ms(second, clock.now) > 0, "it does not spin"
    assert clock.watch.looked(waits, [None, None], clock.now) == [second]
    assert clock.step(second) is Step.OVER


def test_many_whose_time_ends_together_share_the_last_look(clock: Clock) -> None:
    waits = [clock.join(name, budget=500) for name in "abc"]
    clock.look(waits[0])
    clock.now += 500
    assert clock.step(waits[1]) is Step.LOOK
    looked_for = clock.watch.due(waits[1], clock.now)
    assert [clock.step(waits[0]), clock.step(waits[2])] == [Step.REST, Step.REST]
    assert set(clock.watch.looked(looked_for, [b"\x01", None, None], clock.now)) == set(waits)
    assert [clock.step(wait) for wait in waits] == [Step.OVER] * 3
    assert looked_for[0].outcome() == b"\x01"


def test_a_signal_is_minded_after_a_look(clock: Clock) -> None:
    wait = clock.join()
    assert clock.step(wait, is_aborted=True) is Step.LOOK
    clock.look(wait)
    assert clock.step(wait, is_aborted=True) is Step.OVER
    with pytest.raises(AbortError, match="job"):
        wait.outcome()


def test_a_result_beats_the_signal(clock: Clock) -> None:
    wait = clock.join()
    clock.step(wait)
    clock.look(wait, {"job": b"\x01"})
    assert clock.step(wait, is_aborted=True) is Step.OVER
    assert wait.outcome() == b"\x01"


# -- following -----------------------------------------------------------------------------------------------------


def test_nobody_follows_the_stream_for_a_short_job(clock: Clock) -> None:
    wait = clock.join()
    clock.looks_until(wait, result_wait.PATIENT_AFTER_MS - 1)
    assert clock.step(wait) is not Step.READ


def test_one_looks_and_another_one_follows_for_all(clock: Clock) -> None:
    reader = clock.patient("a")
    newcomer = clock.join("b")
    assert clock.step(newcomer) is Step.LOOK, "whoever is alone reads and looks, until somebody comes"
    clock.look(newcomer)
    clock.stop_reading(reader)
    assert clock.step(reader) is Step.READ
    assert clock.step(newcomer) is Step.REST
    third = clock.join("c")
    clock.step(third)
    clock.look(third)
    assert clock.step(third) is Step.REST
    clock.now = third.patient_at_ms
    assert clock.step(third) is Step.LOOK
    assert clock.look(third) == [third, reader, newcomer]
    assert clock.watch.leave(reader, clock.now) == [newcomer], "the third one minds the looks"
    assert clock.step(newcomer) is Step.READ
    assert clock.step(third) is Step.REST
    assert clock.watch.leave(newcomer, clock.now) == [third]
    assert clock.step(third) is Step.READ


def test_after_a_look_somebody_is_woken_for_reading_if_nobody_reads(clock: Clock) -> None:
    looker, other = clock.join("a"), clock.join("b")
    clock.step(looker)
    waits = clock.watch.due(looker, clock.now)
    assert clock.watch.looked(waits, [None, None], clock.now) == []
    clock.now = other.patient_at_ms
    clock.step(looker)
    waits = clock.watch.due(looker, clock.now)
    assert clock.watch.looked(waits, [None, None], clock.now) == [other]
    assert clock.step(other) is Step.READ
    clock.now += 1_000
    clock.step(looker)
    waits = clock.watch.due(looker, clock.now)
    assert clock.watch.looked(waits, [None, None], clock.now) == []


def test_whoever_was_told_leaves_the_reading_to_others(clock: Clock) -> None:
    reader, other, looker = clock.patient("a"), clock.join("b"), clock.join("c")
    clock.now = looker.patient_at_ms
    clock.step(looker)
    clock.look(looker)
    assert clock.tell(("completed", "a")) == [looker]
    assert clock.stop_reading(reader) == [other]
    assert clock.step(other) is Step.READ
    assert clock.stop_reading(other) == [], "it comes back when it has looked"


def test_the_place_is_found_by_looking_back(clock: Clock) -> None:
    wait = clock.join("a")
    assert not clock.watch.is_placed
    call = clock.watch.place()
    assert command(call) == [b"XREVRANGE", KEYS.events, b"+", b"-", b"COUNT", b"%d" % result_watch.LOOK_BACK]
    rows = [[b"7-2", [b"e", b"active", b"id", b"a"]], [b"7-1", [b"e", b"active", b"id", b"b"]]]
    recent = answer(call, rows)
    assert [content(notice) for notice in recent] == [("7-1", b"active", b"b"), ("7-2", b"active", b"a")]
    assert clock.watch.is_placed
    clock.watch.looked_back(recent, clock.now)
    assert wait.is_followed
    assert clock.join("b").is_followed, "its start was seen before it was waited for"
    assert not clock.join("c").is_followed
    assert command(clock.watch.read())[-1] == b"7-2"


def test_a_place_is_forgotten_when_nobody_waits(clock: Clock) -> None:
    wait = clock.patient()
    clock.tell(("active", "other"))
    clock.watch.leave(wait, clock.now)
    assert not clock.watch.is_placed
    assert not clock.join("other").is_followed


def test_a_job_whose_start_was_told_is_looked_at_ever_more_rarely(clock: Clock) -> None:
    wait = clock.patient()
    clock.tell(("active", "job"))
    looks = clock.looks_until(wait, 22_000, follows=True)
    rests = [after - before for before, after in itertools.pairwise(looks)]
    assert rests == [128, 256, 512, 1_024, 2_048, 4_096, 5_000, 5_000]


def test_a_job_whose_start_was_not_told_is_polled_whatever_is_told_of_others(clock: Clock) -> None:
    wait = clock.patient()
    clock.tell(("active", "other"), ("completed", "other"), ("waiting", "job"), ("delayed", "job"))
    looks = clock.looks_until(wait, 1_000, follows=True)
    assert max(after - before for before, after in itertools.pairwise(looks)) == 100


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_longer_interval_than_the_rarest_looks_is_kept(clock: Clock, is_followed: bool) -> None:
    wait = clock.patient(interval=10_000)
    clock.tell(("active" if is_followed else "waiting", "job"))
    looks = clock.looks_until(wait, 29_000, follows=True)
    assert [after - before for before, after in itertools.pairwise(looks)][-2:] == [8_192, 10_000]


def test_a_job_that_is_followed_late_is_looked_at_rarely_from_then_on(clock: Clock) -> None:
    wait = clock.patient()
    clock.looks_until(wait, 1_000, follows=True)
    clock.tell(("active", "job"))
    looks = clock.looks_until(wait, 3_000, follows=True)
    assert [after - before for before, after in itertools.pairwise(looks)] == [200, 400, 800]


def test_the_end_of_a_job_prompts_a_look_and_close_ones_after_it(clock: Clock) -> None:
    wait = clock.patient(interval=60_000)
    clock.tell(("active", "job"))
    clock.looks_until(wait, 10_000, follows=True)
    clock.stop_reading(wait)
    clock.tell(("completed", "job"))
    # The event may be there before the result is.
    assert clock.looks_until(wait, 200, follows=True) == [0, 2, 6, 14, 30, 62, 126]


def test_after_an_end_without_a_result_it_is_polled_at_the_interval(clock: Clock) -> None:
    wait = clock.patient()
    clock.tell(("active", "job"), ("completed", "job"))
    looks = clock.looks_until(wait, 1_000, follows=True)
    assert max(after - before for before, after in itertools.pairwise(looks)) == 100


@pytest.mark.parametrize("end", ["failed", "dlq"])
def test_a_failed_run_is_no_result_and_the_next_run_is_anybodys(clock: Clock, end: str) -> None:
    wait = clock.patient()
    clock.tell(("active", "job"))
    clock.looks_until(wait, 10_000, follows=True)
    clock.tell((end, "job"))
    assert clock.looks_until(wait, 350, follows=True) == [100, 200, 300]
    clock.tell(("active", "job"))
    assert wait.is_followed


def test_all_who_wait_for_the_same_job_are_told(clock: Clock) -> None:
    reader, first, second = clock.patient("other"), clock.join(), clock.join()
    clock.step(first)
    clock.look(first)
    assert clock.tell(("completed", "job")) == [first], "who looks for both"
    assert clock.step(first) is Step.LOOK
    waits = clock.watch.due(first, clock.now)
    assert waits == [first, second]
    assert reader not in waits
    assert clock.watch.looked(waits, [b"\x01", b"\x01"], clock.now) == [first, second]


def test_an_end_that_is_told_while_a_look_is_under_way_is_not_forgotten(clock: Clock) -> None:
    wait = clock.patient(interval=60_000)
    clock.tell(("active", "job"))
    clock.looks_until(wait, 10_000, follows=True)
    clock.now = wait.next_look_ms
    assert clock.step(wait) is Step.LOOK
    waits = clock.watch.due(wait, clock.now)
    clock.tell(("completed", "job"))
    clock.watch.looked(waits, [None], clock.now)
    assert wait.next_look_ms - clock.now == 2


def test_after_a_gap_everything_is_polled_again(clock: Clock) -> None:
    wait = clock.patient()
    clock.tell(("active", "job"), ("active", "other"))
    clock.looks_until(wait, 10_000, follows=True)
    clock.watch.missed_events(clock.now)
    assert clock.looks_until(wait, 250, follows=True) == [100, 200]
    assert not clock.join("other").is_followed


def test_a_gap_is_looked_for_when_a_read_was_full(clock: Clock) -> None:
    clock.patient()
    rows = [[b"%d-1" % number, [b"e", b"waiting", b"id", b"j"]] for number in range(256)]
    notices = answer(clock.watch.read(), [[KEYS.events, rows]])
    assert clock.watch.check(notices) is None, "there was nothing before the place that could be missed"
    rows = [[b"%d-2" % number, [b"e", b"waiting", b"id", b"j"]] for number in range(256, 512)]
    notices = answer(clock.watch.read(), [[KEYS.events, rows]])
    check = clock.watch.check(notices)
    assert answer(check, []) == Gap(event_id="256-2", after="255-1")
    assert answer(check, [[b"255-1", []]]) is None


def test_trouble_with_the_stream_leads_to_polling_and_then_to_another_try(clock: Clock) -> None:
    wait = clock.patient()
    clock.tell(("active", "job"))
    clock.looks_until(wait, 10_000, follows=True)
    clock.watch.reading_failed(clock.now)
    clock.stop_reading(wait)
    assert not clock.watch.is_placed
    assert clock.looks_until(wait, 950) == [100 * number for number in range(1, 10)]
    clock.now += 50
    clock.look(wait)
    assert clock.step(wait) is Step.READ


def test_a_crowded_stream_is_left_alone_for_a_while(clock: Clock) -> None:
    wait = clock.patient()
    clock.tell(("active", "job"))
    for _ in range(result_policy.MOST_EVENTS // 250 - 1):
        assert clock.tell(*[("waiting", "x")] * 250) == []
    clock.tell(*[("waiting", "x")] * 250)
    assert not wait.is_followed
    assert not clock.watch.is_placed
    clock.stop_reading(wait)
    clock.looks_until(wait, result_policy.CROWDED_MS - 200)


def test_running_jobs_are_remembered_within_bounds(clock: Clock) -> None:
    clock.patient()
    clock.watch.looked_back(
        [Notice("1-1", b"active", b"%d" % number) for number in range(result_watch.MOST_RUNNING + 1)], clock.now
    )
    assert not clock.join("0").is_followed
    assert clock.join("1").is_followed
    clock.tell(("completed", "1"))
    assert not clock.join("1").is_followed


def test_between_two_reads_of_a_busy_stream_the_reader_rests(clock: Clock) -> None:
    wait = clock.patient(interval=60_000)
    for _ in range(result_policy.MOST_READS + 1):
        clock.tell(("waiting", "x"))
    clock.stop_reading(wait)
    assert clock.step(wait) is Step.REST
    assert clock.rest(wait) == result_policy.GATHER_MS
    assert clock.step(wait) is Step.READ


def test_when_the_queue_is_closed_everybody_looks(clock: Clock) -> None:
    waits = [clock.patient("a", interval=60_000), clock.join("b")]
    clock.look(waits[1])
    assert clock.watch.look_all(clock.now) == waits
    assert all(wait.next_look_ms <= clock.now for wait in waits)


# -- whether following is worth it ---------------------------------------------------------------------------------


def find(clock: Clock, *, is_told: bool) -> bool:
    """One more result is found while the stream is followed; whether following is still worth it."""
    wait = clock.patient()
    if is_told:
        clock.tell(("completed", "job"))
    clock.now = wait.next_look_ms
    clock.step(wait)
    clock.look(wait, {"job": b"\x01"})
    clock.watch.leave(wait, clock.now)
    return clock.policy.is_worth_it(clock.now)


def test_a_stream_that_tells_of_no_result_is_left_alone(clock: Clock) -> None:
    assert [find(clock, is_told=False) for _ in range(3)] == [True, True, False]
    clock.now += result_policy.SILENT_MS
    assert clock.policy.is_worth_it(clock.now)


def test_results_that_were_found_a_moment_before_they_were_told_do_no_harm(clock: Clock) -> None:
    for is_told in (False, False, True) * 3:
        assert find(clock, is_told=is_told)


def test_results_of_short_jobs_say_nothing_about_the_stream(clock: Clock) -> None:
    for _ in range(10):
        wait = clock.join()
        clock.step(wait)
        clock.look(wait, {"job": b"\x01"})
        clock.watch.leave(wait, clock.now)
    assert clock.policy.is_worth_it(clock.now)


def test_trouble_that_goes_on_is_tried_ever_more_rarely_and_a_read_ends_it() -> None:
    policy, now, rests = FollowingPolicy(), 0.0, []
    for _ in range(9):
        policy.failed(now)
        rests.append(policy.reads_from_ms() - now)
        now = policy.reads_from_ms()
    assert rests == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
    policy.read(1, now)
    policy.failed(now)
    assert policy.reads_from_ms() - now == 1_000


def test_a_stream_with_moderate_traffic_is_followed_without_a_break() -> None:
    policy = FollowingPolicy()
    for second in range(10):
        for part in range(40):
            now = second * 1_001.0 + part * 20
            policy.read(100, now)
            assert policy.is_worth_it(now)
            assert policy.reads_from_ms() <= now


# -- what is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flat", "expected"),
    [
        ([b"e", b"active", b"id", b"j", b"ts", b"1"], (b"active", b"j")),
        ([b"id", b"j", b"ts", b"1", b"e", b"completed"], (b"completed", b"j")),
        ([b"e", b"drained"], (b"drained", b"")),
        ([b"d", b"x"], (b"", b"")),
        ([], (b"", b"")),
    ],
)
def test_entries_of_every_shape_are_read(flat: list[bytes], expected: tuple[bytes, bytes]) -> None:
    assert content(notice_of("7-1", flat)) == ("7-1", *expected)
