"""The package's loggers: the standard ones, found when they are first used."""

import inspect
import logging

import pytest

from chasquimq._core.log import logger_named


def test_a_message_goes_to_the_logger_of_that_name_and_tells_where_it_comes_from(caplog: pytest.LogCaptureFixture):
    logger = logger_named("chasquimq.example")
    with caplog.at_level(logging.INFO, "chasquimq.example"):
        logger.info("%d jobs", 3)
        line = inspect.currentframe().f_lineno - 1
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("chasquimq.example", "INFO", "3 jobs")
    assert (record.pathname, record.lineno, record.funcName) == (__file__, line, inspect.currentframe().f_code.co_name)


def test_levels_are_those_that_are_set_at_the_time(caplog: pytest.LogCaptureFixture):
    logger = logger_named("chasquimq.example")
    for level, is_told in ((logging.ERROR, False), (logging.WARNING, True), (logging.ERROR, False)):
        caplog.clear()
        with caplog.at_level(level, "chasquimq"):
            logger.warning("once")
        assert bool(caplog.records) is is_told


def test_an_exception_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture):
    try:
        raise ValueError("boom")
    except ValueError:
        logger_named("chasquimq.example").exception("it broke")
    assert "ValueError: boom" in caplog.text
