"""What becomes of a job, on arrival and after a failed run (docs/wire-format.md, sections 8 and 10)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chasquimq._core.outcome import DeadLetter, Retry, RetryPolicy, admit, after_failure, describe_error, error_text
from chasquimq._fast import decode_envelope, decode_member
from chasquimq.errors import UnrecoverableError
from tests.unit.entries import entry, envelope, parsed
from tests.unit.properties import searched

POLICY = RetryPolicy(max_attempts=3, jitter_ms=0)
NO_JITTER = 0.5


def caught(error):
    """The error as a worker gets it: raised, with a traceback."""
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 - tests pass any kind
        return raised


# -- on arrival ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "deliveries", "own_limit", "runs"),
    [
        (0, 0, None, True),
        (2, 0, None, True),
        (3, 0, None, False),
        # The first delivery without an end is forgiven: limit + 1 starts in all.
        (0, 1, None, True),
        (0, 3, None, True),
        (0, 4, None, False),
        (2, 3, None, True),
        (2, 4, None, False),
        (0, 0, 0, False),
        (0, 0, 1, True),
        (0, 1, 1, True),
        (0, 2, 1, False),
        (1, 0, 1, False),
        (24, 0, 25, True),
        (25, 0, 25, False),
        (2**32 - 1, 0, 2**32 - 1, False),
    ],
)
def test_an_entry_is_run_while_its_budget_lasts(attempt, deliveries, own_limit, runs):
    refusal = admit(entry(attempt=attempt, deliveries=deliveries, max_attempts=own_limit), POLICY)
    if runs:
        assert refusal is None
    else:
        assert refusal.reason == "retries_exhausted"
        assert refusal.failed_run == max(attempt, deliveries - 1)


def test_a_job_that_kills_its_workers_is_not_mistaken_for_one_that_failed():
    assert "delivered 4 times" in admit(entry(deliveries=4), POLICY).detail
    assert "3 runs are behind it and 3 are allowed" in admit(entry(attempt=3), POLICY).detail


@pytest.mark.parametrize(
    ("fields", "reason", "raw"),
    [
        ([b"x", b"y"], "malformed", b""),
        ([b"n", b"name"], "malformed", b""),
        ([b"d", b"\xc1\xc1", b"n", b"nm"], "decode_failed", b"\xc1\xc1"),
        ([b"d", b"x" * 2000, b"n", b"nm"], "oversize_payload", b"x" * 2000),
    ],
)
def test_what_no_handler_could_take_is_never_run(fields, reason, raw):
    broken = parsed("1-1", fields, limit=1000)
    refusal = admit(broken, POLICY)
    assert (refusal.reason, refusal.failed_run, refusal.show_id) == (reason, 0, False)
    assert refusal.detail == broken.detail
    assert broken.raw == raw
    assert broken.name == ("nm" if reason == "oversize_payload" else "")


# -- after a failed run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "own_limit", "retried"),
    [
        (0, None, True),
        (1, None, True),
        (2, None, False),
        (0, 1, False),
        (0, 2, True),
        (1, 2, False),
        (7, 25, True),
    ],
)
def test_a_failed_run_is_repeated_until_the_budget_is_used_up(attempt, own_limit, retried):
    failed = entry(attempt=attempt, max_attempts=own_limit)
    end = after_failure(failed, caught(ValueError("boom")), POLICY, NO_JITTER)
    if retried:
        assert isinstance(end, Retry)
        assert end.coming_run == attempt + 2
        name, moved = decode_member(end.member)
        assert name == b"send"
        assert moved == envelope("job-1", attempt=attempt + 1, max_attempts=own_limit)
    else:
        assert isinstance(end, DeadLetter)
        assert (end.reason, end.failed_run, end.show_id) == ("retries_exhausted", attempt + 1, True)
        assert end.detail.startswith("ValueError: boom\n")
        assert "raise error" in end.detail


class Hopeless(UnrecoverableError):
    """An application's own kind."""


@pytest.mark.parametrize("error", [UnrecoverableError("no"), Hopeless("no")])
def test_an_unrecoverable_error_skips_the_retries(error):
    end = after_failure(entry(max_attempts=100), caught(error), POLICY, NO_JITTER)
    assert (end.reason, end.failed_run) == ("unrecoverable", 1)
    assert type(error).__name__ in end.detail


def test_an_unrecoverable_error_in_a_group_or_as_a_cause_is_a_failure_like_others():
    group = caught(ExceptionGroup("several", [UnrecoverableError("no")]))
    assert isinstance(after_failure(entry(), group, POLICY, NO_JITTER), Retry)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), MemoryError()])
def test_errors_that_are_no_exceptions_are_failures_too(error):
    assert isinstance(after_failure(entry(), caught(error), POLICY, NO_JITTER), Retry)


@pytest.mark.parametrize(
    ("backoff", "attempt", "waits"),
    [
        (None, 0, 100),
        (None, 1, 200),
        (None, 9, 30_000),
        (("fixed", 250, None, None, None), 0, 250),
        (("fixed", 250, None, None, None), 5, 250),
        (("fixed", 60_000, None, None, 0), 0, 30_000),
        (("fixed", 60_000, 60_000, None, None), 0, 60_000),
        (("exponential", 100, None, None, None), 3, 800),
        (("exponential", 100, 5_000, 3.0, 0), 2, 900),
        (("exponential", 100, 5_000, 3.0, 0), 9, 5_000),
        (("Fixed", 100, None, None, None), 2, 400),
        (("exponential", 100, None, float("nan"), None), 1, 0),
        (("exponential", 100, None, -2.0, None), 1, 0),
    ],
)
def test_the_wait_is_the_jobs_own_with_the_workers_for_what_it_leaves_out(backoff, attempt, waits):
    failed = entry(attempt=attempt, max_attempts=100, backoff=backoff)
    assert after_failure(failed, caught(ValueError()), POLICY, NO_JITTER).wait_ms == waits


@pytest.mark.parametrize(("draw", "waits"), [(0.0, 900), (0.5, 1000), (1.0, 1100)])
def test_jitter_goes_both_ways(draw, waits):
    failed = entry(backoff=("fixed", 1000, None, None, 100))
    assert after_failure(failed, caught(ValueError()), POLICY, draw).wait_ms == waits


def test_the_workers_jitter_is_for_jobs_that_name_no_wait_of_their_own():
    policy = RetryPolicy(jitter_ms=50)
    assert after_failure(entry(), caught(ValueError()), policy, 1.0).wait_ms == 150
    named = entry(backoff=("fixed", 1000, None, None, None))
    assert after_failure(named, caught(ValueError()), policy, 1.0).wait_ms == 1000


@searched
@given(st.integers(0, 50), st.one_of(st.none(), st.integers(1, 50)), st.floats(0, 1, exclude_max=True))
def test_every_job_ends(attempt, own_limit, draw):
    runs = 0
    while True:
        job = entry(attempt=attempt, max_attempts=own_limit)
        if admit(job, POLICY) is not None:
            break
        runs += 1
        end = after_failure(job, caught(ValueError()), POLICY, draw)
        if isinstance(end, DeadLetter):
            break
        attempt = decode_envelope(decode_member(end.member)[1]).attempt
    assert runs <= (3 if own_limit is None else own_limit)


# -- words for errors ------------------------------------------------------------------------------------------


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class NotAText(Exception):
    def __str__(self):
        return 5  # noqa: PLE0307 - broken on purpose


@pytest.mark.parametrize("kind", [Mute, NotAText])
def test_an_error_with_a_broken_str_is_still_described(kind):
    described = describe_error(caught(kind()))
    assert described.startswith(f"{kind.__name__}: <{kind.__name__} whose __str__ raised ")
    assert error_text(kind()).startswith("<")


def test_a_lone_surrogate_in_an_error_does_not_reach_the_wire():
    error = caught(ValueError("a\ud800b"))
    assert error_text(error) == "a?b"
    describe_error(error).encode()


def test_not_even_in_the_name_of_its_class():
    class Odd(Exception):
        pass

    Odd.__qualname__ = "Odd\ud800"
    describe_error(caught(Odd("x"))).encode()


def test_long_texts_are_cut_where_people_stop_reading():
    error = caught(ValueError("x" * 100_000))
    assert len(error_text(error)) == 2_000
    assert len(describe_error(error)) <= 4_000


def test_of_a_huge_traceback_the_last_lines_are_kept():
    def deep(depth):
        if depth:
            deep(depth - 1)
        else:
            raise ValueError("at the bottom")

    with pytest.raises(ValueError, match="bottom") as raised:
        deep(500)
    described = describe_error(raised.value)
    assert len(described) <= 4_000
    assert described.startswith("ValueError: at the bottom\n")
    assert 'raise ValueError("at the bottom")' in described
    assert described.count("\n") <= 3 * 12


def test_an_endless_recursion_is_described():
    def endless():
        return endless()

    with pytest.raises(RecursionError) as raised:
        endless()
    assert describe_error(raised.value).startswith("RecursionError: maximum recursion depth")


def test_a_group_is_described_by_its_own_words():
    group = caught(ExceptionGroup("several", [ValueError("a"), TypeError("b")]))
    assert describe_error(group).startswith("ExceptionGroup: several (2 sub-exceptions)")


def test_an_error_without_text_or_traceback_is_its_type():
    assert describe_error(KeyError()) == "KeyError:"
    assert error_text(KeyError()) == ""
