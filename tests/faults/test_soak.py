"""F15: nothing grows with the work that is done; ``make soak`` is the long form (tests/faults/soak)."""

from pathlib import Path

import pytest

from tests.faults.soak.books import (
    MIB,
    SPARE,
    SPARE_CONNECTIONS,
    Life,
    Sample,
    ServerSample,
    growth_of,
    server_book,
)
from tests.faults.soak.stage import run
from tests.servers import ServerBinary

SECONDS = 20.0
HOUR = 3_600.0
PER_SECOND = 1_000


def test_f15_soak(server_binary: ServerBinary, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(0, SECONDS, tmp_path, server_binary)
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.breaches


def life(*, leak: float = 0.0, fds: float = 0.0, threads: float = 0.0, jobs: int = PER_SECOND) -> Life:
    """An hour of a process: a steep warm-up of ten minutes, 3 MiB up and down, and what leaks for each job."""
    lived = Life("worker")
    for second in range(int(HOUR)):
        done = second * jobs
        noise = (second % 7) * MIB / 2
        memory = int(20 * MIB + min(second, 600) * MIB / 10 + noise + leak * done)
        lived.samples.append(Sample(second, memory, int(9 + fds * second), int(4 + threads * second)))
        lived.stands.append((second, done))
    return lived


def breaches(lived: Life) -> str:
    return "; ".join(growth_of(lived, 0, HOUR).breaches())


def test_a_warm_up_and_noise_are_no_leak() -> None:
    growth = growth_of(life(), 0, HOUR)
    assert growth.breaches() == []
    assert growth.after == growth.before
    assert growth.jobs == PER_SECOND * (HOUR - 1)


@pytest.mark.parametrize("leak", [8.0, 16.0, 500.0])
def test_a_few_bytes_per_job_are_found(leak: float) -> None:
    growth = growth_of(life(leak=leak), 0, HOUR)
    assert growth.bytes_per_job == pytest.approx(leak, rel=0.01)
    assert "has grown by" in breaches(life(leak=leak))


def test_what_is_lost_by_the_hour_is_found() -> None:
    assert breaches(life(fds=6 * SPARE / HOUR)).startswith("worker had up to")
    assert "threads" in breaches(life(threads=6 * SPARE / HOUR))
    assert breaches(life(fds=SPARE / HOUR, threads=SPARE / HOUR)) == ""


def test_who_does_nothing_proves_nothing() -> None:
    assert breaches(life(jobs=0)) == "worker did nothing"
    idle = life(jobs=0)
    idle.counts = False
    assert breaches(idle) == ""


def test_who_was_not_looked_at_proves_nothing() -> None:
    with pytest.raises(ValueError, match="not looked at"):
        growth_of(Life("worker"), 0, HOUR)


def test_a_server_that_keeps_something_is_found() -> None:
    looks = [ServerSample(second, int(50 * MIB), 30) for second in range(int(HOUR))]
    assert server_book(looks, 0, HOUR, int(MIB), int(2 * MIB)).breaches() == []
    (kept,) = server_book(looks, 0, HOUR, int(MIB), int(8 * MIB)).breaches()
    assert "the emptied server holds 8,192 KiB" in kept


def test_connections_that_are_left_by_the_dead_are_found() -> None:
    leak = 6 * SPARE_CONNECTIONS / HOUR
    looks = [ServerSample(second, 0, int(30 + leak * second)) for second in range(int(HOUR))]
    (left,) = server_book(looks, 0, HOUR, 0, 0).breaches()
    assert "connections" in left
