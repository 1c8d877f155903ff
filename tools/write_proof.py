"""Writes docs/proof.md from the proof table in tests/proof.

python tools/write_proof.py            write it
python tools/write_proof.py --check    fail if it differs from what would be written (a test does this)
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.proof.table import Item, items  # noqa: E402  the checkout is no package to install

PAGE = ROOT / "docs" / "proof.md"
HEAD = """\
# Proof

What the product's page promises, in its order and its words, the name in Python, and the test that shows it. Names are
those of `chasquimq.sync` and `chasquimq.aio`; what is one object for both is in `chasquimq`. `Queue.add(delay)` is a
parameter, `Worker.on('ready')` an event. *Runs as* says in which forms the tests are run; *shared* means that all
forms use the same object.

This page is written by `python tools/write_proof.py` from `tests/proof/items`. The test suite fails if a name cannot be
imported, a test does not exist or is not run in a form that it is listed for, or the page is out of date. `make proof`
breaks one feature after another in a copy of the source and fails if a listed test does not notice. Paths are below
`tests`.
"""


def page() -> str:
    parts = [HEAD]
    for section, rows in itertools.groupby(items(), lambda item: item.section):
        parts.append(f"\n## {section}\n\n| Product page | Python | Shown by | Runs as |\n|---|---|---|---|\n")
        parts += map(line, rows)
    return "".join(parts)


def line(item: Item) -> str:
    names = ", ".join(f"`{name}`" for name in item.python)
    tests = "<br>".join(f"`{test}`" for test in item.tests)
    return f"| {cell(item.page)} | {names} | {tests} | {'shared' if item.shared else ', '.join(item.forms)} |\n"


def cell(text: str) -> str:
    """Text as a table cell: no column, tag or emphasis begins in it."""
    for special in "\\|<>[]*_`":
        text = text.replace(special, f"\\{special}")
    return text


def main(arguments: list[str]) -> int:
    text = page()
    if arguments == ["--check"]:
        if not PAGE.exists() or PAGE.read_text("utf-8") != text:
            print("docs/proof.md is not what the table gives. Run: python tools/write_proof.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
