"""Breaks one feature after another and looks whether the tests that the proof table names notice.

    python tools/check_proof.py                  all faults of tests/proof/mutations, about half an hour
    python tools/check_proof.py Job "addBulk"    those whose name contains one of the words

The faults are made in a copy of the checkout. First its tests are run as they are; then each fault is made, the tests
of its item are run, and the fault is taken back. In the end every test that the table names for a broken item must have
failed for one of its faults, in every form of the item. Exit code 1 if one has not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.proof.mutation import Mutation, applied, mutations  # noqa: E402  the checkout is no package to install
from tests.proof.table import Item, forms_of, items  # noqa: E402

COPIED = ("chasquimq", "docs", "examples", "tests", "tools", "pyproject.toml", "README.md", "ARCHITECTURE.md")
PATIENCE = ("tests/conformance/flavours.py", "PATIENCE_S = 20.0", "PATIENCE_S = 5.0")
"""A broken feature is often noticed by waiting in vain; nothing that works takes that long."""
LONGEST_RUN_S = 1_800


class UnusableError(Exception):
    """The copy, or a fault, is such that its tests say nothing."""


class Copy:
    """A copy of the checkout in which faults are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._failed = folder / "failed.txt"
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        (folder / ".cache").symlink_to(ROOT / ".cache")
        file, old, new = PATIENCE
        text = (folder / file).read_text("utf-8")
        if text.count(old) != 1:
            raise UnusableError(f"{file} has no {old!r} any more")
        (folder / file).write_text(text.replace(old, new), "utf-8")
        where = self._run("-c", "import chasquimq; print(chasquimq.__file__)").stdout.strip()
        if not Path(where).is_relative_to(folder):
            raise UnusableError(f"the tests of the copy would test {where}")

    def failures(self, tests: list[str]) -> set[str]:
        """Runs tests; the node ids of those that failed, without the folder. UnusableError if that fails."""
        self._failed.write_text("")
        options = ["-p", "tests.proof.outcomes", "-q", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider"]
        ran = self._run("-m", "pytest", *options, *(f"tests/{test}" for test in tests))
        failed = {line.removeprefix("tests/") for line in self._failed.read_text().splitlines()}
        if ran.returncode not in (0, 1):
            raise UnusableError(f"pytest could not run {tests}:\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}")
        return failed

    def broken_by(self, mutation: Mutation, tests: list[str]) -> set[str]:
        """Makes a fault, runs tests, and takes it back; the failures."""
        texts = applied(mutation, self.folder)
        before = {path: path.read_text("utf-8") for path in self.folder.glob("chasquimq/**/*.py")}
        before |= {path: path.read_text("utf-8") for path in texts}
        try:
            for path, text in texts.items():
                path.write_text(text, "utf-8")
            if any(path.parent.name == "aio" for path in texts):
                self._run("tools/generate_sync.py")
            return self.failures(tests)
        finally:
            for path, text in before.items():
                if path.read_text("utf-8") != text:
                    path.write_text(text, "utf-8")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # No byte code: two versions of a file within one second would be taken for the same.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PROOF_FAILED": str(self._failed)}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_RUN_S,
            check=False,
        )


def unnoticed(item: Item, failed: set[str], forms: set[str]) -> list[str]:
    """The tests of an item that did not fail, each with the forms in which they did not."""
    found = []
    for test in item.tests:
        wanted = {"shared"} if item.shared else forms
        if missing := wanted - forms_of(test, failed):
            found.append(f"{test} ({', '.join(sorted(missing))})")
    return found


def main(words: list[str]) -> int:
    chosen = [each for each in mutations() if not words or any(word in each.name for word in words)]
    if not chosen:
        print(f"no fault's name contains any of {', '.join(map(repr, words))}; the names are in tests/proof/mutations")
        return 2
    table = {item.key: item for item in items()}
    failed: dict[str, set[str]] = defaultdict(set)
    broken_in: dict[str, set[str]] = defaultdict(set)
    with tempfile.TemporaryDirectory(prefix="chasquimq-proof-") as folder:
        copy = Copy(Path(folder))
        named = sorted({test for each in chosen for test in table[each.item].tests})
        print(f"{len(chosen)} faults of {len({each.item for each in chosen})} items, {len(named)} tests", flush=True)
        if already := copy.failures(named):
            print("these fail as it is:", *sorted(already), sep="\n  ")
            return 1
        for mutation in chosen:
            item, begun = table[mutation.item], time.monotonic()
            found = copy.broken_by(mutation, list(item.tests))
            forms = set(mutation.forms or item.forms)
            failed[item.key] |= found
            broken_in[item.key] |= forms
            seen = len([test for test in item.tests if forms_of(test, found)])
            print(
                f"{time.monotonic() - begun:5.1f} s  {seen} of {len(item.tests)} tests noticed: {mutation.name}",
                flush=True,
            )
    lines = [
        f"{key}: unnoticed by {test}"
        for key, found in failed.items()
        for test in unnoticed(table[key], found, broken_in[key])
    ]
    print(
        *(lines or [f"every fault was noticed, in every form, by every test of its item: {len(failed)} items"]),
        sep="\n",
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
