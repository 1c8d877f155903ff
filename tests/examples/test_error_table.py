"""The table in docs/reference/errors.md is the code's: every class, its builtin base, and something to do about it."""

import builtins
import re

from chasquimq import errors

from .conftest import ROOT

PAGE = ROOT / "docs" / "reference" / "errors.md"
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, ...]]:
    found = ROW.findall(PAGE.read_text("utf-8"))
    return {name: tuple(cells) for name, *cells in found}


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    assert sorted(rows()) == sorted(errors.__all__)


def test_the_builtin_bases_are_the_ones_of_the_code() -> None:
    for name, cells in rows().items():
        told = re.findall(r"`(\w+)`", cells[0])
        error = getattr(errors, name)
        direct = [base.__name__ for base in error.__bases__]
        assert told == direct, name
        assert all(hasattr(errors, base) or hasattr(builtins, base) for base in told)


def test_no_cell_is_empty() -> None:
    for name, cells in rows().items():
        assert all(cell.strip() for cell in cells), name


def test_the_attributes_are_told() -> None:
    text = PAGE.read_text("utf-8")
    for attribute in (
        "may_have_executed",
        "safe_to_repeat",
        "code",
        "version",
        "missing",
        "size",
        "limit",
        "errors",
        "jobs",
        "added",
    ):
        assert f"`{attribute}`" in text
