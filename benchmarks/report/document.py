"""The report as Markdown, with its charts beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.macro.results import Measured, Ratio
from benchmarks.macro.tables import markdown_of
from benchmarks.macro.targets import Judged, Target, judge
from benchmarks.peers import PEERS
from benchmarks.report.plots import plot

__all__ = ["FIGURES", "REPORT", "SCENARIOS", "target_rows", "write_report"]

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
FIGURES = REPORT.with_suffix("") / "figures.json"
"""The medians of the last report, for what is calculated from them."""
SCENARIOS = "scenarios.md"
"""Beside the charts."""
_ALWAYS = ("rate", "client_us", "redis_us", "busy", "to_redis", "from_redis")

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
  *overlapped* is a floor that does not wait for each answer; where there is a choice, ratios are to the one that does.
* One machine, one payload (`{"to": "ada@example.com", "n": 1}`), handlers that do nothing: this shows what a queue
  costs, not what your program will do."""


def target_rows(results: Mapping[str, Measured]) -> Iterator[tuple[str, str, str, str, str]]:
    """What, side, target, measured, met or not."""
    for judged in judge(results):
        yield judged.target.what, judged.side, _bound(judged.target), _shown(judged), _verdict(judged)


def _bound(target: Target) -> str:
    return f"{'≥' if target.at_least else '≤'} {target.bound:g}"


def _shown(judged: Judged) -> str:
    value = judged.measured
    shown = str(value) if isinstance(value, Ratio) else f"{value:.2f}"
    return f"{shown} of {judged.base}" if judged.base else shown


def _verdict(judged: Judged) -> str:
    return "met" if judged.is_met else "not met"


def write_report(path: Path, results: Mapping[str, Measured], circumstances: Mapping[str, Any]) -> None:
    """Writes the report: the page, and beside it the page of scenarios with their charts. Earlier charts go."""
    charts = path.parent / path.stem
    charts.mkdir(parents=True, exist_ok=True)
    for old in charts.glob("*.svg"):
        old.unlink()
    drawn = {name: chart for name, measured in results.items() if (chart := plot(measured)) is not None}
    for name, chart in drawn.items():
        (charts / f"{name}.svg").write_text(chart)
    medians = {name: _medians(measured) for name, measured in results.items()}
    figures = {"circumstances": circumstances, "medians": medians}
    (charts / FIGURES.name).write_text(json.dumps(figures, indent=1) + "\n")
    scenarios = charts / SCENARIOS
    _write(path, _document(results, circumstances, f"{charts.name}/{SCENARIOS}"))
    _write(scenarios, _scenarios(results, circumstances, drawn, f"../{path.name}"))


def _write(path: Path, lines: Iterator[str]) -> None:
    path.write_text("\n".join(lines).rstrip() + "\n")


def _medians(measured: Measured) -> dict[str, dict[str, float]]:
    counts_jobs = bool(measured.params["jobs"])
    wanted = dict.fromkeys((*(_ALWAYS if counts_jobs else ()), *measured.case.figures))
    return {
        side: {figure: round(value, 4) for figure in wanted if not math.isnan(value := measured.median(side, figure))}
        for side in measured.sides()
    }


def _document(results: Mapping[str, Measured], circumstances: Mapping[str, Any], scenarios: str) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    kind = "short rounds, for a look: read them as rough" if circumstances["quick"] else "rounds"
    yield (
        f"Made by `python -m benchmarks --report` on {circumstances['date']}: {circumstances['rounds']} {kind}. "
        f"[Every scenario]({scenarios}); [how it measures](../benchmarks/README.md); "
        "[what it means at scale](scale.md)."
    )
    yield ""
    yield from _setting(circumstances)
    yield ""
    yield _CAVEATS
    yield ""
    yield from _targets(results)
    yield from _field(circumstances["peers"])


def _scenarios(
    results: Mapping[str, Measured], circumstances: Mapping[str, Any], drawn: Mapping[str, str], report: str
) -> Iterator[str]:
    yield "# Scenarios"
    yield ""
    yield f"What was measured on {circumstances['date']}, scenario by scenario. [How to read it]({report})."
    yield ""
    for name, measured in results.items():
        title = measured.case.title
        yield f"## {title[0].upper()}{title[1:]}"
        yield ""
        if name in drawn:
            yield f"![{title}]({name}.svg)"
            yield ""
        yield from markdown_of(measured)
        yield ""


def _setting(circumstances: Mapping[str, Any]) -> Iterator[str]:
    packages = ", ".join(circumstances["packages"])
    yield f"* {circumstances['library']} on {circumstances['python']}; {packages}"
    yield f"* {circumstances['server']}, on the same machine"
    yield f"* {circumstances['processor']}; {circumstances['system']}; load average at the end {circumstances['load']}"


def _targets(results: Mapping[str, Measured]) -> Iterator[str]:
    rows = list(target_rows(results))
    if not rows:
        return
    yield "## Targets"
    yield ""
    yield "| what | side | target | measured | |"
    yield "| --- | --- | --: | --: | --- |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
    missed: dict[str, list[Judged]] = {}
    for judged in judge(results):
        if not judged.is_met:
            missed.setdefault(judged.target.limit or judged.target.what, []).append(judged)
    if not missed:
        return
    yield "### Not reached, and what the limit is"
    yield ""
    for limit, judgements in missed.items():
        shown = "; ".join(f"{judged.target.what}, {judged.side}: {_shown(judged)}" for judged in judgements)
        yield f"* {shown}. {limit if limit != judgements[0].target.what else 'Not looked into.'}"
    yield ""


def _field(peers: Mapping[str, str]) -> Iterator[str]:
    if not peers:
        return
    yield "## The field"
    yield ""
    yield "Each in an environment of its own, with the settings that its documentation recommends for speed."
    yield ""
    yield "| | versions | settings | a job that runs when its worker is killed |"
    yield "| --- | --- | --- | --- |"
    for name, versions in peers.items():
        peer = PEERS[name]
        yield f"| {name} | {versions} | {peer.settings} | {peer.keeps} |"
