"""What the tests take for a program on a page; above all, that no Python block is passed over by accident."""

from pathlib import Path

import pytest

from .markdown import Program, programs

FENCE = "```"


def read(tmp_path: Path, *lines: str) -> list[Program]:
    page = tmp_path / "page.md"
    page.write_text("\n".join(lines) + "\n", "utf-8")
    return list(programs(page))


def test_the_blocks_of_a_section_are_one_program(tmp_path: Path) -> None:
    found = read(
        tmp_path, "# A", f"{FENCE}python", "a = 1", FENCE, "and", f"{FENCE}python", "a += 1", FENCE, "## B",
        f"{FENCE}python", "b = 1", FENCE,
    )  # fmt: skip
    assert [(program.section, program.text) for program in found] == [("A", "a = 1\n\na += 1\n"), ("B", "b = 1\n")]


def test_each_tab_is_a_program_with_what_stands_outside(tmp_path: Path) -> None:
    found = read(
        tmp_path, f"{FENCE}python", "before", FENCE,
        '=== "sync"', "", f"    {FENCE}python", "    s", "", "        t", f"    {FENCE}", "",
        '=== "aio"', "", f"    {FENCE}python", "    a", f"    {FENCE}", "",
        "text", f"{FENCE}python", "after", FENCE,
    )  # fmt: skip
    assert {program.variant: program.text for program in found} == {
        "sync": "before\n\ns\n\n    t\n\nafter\n",
        "aio": "before\n\na\n\nafter\n",
    }


def test_an_anyio_program_runs_on_trio_too(tmp_path: Path) -> None:
    on_asyncio, on_trio = read(tmp_path, f"{FENCE}python", "anyio.run(main)  # or", FENCE)
    assert on_asyncio.text == "anyio.run(main)  # or\n"
    assert on_trio.text == 'anyio.run(main, backend="trio")  # or\n'


def test_a_section_says_what_its_programs_print(tmp_path: Path) -> None:
    (program,) = read(
        tmp_path, f"{FENCE}python", "print(1)", FENCE, f'{FENCE}text title="Output"', "1", FENCE, "## no program here"
    )
    assert program.output == "1\n"


def test_other_languages_and_other_libraries_are_not_run(tmp_path: Path) -> None:
    assert not read(
        tmp_path, f"{FENCE}console", "x", FENCE, f'{FENCE}python title="Celery"', "app = Celery()", FENCE,
        f"{FENCE}text", "x", FENCE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "opening",
    [f"{FENCE}py", f'{FENCE}python title="not now"', f"{FENCE}python norun", f"{FENCE} python", f"{FENCE}{{.python}}"],
)
def test_a_block_that_would_be_passed_over_is_an_error(opening: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        read(tmp_path, opening, "a = 1", FENCE)


def test_a_block_without_an_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="has no end"):
        read(tmp_path, f"{FENCE}python", "a = 1")
