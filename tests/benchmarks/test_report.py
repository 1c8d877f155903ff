"""The report says what was measured, what is not reached and why, and can be made again over itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.macro.results import Measured
from benchmarks.macro.scenarios import case_named
from benchmarks.macro.targets import TARGETS, judge
from benchmarks.report.circumstances import merged
from benchmarks.report.document import SCENARIOS, target_rows, write_report
from benchmarks.report.svg import WIDTH, Row, bars, ranges

CIRCUMSTANCES: Mapping[str, Any] = {
    "date": "2026-01-02",
    "rounds": 2,
    "quick": True,
    "python": "CPython 3.11",
    "system": "Linux",
    "processor": "a processor, 2 cores",
    "load": 0.1,
    "server": "Redis 8.6.3",
    "library": "chasquimq (cython)",
    "packages": ["hiredis 3"],
    "peers": {"reference": "chasquimq 1.3.0", "rq": "not measured: there is no rq"},
}


def result(rate: float, *, jobs: int = 1000, **figures: float) -> dict[str, Any]:
    return {
        "jobs": jobs,
        "wall_s": jobs / rate,
        "client_cpu_s": 0.01,
        "redis_cpu_s": 0.005,
        "queued_s": 0.0,
        "rss_kib": 1,
        "to_redis_bytes": 100_000,
        "from_redis_bytes": 50_000,
        "figures": figures,
    }


def measured(case: str, *rounds: dict[str, dict[str, Any]]) -> Measured:
    found = case_named(case)
    return Measured(found, found.params, list(rounds))


@pytest.fixture
def results() -> dict[str, Measured]:
    consume = measured(
        "consume",
        {"bare": result(1000), "sync": result(900), "asyncio": result(500), "reference": result(100)},
        {"bare": result(2000), "sync": result(1700), "asyncio": result(900), "reference": result(200)},
    )
    consume.voids.append("trio, round 1: only 3 of 1000 jobs were handled")
    latency = {
        side: result(10, p50_ms=p50, p99_ms=2 * p50, max_ms=3 * p50)
        for side, p50 in {"bare": 0.1, "sync": 0.4, "reference": 0.8, "huey": 0.5, "rq": 2.0}.items()
    }
    return {"consume": consume, "latency": measured("latency", latency, latency)}


def test_ratios_are_those_of_the_same_round(results: dict[str, Measured]) -> None:
    ratio = results["consume"].ratio("sync", "bare", "rate")
    assert ratio is not None
    assert (ratio.lowest, ratio.median, ratio.highest) == pytest.approx((0.85, 0.875, 0.9))


def test_a_target_is_met_or_not_by_its_median(results: dict[str, Measured]) -> None:
    rows = {(what, side): (shown, verdict) for what, side, _, shown, verdict in target_rows(results)}
    what = "consume without events ÷ bare read and ack"
    assert rows[what, "sync"][1] == "met"
    assert rows[what, "asyncio"] == ("0.47 (0.45 to 0.50)", "not met")
    assert (what, "trio") not in rows, "what was not measured is not judged"


def test_the_field_is_its_best(results: dict[str, Measured]) -> None:
    judged = [found for found in judge(results) if found.target.case == "latency" and found.target.figure == "p50_ms"]
    assert [(found.side, found.base) for found in judged] == [("sync", "huey")]
    assert not judged[0].is_met, "0.4 ms is more than 0.7 times 0.5 ms"


def test_every_target_names_figures_that_its_case_has() -> None:
    for target in TARGETS:
        case = case_named(target.case)
        assert target.figure in case.figures, target.what
        assert all(case.has(side) for side in target.sides), target.what


def test_the_report_says_what_is_not_reached_and_what_is_void(results: dict[str, Measured], tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_report(page, results, CIRCUMSTANCES)
    text, scenarios = page.read_text(), (page.with_suffix("") / SCENARIOS).read_text()
    assert "2026-01-02" in text
    assert "(benchmarks/scenarios.md)" in text
    assert "rough" in text, "a quick run says that it was one"
    assert "Not reached, and what the limit is" in text
    assert "only 3 of 1000 jobs were handled" in scenarios
    assert "there is no rq" in text
    assert "![consume, no-op handler, no events](consume.svg)" in scenarios
    assert "(../benchmarks.md)" in scenarios
    assert sorted(chart.name for chart in page.with_suffix("").glob("*.svg")) == ["consume.svg", "latency.svg"]


def test_a_report_made_again_leaves_nothing_of_the_earlier_one(results: dict[str, Measured], tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_report(page, results, CIRCUMSTANCES)
    scenarios = page.with_suffix("") / SCENARIOS
    first = page.read_text(), scenarios.read_text()
    write_report(page, results, CIRCUMSTANCES)
    assert (page.read_text(), scenarios.read_text()) == first
    del results["latency"]
    write_report(page, results, CIRCUMSTANCES)
    assert "latency" not in page.read_text() + scenarios.read_text()
    assert [chart.name for chart in page.with_suffix("").glob("*.svg")] == ["consume.svg"]
    figures = json.loads((page.with_suffix("") / "figures.json").read_text())
    assert set(figures["medians"]) == {"consume"}
    assert figures["medians"]["consume"]["sync"]["to_redis"] == 100


def document(*cases: str, **changes: Any) -> dict[str, Any]:
    return {"circumstances": {**CIRCUMSTANCES, **changes}, "cases": [{"case": case, "of": changes} for case in cases]}


def test_runs_made_in_turns_are_one_report_and_the_last_run_of_a_scenario_counts() -> None:
    first = document("consume", "add", peers={"rq": "rq 2"}, load=0.1)
    later = document("consume", peers={"arq": "arq 1"}, load=0.7)
    together = merged([first, later])
    assert together["circumstances"]["peers"] == {"rq": "rq 2", "arq": "arq 1"}
    assert together["circumstances"]["load"] == 0.7
    assert [case["case"] for case in together["cases"]] == ["add", "consume"]
    assert together["cases"][1]["of"]["load"] == 0.7
    assert merged([first])["cases"] == [first["cases"][1], first["cases"][0]]


def test_runs_made_in_different_ways_are_no_one_report() -> None:
    with pytest.raises(SystemExit, match="differ in: rounds, quick"):
        merged([document("add"), document("consume", rounds=5, quick=False)])


def test_runs_survive_the_way_through_a_file(results: dict[str, Measured]) -> None:
    stored = json.loads(json.dumps([found.to_json() for found in results.values()]))
    again = {found["case"]: Measured.from_json(found) for found in stored}
    assert list(target_rows(again)) == list(target_rows(results))


def drawn(chart: str) -> tuple[set[str | None], list[float]]:
    """The texts of a chart and the horizontal places of what it draws."""
    root = ElementTree.fromstring(chart)  # noqa: S314 - our own
    elements = list(root.iter())
    texts = {element.text for element in elements if element.tag.endswith("text")}
    return texts, [float(element.get(name, 0)) for element in elements for name in ("x", "width", "cx", "x2")]


def test_bars_show_every_row_and_stay_inside() -> None:
    rows = [Row("a < b", "ours", (5.0, 4.0, 6.0), "five"), Row("floor", "floor", (0.0, 0.0, 0.0), "nothing")]
    texts, places = drawn(bars("A & B", "jobs/s", rows))
    assert {"A & B", "jobs/s", "a < b", "five", "floor", "nothing"} <= texts
    assert all(0 <= place <= WIDTH for place in places)


def test_ranges_show_every_row_and_stay_inside() -> None:
    rows = [Row("slow", "peer", (70.0, 900.0), "70 / 900"), Row("fast", "ours", (0.02, 0.2), "0.02 / 0.2")]
    texts, places = drawn(ranges("C", "ms", rows))
    assert {"slow", "fast", "70 / 900", "0.01", "1 k"} <= texts
    assert all(0 <= place <= WIDTH for place in places)
