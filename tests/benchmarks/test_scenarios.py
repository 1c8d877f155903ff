"""Every scenario runs, on few jobs, and counts them; a side that loses or doubles one is void."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.macro.case import Case, Outcome, Run
from benchmarks.macro.meter import Void
from benchmarks.macro.results import figure_of
from benchmarks.macro.runner import measure
from benchmarks.macro.scenarios import ALL
from benchmarks.macro.tables import lines_of
from benchmarks.macro.tally import Tally
from benchmarks.peers import PEERS
from tests.conftest import have
from tests.servers import RedisServer, ensure, ensure_reference

CASES = {case.name: case for case in ALL}
ONLY_LARGER = {"bulk-1000", "delayed-20000", "processes-0", "processes-1"}
"""On few jobs they are the same as another case."""
EVERYWHERE = ("add", "consume")
"""On these two the other event loops are tried as well."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The floors send what the newest server knows."""
    with RedisServer(have(lambda: ensure("redis-8.6"))) as server:
        assert server.port is not None
        yield server.port


@pytest.mark.parametrize("name", [name for name in CASES if name not in ONLY_LARGER])
def test_every_side_counts_its_jobs_and_has_its_figures(name: str, port: int) -> None:
    case = CASES[name]
    flavours = ("sync", "asyncio", *(("uvloop", "trio") if name in EVERYWHERE else ()))
    measured = measure(case, port, flavours=flavours, pairs=1, size="tiny")
    assert not measured.voids
    assert not measured.missing
    assert measured.sides() == [*case.floors, *(flavour for flavour in flavours if case.has(flavour))]
    # Several processes are held against one, in the same run.
    assert case.floors or name.startswith("processes"), "a figure without its floor says little"
    for result in measured.rounds[0].values():
        assert result["jobs"] == case.tiny.get("jobs", case.params["jobs"])
        assert not any(math.isnan(figure_of(result, figure)) for figure in case.figures)
    assert len(list(lines_of(measured))) >= len(measured.sides()) + 2


@pytest.mark.interop
@pytest.mark.parametrize("name", ["bulk-50", "consume-events", "retry"])
def test_a_peer_is_measured_beside_us(name: str, port: int) -> None:
    have(ensure_reference)
    measured = measure(CASES[name], port, flavours=("sync",), peers=("reference",), pairs=1, size="tiny")
    assert not measured.voids
    ratio = measured.ratio("sync", "reference", "rate")
    assert ratio is not None
    assert ratio.median > 0


def test_a_peer_that_is_not_installed_is_named_with_the_reason(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "arq", replace(PEERS["arq"], name="nobody-installs-this"))
    measured = measure(CASES["add"], port, flavours=(), peers=("arq",), pairs=1, size="tiny")
    assert "bench-peers" in measured.missing["arq"]
    assert measured.sides() == ["bare"]


@pytest.fixture
def lying(port: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs the scenario ``add`` on a backlog that is not what the side says it added; returns why it is void."""

    def run(found: int) -> list[str]:
        from benchmarks.macro import runner

        case = replace(CASES["add"], params={"jobs": 20}, tiny={}, prepare=_fill(found))
        # A bare client that adds nothing: what is in the server is what `prepare` put there.
        monkeypatch.setattr(runner, "_run_side", lambda *_: _judge(case, port))
        return measure(case, port, flavours=(), pairs=1, size="tiny").voids

    return run


def _fill(count: int) -> Callable[..., None]:
    from benchmarks.macro.workload import fill

    return lambda host, port, queue, _params: fill(host, port, queue, count, with_group=False)


def _judge(case: Case, port: int) -> dict[str, Any]:
    from benchmarks.macro.meter import Meter, Probe
    from benchmarks.macro.runner import HOST, QUEUE

    case.prepare(HOST, port, QUEUE, case.params)
    probe = Probe(HOST, port)
    run = Run(HOST, port, QUEUE, "bare", case.params, probe, Meter(probe))
    run.meter.start()
    try:
        outcome = Outcome(run.jobs, run.added())
    except Void as verdict:
        return {"void": str(verdict)}
    finally:
        probe.close()
    return {"jobs": outcome.jobs, **outcome.cost, "figures": {}}


@pytest.mark.parametrize(("found", "is_void"), [(20, False), (19, True), (21, True)])
def test_a_producer_is_void_unless_exactly_its_jobs_are_there(
    found: int, is_void: bool, lying: Callable[..., list[str]]
) -> None:
    voids = lying(found)
    assert bool(voids) is is_void
    assert all(str(found) in void for void in voids)


class _Window:
    has_started = True


@pytest.mark.parametrize("seen", [[0, 1], [0, 1, 1], [0, 1, 2, 2]], ids=["lost", "lost and doubled", "doubled"])
def test_a_worker_is_void_that_lost_or_doubled_a_job(seen: list[int]) -> None:
    tally = _tally(seen)
    with pytest.raises(Void, match="3 jobs"):
        tally.check()


def test_a_worker_that_ran_every_job_once_is_valid() -> None:
    _tally([2, 0, 1]).check()


def _tally(seen: list[int]) -> Tally:
    run = Run("", 0, "", "", {"jobs": 3}, None, _Window())  # type: ignore[arg-type]
    tally = Tally(run, lambda: None)
    handle = tally.by_number()
    for number in seen:
        handle(number)
    return tally
