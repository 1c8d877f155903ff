"""The pytest plug-in, in test runs of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from chasquimq import embedded
from chasquimq.errors import EmbeddedServerError

IS_INSTALLED = any(point.value == "chasquimq.pytest_plugin" for point in entry_points(group="pytest11"))

TESTS = """
    import pytest
    from chasquimq.testing import assert_enqueued, assert_not_enqueued, drain

    @pytest.mark.parametrize("number", ["first", "second [*]"])
    def test_every_test_has_an_empty_queue(queue, number):
        assert_not_enqueued(queue)
        queue.add("welcome", number)
        queue.add("later", number, delay=60_000)
        assert drain(queue, lambda job: None).completed[0].data == number

    def test_time_passes(queue, queue_clock):
        queue.add("later", 1, delay=60_000)
        queue_clock.advance(60_000)
        assert drain(queue, lambda job: None).runs == 1

    def test_an_asynchronous_program(chasquimq_url, chasquimq_queue_name):
        import anyio
        from chasquimq.aio import Queue
        from chasquimq.testing import aio

        async def program():
            async with Queue(chasquimq_queue_name, connection=chasquimq_url) as queue:
                await queue.add("welcome", 1)
                await aio.assert_enqueued(queue, "welcome")

        anyio.run(program)
"""


def run(folder: Path, tests: str, *options: str) -> str:
    import textwrap

    (folder / "test_users_own.py").write_text(textwrap.dedent(tests))
    plugin = [] if IS_INSTALLED else ["-p", "chasquimq.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *plugin, *options]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def _embedded_server() -> None:
    try:
        embedded.find_executable()
    except EmbeddedServerError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_embedded_server")
def test_without_settings_there_is_a_private_server(tmp_path):
    output = run(tmp_path, TESTS)
    assert "4 passed" in output, output


def test_the_server_can_be_named_and_is_left_as_it_was(tmp_path, redis_url, admin):
    before = set(admin.keys("*"))
    output = run(tmp_path, TESTS, "-o", f"chasquimq_url={redis_url}")
    assert "4 passed" in output, output
    assert set(admin.keys("*")) == before


def test_a_run_that_asks_for_nothing_starts_no_server(tmp_path):
    output = run(
        tmp_path,
        """
        import sys

        def test_nothing():
            assert "chasquimq.embedded" not in sys.modules
            assert "chasquimq.aio" not in sys.modules
            assert "chasquimq.testing" not in sys.modules
        """,
    )
    assert "1 passed" in output, output
