"""The cases, in the order in which they are shown. A new scenario is a module with ``CASES``, named here."""

from __future__ import annotations

from benchmarks.macro.case import Case
from benchmarks.macro.scenarios import (
    add,
    bulk,
    concurrent,
    consume,
    delayed,
    idle,
    latency,
    memory,
    processes,
    retry,
    rss,
    startup,
)

__all__ = ["ALL", "case_named"]

ALL: tuple[Case, ...] = (
    *add.CASES,
    *concurrent.CASES,
    *bulk.CASES,
    *consume.CASES,
    *retry.CASES,
    *latency.CASES,
    *delayed.CASES,
    *idle.CASES,
    *memory.CASES,
    *rss.CASES,
    *startup.CASES,
    *processes.CASES,
)


def case_named(name: str) -> Case:
    return next(case for case in ALL if case.name == name)
