"""README and docs: every Python block runs, every link leads somewhere, nothing is too long to read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from chasquimq import embedded

from .conftest import ROOT, Start, await_worker
from .markdown import Program, anchors, local_links, programs

PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "examples/polyglot/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PROGRAMS = [program for page in PAGES for program in programs(page)]
RUNS_UNTIL_TOLD = "handle_signals=True"


def name_of(value: Program | Path) -> str:
    if isinstance(value, Program):
        variant = f" ({value.variant})" if value.variant else ""
        return f"{value.page.relative_to(ROOT)}:{value.section}{variant}"
    return str(value.relative_to(ROOT))


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all programs."""
    with embedded.server(tmp_path_factory.mktemp("pages") / "server") as url:
        yield url


@pytest.fixture
def empty_url(shared_url: str) -> str:
    """The server, without what the last program left."""
    with redis.Redis.from_url(shared_url) as client:
        client.flushall()
    return shared_url


@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_the_section_is_a_program_that_runs(program: Program, tmp_path: Path, start: Start, empty_url: str) -> None:
    (tmp_path / "program.py").write_text(program.text, "utf-8")
    log = tmp_path / "stderr"
    running = start("-W", "error", "program.py", folder=tmp_path, server_url=empty_url, errors=log)
    if RUNS_UNTIL_TOLD in program.text:
        await_worker(empty_url, running, "blpop" if "Scheduler(" in program.text else "xreadgroup")
        running.interrupt()
    code, output = running.finish()
    told = log.read_text("utf-8")
    assert code == 0, output + told
    assert "Traceback" not in told
    assert output == program.output or program.output is None


def test_there_is_something_to_run() -> None:
    pages = {program.page.name for program in PROGRAMS}
    assert pages >= {"README.md", "getting-started.md", *(path.name for path in (ROOT / "docs" / "guides").iterdir())}
    assert sum(program.output is not None for program in PROGRAMS) > 20


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_lead_somewhere(page: Path) -> None:
    for link in local_links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{link} in {page.name}"
        assert not anchor or anchor in anchors(file), f"{link} in {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_page_is_not_too_long(page: Path) -> None:
    assert len(page.read_text("utf-8").splitlines()) <= 400
