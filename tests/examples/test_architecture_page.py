"""ARCHITECTURE.md walks through real code: the files and functions that it names are there."""

import re

import pytest

from .conftest import ROOT

CODE = ROOT / "chasquimq"
SOURCE = "\n".join(path.read_text("utf-8") for path in [*CODE.rglob("*.py"), *CODE.rglob("*.pyx")])
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
# The section on adding an operation speaks of one that does not exist.
NAMED = set(re.findall(r"`([^`\n]+)`", re.sub(r"## Adding an operation.*?(?=\n## )", "", PAGE, flags=re.DOTALL)))
FILES = sorted(name for name in NAMED if re.fullmatch(r"[\w/]+\.(py|lua|md)", name))
METHODS = sorted(name for name in NAMED if re.fullmatch(r"[A-Z]\w*[a-z]\w*\.\w+", name))
FOLDERS = (ROOT, CODE, CODE / "_core", CODE / "_net")


@pytest.mark.parametrize("name", FILES)
def test_the_file_exists(name: str) -> None:
    assert any((folder / name).exists() for folder in FOLDERS)


@pytest.mark.parametrize("name", METHODS)
def test_the_method_exists(name: str) -> None:
    owner, method = name.split(".")
    assert re.search(rf"^(cdef )?class {owner}\b", SOURCE, re.MULTILINE)
    assert re.search(rf"^ +(async )?def {method}\b", SOURCE, re.MULTILINE)


def test_there_are_some() -> None:
    assert len(FILES) > 20
    assert len(METHODS) > 15
