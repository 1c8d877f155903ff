"""The low-level option types: frozen, slotted, explained, and checked like the high-level ones."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from datetime import timedelta

import pytest

from chasquimq import InvalidOptionError, InvalidOptionTypeError, native
from chasquimq._core.outcome import RetryPolicy
from chasquimq._core.worker_settings import worker_settings
from chasquimq.options import WorkerOptions

TYPES = [
    value
    for name in native.__all__
    if dataclasses.is_dataclass(value := getattr(native, name)) and value.__module__ == "chasquimq.native"
]
EVERY_TYPE = pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)


@EVERY_TYPE
def test_a_value_cannot_be_changed_and_has_no_dict(kind):
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)


@EVERY_TYPE
def test_every_field_is_explained(kind):
    body = ast.parse(inspect.getsource(kind)).body[0].body
    for position, node in enumerate(body):
        if isinstance(node, ast.AnnAssign):
            explained = body[position + 1]
            assert isinstance(explained, ast.Expr), node.target.id
            assert isinstance(explained.value, ast.Constant), node.target.id
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


def test_the_product_page_is_complete():
    page = """ProducerOpts ConsumerOpts SchedulerOpts RetryOpts AddOptions BackoffSpec DlqEntry JobRetryOverride
        NamedPayload RepeatPattern RepeatableSpec RepeatableMeta MissedFiresPolicy"""
    assert set(page.split()) <= set(native.__all__)


def test_the_defaults_of_retries_are_those_of_a_worker():
    options = native.ConsumerOpts(retry=native.RetryOpts()).to_worker_options()
    assert worker_settings(options, "c").retry == worker_settings(WorkerOptions(), "c").retry == RetryPolicy()


def test_the_defaults_of_a_consumer_are_those_of_a_worker():
    assert native.ConsumerOpts().to_worker_options() == WorkerOptions()


@pytest.mark.parametrize("given", [{}, {"expression": "* * * * *", "interval_ms": 1}, {"interval_ms": 1, "tz": "UTC"}])
def test_a_pattern_is_one_of_two(given):
    with pytest.raises(InvalidOptionError):
        native.RepeatPattern(**given)


def test_the_two_patterns():
    assert native.RepeatPattern.cron("0 2 * * *", "UTC") == native.RepeatPattern(expression="0 2 * * *", tz="UTC")
    assert native.RepeatPattern.every(timedelta(seconds=1)).interval_ms == timedelta(seconds=1)


def test_the_policies_for_missed_fires():
    policy = native.MissedFiresPolicy
    assert [policy.skip().kind, policy.fire_once().kind, policy.fire_all(3).kind] == ["skip", "fire-once", "fire-all"]
    with pytest.raises(InvalidOptionError):
        policy.fire_all(0)


def test_the_settings_of_a_scheduler():
    assert native.SchedulerOpts().checked_tick_ms() == 1_000
    assert native.SchedulerOpts(tick_ms=timedelta(seconds=2)).checked_tick_ms() == 2_000
    assert native.SchedulerOpts().holder("s-1") == b"s-1"
    assert native.SchedulerOpts(name="mine").holder("s-1") == b"mine"
    with pytest.raises(InvalidOptionTypeError):
        native.SchedulerOpts(name=b"mine").holder("s-1")
