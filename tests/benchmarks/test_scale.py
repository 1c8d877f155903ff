"""What one Redis core carries is calculated from what was measured, and sizes are measured on a server."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from benchmarks.costs.__main__ import PAGE as COSTS_PAGE
from benchmarks.report.parts import fill_in
from benchmarks.scale.__main__ import PAGE
from benchmarks.scale.capacity import BUSY, WAYS, Figures, breaking_table, core_table, needs_table, promotion_rate
from benchmarks.scale.sizes import measure_sizes
from tests.conftest import have
from tests.servers import RedisServer, ensure

SIZES = {"waiting": 100.0, "running": 150.0, "delayed": 150.0, "event": 80.0, "result": 80.0, "connection": 17_000.0}


def figures(**redis_us: float) -> Figures:
    costs = {"client_us": 4.0, "to_redis": 200.0, "from_redis": 50.0}
    medians = {case.replace("_", "-"): {"sync": {"redis_us": cost, **costs}} for case, cost in redis_us.items()}
    return Figures(medians, SIZES, "sync")


@pytest.fixture
def measured() -> Figures:
    return figures(add=20, add_100=3, bulk_1000=2, consume=6, consume_events=13, consume_results=20, delayed_20000=50)


def test_a_core_carries_what_its_time_allows(measured: Figures) -> None:
    rows = {row[0]: row[1:] for row in core_table(measured)}
    assert rows["add_bulk of 1,000"][0] == "100 k", "0.8 s of CPU by 8 µs"
    assert rows["one by one"][2] == "20 k"
    assert promotion_rate(measured) == pytest.approx(BUSY * 1e6 / 50)


def test_needs_grow_with_the_rate(measured: Figures) -> None:
    heads, *rows = needs_table(measured, [100_000, 1_000_000])
    cores = [int(row[heads.index("Redis cores")].replace(",", "")) for row in rows]
    assert cores == [1, 2, 5, 10, 20, 50]
    backlog = rows[0][-1]
    assert float(backlog) == pytest.approx(100_000 * 600 * 100 / 2**30, rel=0.1)


def test_the_events_stream_holds_seconds_at_the_limit(measured: Figures) -> None:
    rows = {row[0]: row[1:] for row in breaking_table(measured)}
    history = next(cells for name, cells in rows.items() if name.startswith("history"))
    assert history[0] == "—", "without events there is no history"
    assert float(history[1]) == pytest.approx(1.0), "50,000 jobs at 50,000 a second"


def test_what_was_not_measured_is_said(measured: Figures) -> None:
    assert math.isnan(figures(add=20).of("consume", "redis_us"))
    rows = {row[0]: row[1:] for row in core_table(figures(add=20, consume=5))}
    assert rows["one by one"] == ["32 k", "not measured", "not measured"]
    assert rows["100 in flight"] == ["not measured"] * 3
    assert all(way.added and way.ended for way in WAYS)


def test_sizes_are_those_of_the_server() -> None:
    with RedisServer(have(lambda: ensure("redis-8.6"))) as server:
        assert server.port is not None
        sizes = measure_sizes("127.0.0.1", server.port, jobs=2_000)
        assert not server.client.dbsize(), "the server is left empty"
    assert 40 < sizes.waiting < 200
    assert 50 < sizes.running < 400
    assert sizes.delayed > sizes.waiting, "a sorted set costs more than a stream"
    assert min(sizes.to_json().values()) > 10


@pytest.mark.parametrize("page", [PAGE, COSTS_PAGE], ids=lambda page: page.stem)
def test_what_is_calculated_stands_on_the_page(page: Path) -> None:
    parts = re.findall(r"<!-- calculated: \w+ -->(.*?)<!-- end -->", page.read_text(), re.DOTALL)
    assert parts
    assert all(part.strip() for part in parts)


def test_the_page_has_a_place_for_every_part(tmp_path: Path) -> None:
    page = PAGE.read_text()
    names = ["source", "core", "needs", "breaking", "sizes", "promotion"]
    names += ["commands", "fleets", "limits", "waits", "spread", "shards", "outages", "breaks"]
    filled = fill_in(page, {name: f"({name} goes here)" for name in names})
    assert all(f"({name} goes here)" in filled for name in names)
    assert fill_in(filled, {name: f"({name} goes here)" for name in names}) == filled
