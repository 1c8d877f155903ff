"""The simulated shard obeys the laws that every queue obeys, and what can be checked by hand comes out as it must."""

from __future__ import annotations

import dataclasses
import math
import zlib

import pytest

from benchmarks.macro.meter import Probe
from benchmarks.scale.capacity import WAYS, Figures
from benchmarks.scale.commands import CommandCosts, fit, measure_costs
from benchmarks.scale.findings import (
    FLEETS,
    Trouble,
    breaks_table,
    commands_table,
    fleet_table,
    limits_table,
    outages_table,
    shards_table,
    spread_table,
    waits_table,
)
from benchmarks.scale.fleet import observe
from benchmarks.scale.keys import busiest_share, largest_share, shards_for
from benchmarks.scale.limits import Study
from benchmarks.scale.simulation.core import Core, Request
from benchmarks.scale.simulation.shard import SECOND, Load, simulate, workers_for
from benchmarks.scale.simulation.timeline import Timeline
from benchmarks.scale.simulation.waits import Waits
from benchmarks.scale.simulation.worker import Handlers
from tests.conftest import have
from tests.servers import RedisServer, ensure

COSTS = CommandCosts(turn=8, cold=0, add=5, row=2, read=15, entry=2, wake=7, write=11, start=0, end=2)
SHORT = Handlers(duration=10_000.0, vary=False)


class Client:
    """Somebody who sends requests and notes what comes back."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str, object]] = []

    def answered(self, time: float, request: Request) -> None:
        self.seen.append((time, "answered", request.rows))

    def received(self, time: float, groups: list[tuple[float, int]]) -> None:
        self.seen.append((time, "received", groups))

    def lost(self, time: float, request: Request) -> None:
        self.seen.append((time, "lost", request.rows or request.count))


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


# -- the pieces ----------------------------------------------------------------------------------------------------


def test_what_is_due_first_happens_first_and_what_was_planned_first_too(timeline: Timeline) -> None:
    seen: list[tuple[float, str]] = []
    for time, name in ((3.0, "c"), (1.0, "a"), (3.0, "d"), (2.0, "b"), (9.0, "never")):
        timeline.at(time, lambda now, what: seen.append((now, what)), name)
    timeline.run(9.0)
    assert seen == [(1.0, "a"), (2.0, "b"), (3.0, "c"), (3.0, "d")]


def test_quantiles_are_those_of_what_was_recorded() -> None:
    waits = Waits()
    assert math.isnan(waits.quantile(0.5))
    for wait in range(1, 101):
        waits.record(2_000.0 + wait * 1_000, 2_000.0)
    assert waits.quantile(0.5) == pytest.approx(50_000, rel=0.02)
    assert waits.quantile(0.99) == pytest.approx(99_000, rel=0.02)
    assert (waits.longest, waits.late_until) == (100_000, 0)
    waits.record(5e6, 1e6, jobs=3)
    assert (waits.longest, waits.late_until) == (4e6, 5e6)
    waits.clear()
    assert math.isnan(waits.quantile(0.5))


def test_a_turn_serves_all_who_came_and_answers_at_its_end(timeline: Timeline) -> None:
    core, client = Core(timeline, COSTS, way=50), Client()
    core.send(0.0, Request(client, 0.0, rows=1))  # a turn of 8 + 5 + 2: from 50 to 65
    core.send(5.0, Request(client, 5.0, rows=10))  # both in the next turn, of 8 + 2 * 5 + 11 * 2
    core.send(10.0, Request(client, 10.0, rows=1))
    timeline.run(1_000)
    assert client.seen == [(115.0, "answered", 1), (155.0, "answered", 10), (155.0, "answered", 1)]
    assert (core.waiting, core.busy) == (12, 55)


def test_a_blocked_read_gets_the_first_job_at_once_and_the_next_read_the_rest(timeline: Timeline) -> None:
    core, reader, producer = Core(timeline, COSTS, way=0), Client(), Client()
    core.send(0.0, Request(reader, 0.0, count=100))
    core.send(100.0, Request(producer, 100.0, rows=5))
    timeline.run(1_000)
    assert reader.seen == [(100.0 + 8 + 5 + 5 * 2 + 7 + 2, "received", [(100.0, 1)])]
    core.send(1_000.0, Request(reader, 1_000.0, count=3))
    timeline.run(2_000)
    assert reader.seen[-1] == (1_000.0 + 8 + 15 + 3 * 2, "received", [(100.0, 3)])
    assert core.waiting == 1


def test_whoever_talks_to_a_server_that_is_away_is_told(timeline: Timeline) -> None:
    core, reader, producer = Core(timeline, COSTS, way=10, away=(1_000, 2_000)), Client(), Client()
    core.send(0.0, Request(reader, 0.0, count=1))
    core.send(1_500.0, Request(producer, 1_500.0, rows=4))
    core.send(2_500.0, Request(producer, 2_500.0, rows=6))
    timeline.run(5_000)
    assert reader.seen == [(1_000.0, "lost", 1)]
    assert producer.seen[0] == (1_520.0, "lost", 4)
    assert [what for _, what, _ in producer.seen] == ["lost", "answered"]
    assert core.waiting == 6


def test_a_straight_line_is_found_again() -> None:
    assert fit({size: 20 + 2.5 * size for size in (1, 4, 16, 64, 256)}) == pytest.approx((20, 2.5))
    assert fit({1: 1.0, 256: 512.0})[0] == 0, "nothing costs less than nothing"


# -- shards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 20])
@pytest.mark.parametrize("events", [False, True])
def test_what_comes_in_goes_out(group: int, events: bool) -> None:
    handlers = dataclasses.replace(SHORT, events=events)
    load = Load(5_000, workers_for(5_000, handlers) + 1, group, handlers, seconds=4)
    outcome = simulate(load, COSTS, seed=1)
    assert outcome.ended == pytest.approx(20_000, rel=0.1)
    assert outcome.left < group * 5
    assert 0 < outcome.busy < 1
    assert outcome.busy == pytest.approx(outcome.redis_us * outcome.ended / 4 / SECOND)
    # Little's law: jobs that run = rate * duration.
    running = outcome.slots_busy * load.workers * handlers.concurrency
    assert running == pytest.approx(outcome.ended / 4 * handlers.duration / SECOND, rel=0.15)


def test_the_same_seed_gives_the_same_outcome_and_another_one_another() -> None:
    load = Load(3_000, 4)
    first, again, other = (simulate(load, COSTS, seed) for seed in (1, 1, 2))
    assert first.redis_us == again.redis_us
    assert first.waits.quantile(0.9) == again.waits.quantile(0.9)
    assert first.redis_us != other.redis_us


def test_a_lone_job_costs_what_its_commands_cost() -> None:
    """Rare jobs that travel alone: an add, a read that was blocked and the next one, a write of one end."""
    outcome = simulate(Load(20, 1, handlers=SHORT, seconds=50), COSTS, seed=3)
    alone = (8 + 5 + 2 + 7 + 2) + (8 + 15) + (8 + 11 + 2)
    assert outcome.redis_us == pytest.approx(alone, rel=0.05)
    assert outcome.per_read == outcome.per_end == 1.0
    assert outcome.waits.quantile(0.5) < 1_000, "a few ways and turns, microseconds"


def test_too_few_workers_let_the_queue_grow() -> None:
    enough, few = (simulate(Load(4_000, workers), COSTS, seed=1) for workers in (6, 2))
    assert few.slots_busy > 0.99
    assert few.left > 4_000 > enough.longest_queue
    assert few.waits.quantile(0.99) > 10 * enough.waits.quantile(0.99)


def test_too_slow_a_core_lets_the_queue_grow() -> None:
    slow = dataclasses.replace(COSTS, row=150.0)
    outcome = simulate(Load(10_000, 20, handlers=SHORT), slow, seed=1)
    assert outcome.busy > 0.99
    assert outcome.ended < 3 * 1e6 / 150


def test_nothing_is_lost_when_the_server_is_away() -> None:
    load = Load(1_000, 4, 10, SHORT, seconds=20, core_away=(3, 8))
    outcome = simulate(load, COSTS, seed=1)
    assert outcome.refused == pytest.approx(5_000, rel=0.2)
    assert outcome.ended == pytest.approx(20_000, rel=0.1), "callers add again what was refused"
    assert outcome.left < 100
    assert outcome.waits.longest > 4.5 * SECOND
    assert 8 < outcome.late_until < 12


def test_a_backlog_is_worked_off_as_fast_as_there_are_slots() -> None:
    handlers = Handlers(duration=100_000.0)
    away = (2.0, 7.0)
    once, twice = (
        simulate(Load(1_000, workers, 10, handlers, seconds=60, workers_away=away), COSTS, seed=1) for workers in (2, 4)
    )
    assert once.longest_queue == pytest.approx(5_000, rel=0.15)
    # Two workers run 2,000 jobs a second: each second the first in the queue has waited for a second less. With four it
    # is three seconds less. Jobs are late as long as it is more than one of the five.
    assert once.late_until - 7 == pytest.approx(4.0, abs=1.0)
    assert twice.late_until - 7 == pytest.approx(4.0 / 3, abs=0.5)


# -- keys ----------------------------------------------------------------------------------------------------------


def test_the_busiest_shard_is_that_of_crc32() -> None:
    counts = [0] * 8
    for number in range(1_000):
        counts[zlib.crc32(f"customer-{number}".encode()) % 8] += 1
    assert busiest_share(1_000, 8, 0.0) == pytest.approx(max(counts) / 1_000)


def test_a_key_that_is_used_too_much_cannot_be_helped() -> None:
    assert largest_share(1_000, 1.0) == pytest.approx(1 / sum(1 / place for place in range(1, 1_001)))
    assert busiest_share(1_000, 100, 1.0) >= largest_share(1_000, 1.0)
    assert shards_for(50, 1_000, 1.0) is None


def test_more_shards_than_jobs_alone_would_need() -> None:
    number = shards_for(20, 10_000, 0.0)
    assert number is not None
    assert 20 < number < 30
    assert busiest_share(10_000, number, 0.0) <= 1 / 20


# -- tables --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study() -> Study:
    slow = {name: 8 * cost for name, cost in COSTS.to_json().items()}
    return Study(dict.fromkeys(WAYS, CommandCosts(**slow)), seed=1, seconds=0.3)


@pytest.fixture(scope="module")
def figures() -> Figures:
    cost = {"redis_us": 10.0, "client_us": 4.0, "to_redis": 200.0, "from_redis": 50.0}
    cases = {case: {"sync": cost} for way in WAYS for case in (way.added, way.ended)}
    return Figures(cases, {"waiting": 100.0, "running": 150.0}, "sync")


def test_a_core_bears_what_it_bears(study: Study, figures: Figures) -> None:
    for way in WAYS:
        limit = study.limit(way)
        assert study.bears(way, 0.8 * limit)
        assert not study.bears(way, 2 * limit)
    rows = {row[0]: row[1:] for row in limits_table(study, figures)}
    assert rows["the same, calculated (100 % busy)"] == ["50 k"] * 3


def test_what_cannot_be_borne_has_no_waiting_time(study: Study) -> None:
    heads, low, high = waits_table(study, [1_000, 1_000_000])
    assert len(heads) == len(low) == len(high)
    assert "—" not in low
    assert high[2:] == ["—"] * 6


def test_shards_are_counted_for_every_rate_and_way(study: Study) -> None:
    _, *rows = shards_table(study, keys=2_000)
    assert len(rows) == 9
    assert all(len(row) == 7 for row in rows)
    hundred_million = [row for row in rows if row[0] == "100 M"]
    assert all(row[-1] == "never enough" for row in hundred_million), "one key alone is more than a core bears"


def test_keys_that_are_used_alike_spread_better() -> None:
    _, *rows = spread_table(keys=2_000, shards=[10, 100])
    last = [float(row[-1]) for row in rows]
    assert last == sorted(last)
    assert last[0] < 2 < last[-1]


def test_what_breaks_first_stands_first(study: Study, figures: Figures) -> None:
    _, *rows = breaks_table(study, figures)
    assert rows[0][0].startswith("the events"), "at 5,000 a second"
    assert rows[-1][0].startswith("a network"), "a core that is eight times slower sends little"
    assert {len(row) for row in rows} == {4}
    assert [row[1] for row in rows if row[0].startswith("the events")] == ["—"]


def test_an_outage_has_an_end(study: Study, figures: Figures) -> None:
    away = Trouble("away", 400, {"core_away": (2.0, 4.0), "seconds": 10.0})
    too_long = Trouble("away for too long", 400, {"workers_away": (2.0, 9.0), "seconds": 10.0})
    _, first, second = outages_table(study, figures, [away, too_long])
    assert float(first[2]) > 0
    assert float(first[-1]) < 5
    assert second[3].endswith(" k"), "thousands wait"
    assert second[-1] == "more than 2"


def test_each_cost_has_its_row() -> None:
    _, *rows = commands_table(dict.fromkeys(WAYS, COSTS))
    assert [float(row[1]) for row in rows] == list(COSTS.to_json().values())


# -- the real thing ------------------------------------------------------------------------------------------------


def test_costs_are_measured_on_a_server() -> None:
    binary = have(lambda: ensure("redis-8.6"))
    with RedisServer(binary, config={"enable-debug-command": "yes"}) as server:
        assert server.port is not None
        costs = measure_costs("127.0.0.1", server.port, retry_safe=True, events=True, results=True, rounds=1)
        assert not server.client.dbsize(), "the server is left empty"
    assert min(costs.row, costs.entry, costs.start, costs.end, costs.turn) > 0
    assert max(costs.to_json().values()) < 10_000


def test_a_real_fleet_can_be_held_beside_the_simulated_one() -> None:
    rate, workers, group = FLEETS[1]
    load = Load(rate / 4, workers // 2, group, seconds=2, way=10.0)
    with RedisServer(have(lambda: ensure("redis-8.6"))) as server:
        assert server.port is not None
        probe = Probe("127.0.0.1", server.port)
        real = observe(server.url, probe, load)
        probe.close()
    simulated = simulate(load, COSTS, seed=1)
    # How close they come is for docs/scale.md: a machine that stands still for a moment is no fault of anybody's.
    assert real.rate > 0
    assert real.redis_us > 0
    assert min(real.per_read, real.per_end) >= 0.9
    (heads, row) = fleet_table([(load, real, simulated)])
    assert len(heads) == len(row)
