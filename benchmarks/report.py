"""The report: what was measured, on what, with which caveats, and which targets are met."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.macro.results import Measured, Ratio
from benchmarks.macro.tables import markdown_of
from benchmarks.macro.targets import Judged, judge

__all__ = ["target_rows", "write_report"]

_PACKAGES = ("hiredis", "msgpack", "anyio", "trio", "uvloop")

_CAVEATS = """\
* Every side runs in a process of its own; sides take turns (A B C, C B A, …) on one server that is emptied before
  each run, over loopback TCP. Figures are medians; ratios are medians of the ratios within each round, with the
  lowest and the highest.
* Client and server share the machine's cores. Absolute figures drift by tens of percent from minute to minute:
  compare within one table only.
* *Redis busy* is the CPU time of the server's main thread by the wall clock; *queued* is for how much of the wall
  clock client and server together were ready to run and waited for a core. Where it is high, the machine was shared
  with others: trust the CPU times per job, not the rates.
* Every run counts its jobs. A run that lost or doubled one is void and named.
* The floor is a bare blocking client that sends the same commands, prepared beforehand, and decides nothing.
* The reference is the wheel `chasquimq` 1.3.0, on uvloop."""


def target_rows(results: Mapping[str, Measured]) -> Iterator[tuple[str, str, str, str, str]]:
    """What, side, target, measured, met or not."""
    for judged in judge(results):
        target = judged.target
        sign = "≥" if target.at_least else "≤"
        verdict = "met" if judged.is_met else "not met"
        yield target.what, judged.side, f"{sign} {target.bound:g}", _shown(judged), verdict


def _shown(judged: Judged) -> str:
    value = judged.measured
    return str(value) if isinstance(value, Ratio) else f"{value:.2f}"


def _versions(server: str) -> Iterator[str]:
    yield f"* Python {platform.python_version()}, {platform.system()} {platform.release()}, {platform.machine()}"
    yield f"* {_processor()}, {os.cpu_count()} cores; load average at the end {os.getloadavg()[0]:.1f}"
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    yield f"* Server: Redis {server}; {', '.join(found)}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _report(results: Mapping[str, Measured], server: str, pairs: int) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield f"Made by `python -m benchmarks --report` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {pairs} rounds."
    yield ""
    yield from _versions(server)
    yield ""
    yield _CAVEATS
    yield ""
    yield "## Targets"
    yield ""
    yield "| what | side | target | measured | |"
    yield "| --- | --- | --: | --: | --- |"
    for row in target_rows(results):
        yield f"| {' | '.join(row)} |"
    yield ""
    yield "## Scenarios"
    yield ""
    for measured in results.values():
        yield from markdown_of(measured)


def write_report(path: Path, results: Mapping[str, Measured], server: str, pairs: int) -> None:
    """Writes the report as Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_report(results, server, pairs)).rstrip() + "\n")
