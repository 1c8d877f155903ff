"""Everything fails at once, and nothing is lost; ``make chaos`` is the long form (tests/faults/chaos)."""

from pathlib import Path

import pytest

from tests.faults.chaos.run import run
from tests.faults.chaos.schedule import CAST, SERVER, Step, draw_schedule
from tests.servers import ServerBinary

FIXED_SEED = 25
"""Its server is killed, emptied, filled, demoted, frozen and cut off."""
SECONDS = 9.0


def test_chaos(server_binary: ServerBinary, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(FIXED_SEED, SECONDS, tmp_path, server_binary)
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.breaches, f"again: make chaos SEED={FIXED_SEED} MINUTES={SECONDS / 60}"
    assert report.reckoning.numbers["acknowledged"]
    assert report.reckoning.numbers["promoted"]


def test_a_schedule_is_a_matter_of_its_seed() -> None:
    assert draw_schedule(1, 60) == draw_schedule(1, 60)
    assert draw_schedule(1, 60) != draw_schedule(2, 60)
    assert [step.at_ms for step in draw_schedule(1, 60)] == sorted(step.at_ms for step in draw_schedule(1, 60))


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_stopped_goes_on_again(seed: int) -> None:
    stopped: dict[str, Step] = {}
    begins = {"start": ("kill", "lose", "stop"), "resume": ("pause",), "empty": ("fill",), "promote": ("demote",)}
    ends = {stop: start for start, stops in begins.items() for stop in stops}
    for step in draw_schedule(seed, 300):
        assert step.target in (SERVER, *CAST)
        if step.action in begins:
            assert stopped.pop(step.target).action in begins[step.action]
        else:
            assert step.target not in stopped
            if step.action in ends:
                stopped[step.target] = step
    assert not stopped
