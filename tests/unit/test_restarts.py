"""When a worker process that has ended is started again."""

import pytest

from chasquimq._core.restarts import DEATHS_IN_A_ROW, HEALTHY_MS, RESPITE_MS, Restarts

SHORT_MS = 10.0


def ended(restarts: Restarts, number: int = 0, **given: object) -> float | None:
    told = {"asked": False, "lived_ms": SHORT_MS, "before_ready": False, "others_work": False, "draw": 0.0, **given}
    return restarts.ended(number, **told)  # type: ignore[arg-type]


def test_each_short_life_makes_the_next_start_wait_longer_up_to_five_seconds():
    restarts = Restarts()
    waits = [ended(restarts) for _ in range(9)]
    assert waits == [50, 100, 200, 400, 800, 1_600, 2_500, 2_500, 2_500]


def test_half_of_a_wait_is_jitter():
    assert ended(Restarts(), draw=0.0) == 50
    assert ended(Restarts(), draw=0.999_999) == pytest.approx(100, abs=0.01)


def test_places_are_told_apart():
    restarts = Restarts()
    for _ in range(5):
        ended(restarts, 0)
    assert ended(restarts, 1) == 50


def test_a_long_life_is_a_new_beginning():
    restarts = Restarts()
    for _ in range(5):
        ended(restarts)
    assert ended(restarts, lived_ms=HEALTHY_MS) == 50
    assert ended(restarts) == 100


def test_who_was_asked_to_end_is_replaced_after_a_respite_and_has_not_failed():
    restarts = Restarts()
    for _ in range(DEATHS_IN_A_ROW + 1):
        assert ended(restarts, asked=True, before_ready=True) == RESPITE_MS
    assert ended(restarts) == 50


def test_ends_before_any_readiness_are_given_up_whichever_places_they_were():
    restarts = Restarts()
    for number in range(DEATHS_IN_A_ROW - 1):
        assert ended(restarts, number, before_ready=True) is not None
    assert ended(restarts, DEATHS_IN_A_ROW, before_ready=True) is None


def test_a_readiness_in_between_counts_from_the_beginning():
    restarts = Restarts()
    for _ in range(2):
        for _ in range(DEATHS_IN_A_ROW - 1):
            assert ended(restarts, before_ready=True) is not None
        restarts.became_ready()


def test_nothing_is_given_up_while_others_work():
    restarts = Restarts()
    for _ in range(3 * DEATHS_IN_A_ROW):
        assert ended(restarts, before_ready=True, others_work=True) is not None


def test_who_worked_before_is_never_given_up():
    restarts = Restarts()
    for _ in range(3 * DEATHS_IN_A_ROW):
        assert ended(restarts) is not None
