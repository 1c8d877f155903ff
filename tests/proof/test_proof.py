"""The proof table is complete and true: its names exist, its tests exist and run in every form, its page is current."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.proof.mutation import Mutation, applied, mutations
from tests.proof.table import FORMS, Item, forms_of, items, resolve

ROOT = Path(__file__).parents[2]
ITEMS = items()
EVERY_ITEM = pytest.mark.parametrize("item", ITEMS, ids=[item.key for item in ITEMS])


@functools.cache
def collected() -> set[str]:
    """The node ids below ``tests``, without that folder, of all tests in files that the table names."""
    files = sorted({f"tests/{test.partition('::')[0]}" for item in ITEMS for test in item.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    ran = subprocess.run([*command, *files], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {line.removeprefix("tests/") for line in ran.stdout.splitlines() if "::" in line}


@EVERY_ITEM
def test_the_names_exist_in_every_form(item: Item) -> None:
    assert item.python
    for name in item.python:
        resolve(name)


@pytest.mark.parametrize(
    "wrong",
    [
        "Queue.addd",
        "Queue.add(delai)",
        "Worker.on('redy')",
        "with Job",
        "iter Queue",
        "NoSuch",
        "events.Nothing",
        "JobsOptions.nothing",
        "Job.nothing",
        "a sentence",
    ],
)
def test_names_that_do_not_exist_are_found_out(wrong: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        resolve(wrong)


@EVERY_ITEM
def test_the_tests_exist_and_run_in_every_form(item: Item) -> None:
    assert item.tests
    for test in item.tests:
        runs = forms_of(test, collected())
        assert runs, f"there is no test {test}"
        if item.shared:
            assert runs == {"shared"}, f"{test} runs as {runs}: the item is not shared"
        else:
            assert runs >= set(item.forms), f"{test} runs as {runs} only"


def test_forms_are_known_and_no_item_stands_twice() -> None:
    assert all(set(item.forms) <= set(FORMS) and item.forms for item in ITEMS)
    assert [key for key, times in Counter(item.key for item in ITEMS).items() if times > 1] == []


def test_every_public_name_of_the_package_is_in_the_table() -> None:
    """What is exported and stands in no row would be proved by nothing."""
    import chasquimq

    named = {name.removeprefix("with ").removeprefix("iter ") for item in ITEMS for name in item.python}
    first = {name.partition(".")[0].partition("(")[0] for name in named}
    assert set(chasquimq.__all__) - first == set()


def test_the_page_is_what_would_be_written() -> None:
    command = [sys.executable, str(ROOT / "tools" / "write_proof.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


# -- breaking features -------------------------------------------------------------------------------------------------

MUTATIONS = mutations()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_source_can_still_be_broken_there(mutation: Mutation) -> None:
    """``make proof`` runs them; here it is only seen that each still fits the source and belongs to an item."""
    item = {item.key: item for item in ITEMS}[mutation.item]
    assert set(mutation.forms or ()) <= set(item.forms)
    for path, text in applied(mutation, ROOT).items():
        assert text != path.read_text("utf-8")
        if path.suffix == ".py":
            compile(text, str(path), "exec")


def test_there_are_enough_of_them() -> None:
    assert len({mutation.item for mutation in MUTATIONS}) >= 25
    assert {mutation.item.partition(":")[0] for mutation in MUTATIONS} == {item.section for item in ITEMS}
