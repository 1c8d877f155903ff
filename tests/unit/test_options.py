"""Options: how they merge, what is refused before any I/O, what is said once."""

import dataclasses
import linecache
import math
import warnings
from datetime import timedelta

import pytest

from chasquimq import aio, options, sync
from chasquimq.errors import (
    InvalidJobIdError,
    InvalidOptionError,
    InvalidOptionTypeError,
    NotSupportedError,
)
from chasquimq.options import (
    BackoffOptions,
    BackoffSpec,
    JobsOptions,
    MissedFires,
    QueueOptions,
    WorkerOptions,
    check_job_id,
    check_name,
    keywords,
    merge,
    to_backoff,
    whole_number,
)

PUBLIC = [getattr(options, name) for name in options.__all__ if name.endswith("Options")]


@pytest.fixture
def _nothing_warned_yet(monkeypatch):
    monkeypatch.setattr(options, "_warned", set())


# -- merging ---------------------------------------------------------------------------------------------------


def test_keywords_win_over_opts_and_leave_it_as_it_was():
    given = JobsOptions(attempts=2, delay=100)
    merged = merge(JobsOptions, given, {"attempts": 5, "job_id": None})
    assert (merged.attempts, merged.delay, merged.job_id) == (5, 100, None)
    assert given == JobsOptions(attempts=2, delay=100)


@pytest.mark.parametrize("opts", [{"attempts": 2, "delay": 100}, JobsOptions(attempts=2, delay=100)])
def test_a_mapping_and_a_value_mean_the_same(opts):
    assert merge(JobsOptions, opts, {"delay": 7}) == JobsOptions(attempts=2, delay=7)


def test_nothing_given_is_all_defaults():
    assert merge(JobsOptions, None, {}) == JobsOptions()
    assert merge(JobsOptions, {}, {}) == JobsOptions()


def test_opts_that_need_no_change_are_used_as_they_are():
    given = JobsOptions(attempts=2)
    assert merge(JobsOptions, given, {"delay": None}) is given


def test_a_falsy_keyword_is_given_and_none_is_not():
    assert keywords(delay=0, lifo=False, job_id="", attempts=None) == {"delay": 0, "lifo": False, "job_id": ""}


@pytest.mark.parametrize("kind", PUBLIC)
def test_an_unknown_option_is_a_type_error_that_names_the_known_ones(kind):
    with pytest.raises(TypeError, match="'retries'") as refused:
        merge(kind, {"retries": 1}, {})
    assert isinstance(refused.value, InvalidOptionTypeError)
    for field in dataclasses.fields(kind):
        assert field.name in str(refused.value)


def test_keys_of_a_mapping_that_are_no_texts_are_refused_the_same_way():
    with pytest.raises(InvalidOptionTypeError, match="unknown option"):
        merge(JobsOptions, {1: 2, "attempts": 3}, {})


@pytest.mark.parametrize("opts", [QueueOptions(), 5, "delay=1", [("delay", 1)]])
def test_opts_of_another_type_are_refused(opts):
    with pytest.raises(InvalidOptionTypeError, match="expected JobsOptions"):
        merge(JobsOptions, opts, {})


@pytest.mark.parametrize("kind", PUBLIC)
def test_options_are_frozen_values_with_keywords_only(kind):
    assert kind.__dataclass_params__.frozen
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)
    with pytest.raises(TypeError, match="positional"):
        kind(1)


# -- backoff ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "on_the_wire"),
    [
        (250, ("fixed", 250, None, None, None)),
        (0, ("fixed", 0, None, None, None)),
        (timedelta(seconds=2), ("fixed", 2000, None, None, None)),
        (BackoffSpec.fixed(80, jitter_ms=10), ("fixed", 80, None, None, 10)),
        (BackoffSpec.exponential(100), ("exponential", 100, None, 2.0, None)),
        (
            BackoffSpec.exponential(100, multiplier=3, max_delay_ms=5000, jitter_ms=0),
            ("exponential", 100, 5000, 3.0, 0),
        ),
        ({"type": "exponential"}, ("exponential", 100, None, None, None)),
        ({"type": "fixed", "delay": timedelta(minutes=2)}, ("fixed", 120_000, 120_000, None, None)),
    ],
)
def test_a_backoff_in_any_form_is_the_five_positions_of_the_wire(value, on_the_wire):
    assert to_backoff(value).to_wire() == on_the_wire


@pytest.mark.parametrize(
    ("delay", "cap", "written"),
    [
        (30_000, None, None),
        (30_001, None, 30_001),
        (timedelta(hours=1), None, 3_600_000),
        (60_000, 5_000, 5_000),
        (60_000, 90_000, 90_000),
    ],
)
def test_a_wait_above_30_s_is_written_as_its_own_cap(delay, cap, written):
    # A worker of another kind caps at 30 s what names no cap.
    assert BackoffOptions(type="fixed", delay=delay, max_delay=cap).to_wire()[2] == written


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "Fixed"},
        {"type": "linear"},
        {"type": None},
        {"type": "fixed", "delay": -1},
        {"type": "fixed", "delay": math.nan},
        {"type": "fixed", "max_delay": -1},
        {"type": "fixed", "jitter_ms": math.inf},
        {"type": "exponential", "multiplier": -0.1},
        {"type": "exponential", "multiplier": math.nan},
        {"type": "exponential", "multiplier": math.inf},
    ],
)
def test_a_backoff_outside_the_range_is_refused_when_it_is_made(wrong):
    with pytest.raises(InvalidOptionError, match="backoff"):
        BackoffOptions(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay": "1"},
        {"delay": True},
        {"max_delay": "1"},
        {"jitter_ms": False},
        {"multiplier": "2"},
        {"multiplier": True},
    ],
)
def test_a_backoff_with_wrong_types_is_refused_when_it_is_made(wrong):
    with pytest.raises(InvalidOptionTypeError, match="backoff"):
        BackoffOptions(type="fixed", **wrong)


def test_a_backoff_mapping_needs_a_type_and_known_names():
    with pytest.raises(InvalidOptionError, match="needs a type"):
        to_backoff({"delay": 5})
    with pytest.raises(InvalidOptionTypeError, match="'cap'"):
        to_backoff({"type": "fixed", "cap": 5})


@pytest.mark.parametrize("wrong", ["250", True, None, object()])
def test_a_backoff_of_another_type_is_refused(wrong):
    with pytest.raises(InvalidOptionTypeError, match="backoff"):
        to_backoff(wrong)


# -- what is ignored or not supported --------------------------------------------------------------------------


@pytest.mark.usefixtures("_nothing_warned_yet")
@pytest.mark.parametrize("option", [{"priority": 1}, {"lifo": True}, {"priority": 0}, {"lifo": False}])
def test_priority_and_lifo_warn_once_per_process_and_point_at_the_caller(option):
    (name,) = option
    with pytest.warns(UserWarning, match=f"'{name}' is accepted and ignored") as caught:
        JobsOptions(**option)
    assert caught[0].filename == __file__
    assert "JobsOptions(**option)" in linecache.getline(__file__, caught[0].lineno)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        JobsOptions(**option)
        dataclasses.replace(JobsOptions(**option), attempts=1)


@pytest.mark.usefixtures("_nothing_warned_yet")
@pytest.mark.parametrize(
    "make",
    [
        lambda: merge(JobsOptions, {"priority": 1}, {}),
        lambda: merge(JobsOptions, JobsOptions(delay=5), {"priority": 1}),
        lambda: aio.Queue("q", default_job_options={"priority": 1}),
        lambda: sync.Queue("q", default_job_options={"priority": 1}),
    ],
)
def test_the_warning_points_at_the_caller_from_deep_inside_too(make):
    with pytest.warns(UserWarning, match="priority") as caught:
        make()
    assert caught[0].filename == __file__
    assert "lambda" in linecache.getline(__file__, caught[0].lineno)


@pytest.mark.usefixtures("_nothing_warned_yet")
def test_the_two_warnings_are_separate():
    with pytest.warns(UserWarning, match="priority"):
        JobsOptions(priority=1)
    with pytest.warns(UserWarning, match="lifo"):
        JobsOptions(lifo=True)


def test_what_has_no_effect_is_accepted_in_silence():
    JobsOptions(remove_on_complete=True, remove_on_fail=100, repeat_job_key="k")
    QueueOptions(prefix="bull")
    WorkerOptions(remove_on_complete={"age": 1}, prefix="p")


def test_a_parent_is_not_supported_and_the_error_says_what_to_do():
    with pytest.raises(NotSupportedError, match="handler"):
        JobsOptions(parent={"id": "1", "queue": "q"})


@pytest.mark.parametrize(
    ("kind", "catchup", "fails"),
    [
        ("skip", None, None),
        ("fire-once", None, None),
        ("fire-all", 3, None),
        ("fire-all", None, InvalidOptionTypeError),
        ("fire-all", 0, InvalidOptionError),
        ("skip", 3, InvalidOptionError),
        ("fire_all", 3, InvalidOptionError),
    ],
)
def test_missed_fires(kind, catchup, fails):
    if fails is None:
        assert MissedFires(kind=kind, max_catchup=catchup).kind == kind
    else:
        with pytest.raises(fails, match="missed_fires"):
            MissedFires(kind=kind, max_catchup=catchup)


# -- single values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_id", ["a", " a ", "x:y}z\0\n", "発送", "1" * 5000])
def test_any_text_that_is_not_blank_is_a_job_id(job_id):
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize("wrong", ["", " ", "\t\n", "\u3000", None, 5, b"a", True])
def test_a_blank_or_missing_job_id_is_a_type_error(wrong):
    with pytest.raises(InvalidJobIdError, match="job_id") as refused:
        check_job_id(wrong)
    assert isinstance(refused.value, TypeError)


@pytest.mark.parametrize("check", [check_job_id, check_name])
def test_a_lone_surrogate_is_refused_as_unwritable(check):
    with pytest.raises(InvalidOptionError, match="UTF-8"):
        check("a\ud800b")


@pytest.mark.parametrize("name", ["", "a", "x" * 256, "é" * 128, "a}b:c\0"])
def test_a_name_has_up_to_256_bytes_and_may_be_empty(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["x" * 257, "é" * 128 + "x", "€" * 86])
def test_a_longer_name_is_refused_by_its_bytes(name):
    with pytest.raises(InvalidOptionError, match="256 bytes"):
        check_name(name)


@pytest.mark.parametrize("name", [None, 5, b"x", ["x"]])
def test_a_name_of_another_type_is_refused(name):
    with pytest.raises(InvalidOptionTypeError, match="job name"):
        check_name(name)


def test_a_whole_number_is_an_int_within_its_bounds():
    assert whole_number("n", 3, minimum=3, maximum=3) == 3
    for wrong in (2, 4):
        with pytest.raises(InvalidOptionError, match="at least 3 and at most 3"):
            whole_number("n", wrong, minimum=3, maximum=3)
    for wrong in (True, 3.0, "3", None):
        with pytest.raises(InvalidOptionTypeError, match="whole number"):
            whole_number("n", wrong, minimum=0)
