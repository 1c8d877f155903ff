"""The demo tells its whole story with each kind of worker, and ends cleanly whenever it is told to."""

import re
import signal
import time

import pytest

from .conftest import Start

STOPPED = "Stopped by Ctrl-C"


@pytest.mark.parametrize("flavour", ["trio", "all"])
def test_the_demo_runs_to_its_closing_table(flavour: str, start: Start) -> None:
    code, output = start("-m", "examples.demo", flavour, "--files", "80").finish()
    assert code == 0, output
    flavours = ["sync", "asyncio", "trio"] if flavour == "all" else [flavour]
    for name in flavours:
        assert re.search(rf"^  {name} +100 %", output, re.MULTILINE), output
    table = dict(re.findall(r"^  ([a-z][a-z ]+?)  +([\d,. ]+)$", output, re.MULTILINE))
    jobs, dead, after, results = (
        numbers(table[row]) for row in ("jobs", "dead letters", "dead letters after replay", "results collected")
    )
    assert len(jobs) == len(flavours)
    for position in range(len(flavours)):
        assert results[position] == jobs[position] - after[position]
        assert after[position] <= dead[position]
    assert numbers(table["replayed"]) == dead
    assert "The largest modules" in output


def numbers(cells: str) -> list[int]:
    return [int(cell.replace(",", "")) for cell in cells.split()]


@pytest.mark.parametrize("flavour", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("moment", ["added", " ended, ", "bug is repaired"])
def test_ctrl_c_ends_the_demo_with_a_message(flavour: str, moment: str, start: Start) -> None:
    demo = start("-m", "examples.demo", flavour, "--files", "250")
    demo.read_until(moment)
    interrupted_at = time.monotonic()
    demo.interrupt()
    code, output = demo.finish()
    assert STOPPED in output
    assert "Traceback" not in output
    # Python itself may end by the signal, where the interrupted code ran under exec().
    assert code in (130, -signal.SIGINT)
    assert time.monotonic() - interrupted_at < 10


def test_ctrl_c_during_the_imports(start: Start) -> None:
    demo = start("-v", "-m", "examples.demo", "sync")
    demo.read_until("import 'examples.demo'")
    demo.read_until("import 'chasquimq.errors'")
    demo.interrupt()
    _, output = demo.finish()
    assert STOPPED in output


def test_an_unreachable_server_is_told_in_one_sentence(start: Start) -> None:
    code, output = start("-m", "examples.demo", "sync", server_url="redis://127.0.0.1:1/0").finish()
    assert code == 1
    assert "The demo cannot go on. Cannot connect to redis://127.0.0.1:1/0" in output
    assert "Traceback" not in output
