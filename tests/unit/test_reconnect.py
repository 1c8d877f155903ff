"""What becomes of a Call whose connection failed."""

import logging
from typing import Any

import pytest

from chasquimq._core.call import Call
from chasquimq._core.reconnect import (
    Outage,
    connect_delay_ms,
    eval_request,
    lost_call_error,
    may_resend,
    splice,
    unreachable_error,
    worker_delay_ms,
)
from chasquimq.errors import AuthenticationError, RedisConnectionError, RedisTimeoutError, ServerReplyError

LOST = RedisConnectionError("It broke.", may_have_executed=True)
UNSENT = RedisConnectionError("It broke.")


def call(*, idempotent: bool) -> Call[Any]:
    return Call("queue.add", b"", lambda replies: replies, idempotent=idempotent, eval_form=lambda n: b"%d;" % n)


def test_a_producer_tries_three_times() -> None:
    assert [connect_delay_ms(attempt, UNSENT, 0.0) for attempt in (1, 2, 3)] == [50.0, 100.0, None]
    assert [connect_delay_ms(attempt, UNSENT, 1.0) for attempt in (1, 2, 3)] == [150.0, 200.0, None]


@pytest.mark.parametrize("error", [AuthenticationError("x"), RedisTimeoutError("x")])
def test_what_waiting_does_not_mend_is_tried_once(error: RedisConnectionError) -> None:
    assert connect_delay_ms(1, error, 0.5) is None


def test_where_another_server_may_take_over_it_goes_on() -> None:
    timeout = RedisTimeoutError("x")
    assert [connect_delay_ms(attempt, UNSENT, 0.0, 1.0) for attempt in (2, 3, 8, 50)] == [100.0, 150.0, 400.0, 400.0]
    assert connect_delay_ms(3, timeout, 0.0, 1.0) == 150.0
    assert connect_delay_ms(3, timeout, 0.0, 0.0) is None
    assert connect_delay_ms(3, UNSENT, 0.0, -1.0) is None
    assert connect_delay_ms(1, AuthenticationError("x"), 0.0, 1_000.0) is None


def test_a_worker_never_gives_up() -> None:
    assert [worker_delay_ms(attempt, 1.0) for attempt in range(1, 9)] == [100, 200, 400, 800, 1600, 3200, 5000, 5000]
    assert [worker_delay_ms(attempt, 0.0) for attempt in (1, 10_000)] == [50, 2500]


@pytest.mark.parametrize(
    ("idempotent", "error", "again"),
    [
        (True, LOST, True),
        (True, UNSENT, True),
        (False, LOST, False),
        (False, UNSENT, True),
        (True, RedisTimeoutError("x", may_have_executed=True), False),
        (True, RedisTimeoutError("x"), True),
    ],
)
def test_who_is_sent_again(idempotent: bool, error: RedisConnectionError, again: bool) -> None:
    assert may_resend(call(idempotent=idempotent), error, 1) is again
    assert may_resend(call(idempotent=idempotent), error, 3) is False


def test_what_the_caller_is_told() -> None:
    ambiguous = lost_call_error(call(idempotent=False), LOST, " (number 2 of the stream)")
    assert (ambiguous.may_have_executed, ambiguous.safe_to_repeat) == (True, False)
    assert str(ambiguous).startswith("queue.add (number 2 of the stream): It broke. The command had been sent")
    safe = lost_call_error(call(idempotent=True), LOST)
    assert (safe.may_have_executed, safe.safe_to_repeat) == (True, True)
    assert "Repeating the call is safe" in str(safe)
    unsent = lost_call_error(call(idempotent=False), UNSENT)
    assert (unsent.may_have_executed, unsent.safe_to_repeat) == (False, True)
    assert "no effect" in str(unsent)
    assert type(lost_call_error(call(idempotent=False), RedisTimeoutError("x"))) is RedisTimeoutError
    assert "redis://h:1/0" in str(unreachable_error("redis://h:1/0", "refused"))


def test_scripts_that_the_server_lacks() -> None:
    assert eval_request(call(idempotent=False), [0, 3]) == b"0;3;"
    replies: list[Any] = ["missing", 1, 2, "missing"]
    splice(replies, [0, 3], ["a", "b"])
    assert replies == ["a", 1, 2, "b"]


def test_of_an_outage_each_kind_of_failure_is_told_once_and_its_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("chasquimq.worker"), "jobs are read")
    outage.over()
    outage.refused()  # somebody else has told this one
    outage.over()
    assert not caplog.messages
    closed, wrong = RedisConnectionError("closed"), AuthenticationError("wrong")
    told = [outage.failed(error) for error in (closed, closed, wrong, closed, wrong)]
    assert told == [True, False, True, False, False]
    assert outage.failures == 5
    assert outage.failed(ServerReplyError("busy", code="BUSY"))
    assert outage.failed(ServerReplyError("cannot save", code="MISCONF"))
    outage.over()
    assert outage.failures == 0
    outage.over()
    assert caplog.messages == ["It works again: jobs are read."]
    assert outage.failed(closed)
