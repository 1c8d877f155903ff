"""The loggers of the package. The ``logging`` module is loaded with the first message.

It takes a tenth of the time in which a synchronous program starts, and a run in which all goes well says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from chasquimq._first_use import first_use

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["logger_named"]


def logger_named(name: str) -> Logger:
    """What ``logging.getLogger(name)`` gives, from the first use on."""
    return cast("Logger", _Later(name))


class _Later:
    """Stands for a logger. Its methods are the logger's own, so that records name the line that called them."""

    __slots__ = ("_logger", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._logger: Logger | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._logger is None:
            with first_use:
                import logging  # noqa: PLC0415  see the top

            self._logger = logging.getLogger(self._name)
        return getattr(self._logger, attribute)
