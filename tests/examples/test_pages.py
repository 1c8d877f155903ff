"""README and docs: every Python block runs, every link leads somewhere, nothing is too long to read."""

from pathlib import Path

import pytest

from .conftest import ROOT, Start, await_worker
from .markdown import Section, anchors, local_links, sections

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = [section for page in PAGES for section in sections(page)]
RUNS_UNTIL_TOLD = "handle_signals=True"


def name_of(value: Section | Path) -> str:
    if isinstance(value, Section):
        return f"{value.page.relative_to(ROOT)}:{value.title}"
    return str(value.relative_to(ROOT))


@pytest.mark.parametrize("section", PROGRAMS, ids=name_of)
def test_the_section_is_a_program_that_runs(section: Section, tmp_path: Path, start: Start, server_url: str) -> None:
    (tmp_path / "program.py").write_text(section.program, "utf-8")
    program = start("-W", "error", "program.py", folder=tmp_path, server_url=server_url)
    if RUNS_UNTIL_TOLD in section.program:
        await_worker(server_url, program)
        program.interrupt()
    code, output = program.finish()
    assert code == 0, output
    assert "Traceback" not in output


def test_there_is_something_to_run() -> None:
    assert {section.page.name for section in PROGRAMS} >= {"README.md", "deployment.md", "shutdown.md", "embedded.md"}


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
