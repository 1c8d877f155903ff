"""Each file in examples/ runs as it says, with a server that it finds by itself, and prints what it should.

Those that run until they are told to end are tested in ``test_services.py`` and ``test_polyglot.py``.
"""

import pytest

from .conftest import ROOT, Start

SERVICES = {"cron_service.py", "fastapi_app.py"}
EXPECTED = {
    "quickstart_sync.py": ["added welcome", "result: welcome, ada@example.com"],
    "quickstart_async.py": ["added welcome", "result: welcome, ada@example.com"],
    "quickstart_async.py trio": ["added welcome", "result: welcome, ada@example.com"],
    "email_queue.py": [
        "failed: bob@example.org in run 1: example.org does not take our mail",
        "failed: ada@busy.example in run 2: the mail server is busy",
        "sent to ada@busy.example in run 3",
        "dead letter: welcome to bob@example.org, unrecoverable",
        "replayed: 1",
        "sent to bob@example.org in run 1",
        "dead letters left: 0",
    ],
    "results.py": ["waited for: 3.1429", "asked for:  3.1429", "unknown id: None", "no result:  no result of job"],
    "delayed.py": [
        "cancelled: 1",
        "again: job 'reminder-42' is not a waiting delayed job",
        ": half a second is over",
        ": it is time",
    ],
    "idempotent.py": [
        "first is a duplicate:  False",
        "second is a duplicate: True",
        "added by the bulk:     ['invoice-2024-18']",
        "invoice-2024-17: paid, amount 120",
        "invoice-2024-18: paid, amount 80",
    ],
    "trio_program.py": [
        "slow.example is tried again in 50 ms",
        "slow.example is done after 2 run(s)",
        "redis.example is done after 1 run(s)",
        "slow.example has 12 letters",
        "the end",
    ],
}
MAX_LINES = 80


def test_every_example_is_run() -> None:
    files = {path.name for path in (ROOT / "examples").glob("*.py")} - {"__init__.py"}
    assert files == {command.split()[0] for command in EXPECTED} | SERVICES


def test_every_example_is_listed_for_readers() -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    for name in (*EXPECTED, *SERVICES, "polyglot/README.md"):
        assert f"](examples/{name.split()[0]})" in page, name


@pytest.mark.parametrize("command", EXPECTED)
def test_the_example_runs(command: str, start: Start) -> None:
    name, *arguments = command.split()
    code, output = start(f"examples/{name}", *arguments).finish()
    assert code == 0, output
    missing = [line for line in EXPECTED[command] if line not in output]
    assert not missing, output
    assert "never to be seen" not in output


@pytest.mark.parametrize("name", sorted({command.split()[0] for command in EXPECTED}))
def test_the_example_uses_the_server_it_is_given(name: str, start: Start, server_url: str) -> None:
    code, output = start(f"examples/{name}", server_url=server_url).finish()
    assert code == 0, output


@pytest.mark.parametrize("name", sorted({command.split()[0] for command in EXPECTED} | SERVICES))
def test_the_example_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (ROOT / "examples" / name).read_text("utf-8")
    assert len(text.splitlines()) < MAX_LINES
    assert f"    python examples/{name}" in text
