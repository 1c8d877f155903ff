"""Writes the synchronous files that hold no concurrency from their asynchronous twins.

    python tools/generate_sync.py            write them
    python tools/generate_sync.py --check    fail if they differ from what would be written (a test does this)

Only words are replaced; whatever needs more than that is written by hand in both places and has no place here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "chasquimq"
GENERATED = {
    **{f"sync/{name}.py": f"aio/{name}.py" for name in ("_unsupported", "consumer", "job", "producer", "queue")},
    "testing/sync.py": "testing/aio.py",
}
"""From each generated file to its source."""

# In this order; longer forms come before the words they contain.
REPLACEMENTS = [
    (r"\basync def\b", "def"),
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\baclosing\b", "closing"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\b(call|check)_async\b", r"\1"),
    (r"\bchasquimq\.aio\b", "chasquimq.sync"),
    (r"\bAwaitable\[[^\]]*\] \| ", ""),
    (r"\bAwaitable, ", ""),
    (r"\bimport anyio\b", "import threading"),
    (r"\banyio\.Event\b", "threading.Event"),
    (r"asynchronous form", "synchronous form"),
    (r"across tasks", "across threads"),
    (r" ``chasquimq\.(sync|testing)\.\w+`` is generated from this file\.", ""),
]


def generated(target: str) -> str:
    """The text of a generated file, formatted as everything else is."""
    source = GENERATED[target]
    text = (PACKAGE / source).read_text("utf-8")
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    head, _, rest = text.partition('"""\n\n')
    note = f"# Generated from chasquimq/{source} by tools/generate_sync.py; change that file.\n"
    text = f'{head}"""\n\n{note}\n{rest}'
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        arguments = [
            sys.executable,
            "-m",
            "ruff",
            *command,
            "--stdin-filename",
            str(PACKAGE / target),
            "-",
        ]
        text = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for target in GENERATED:
        path = PACKAGE / target
        text = generated(target)
        if check:
            if not path.exists() or path.read_text("utf-8") != text:
                stale.append(target)
        else:
            path.write_text(text, "utf-8")
    if stale:
        print(
            f"stale: {', '.join(stale)}. Run: python tools/generate_sync.py",
            file=sys.stderr,
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
