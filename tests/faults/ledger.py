"""The independent book: a file to which every process appends a line for each thing that it does.

It is written by the handlers themselves, with one ``write`` per line, and so tells what really ran, whatever
Redis or the library believes. It outlives a server and a worker that are killed.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
POLL_S = 0.02


def wait_until(condition: Callable[[], T], what: str = "", *, within: float = 30.0) -> T:
    """Polls until the condition holds and returns what it gave. Bounds are generous: machines are busy."""
    deadline = time.monotonic() + within
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:.0f} s: {what or condition}")
        time.sleep(POLL_S)


def stays(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether the condition holds all the time: for what must *not* happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            return False
        time.sleep(POLL_S)
    return True


class Ledger:
    """What the processes of one test have written down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self, event: str | None = None, job_id: str | None = None) -> list[dict[str, Any]]:
        # The last line may be half written for a moment.
        rows = [json.loads(line) for line in self.path.read_text().split("\n")[:-1]]
        return [
            row
            for row in rows
            if (event is None or row["event"] == event) and (job_id is None or row.get("id") == job_id)
        ]

    def starts(self, job_id: str | None = None) -> list[dict[str, Any]]:
        return self.lines("start", job_id)

    def ends(self, job_id: str | None = None) -> list[dict[str, Any]]:
        """The runs whose handler came to its end."""
        return self.lines("end", job_id)

    def started(self) -> Counter[str]:
        """How often each job was started."""
        return Counter(row["id"] for row in self.starts())

    def ended(self) -> Counter[str]:
        return Counter(row["id"] for row in self.ends())

    def errors(self) -> list[str]:
        """What workers told their ``error`` listeners."""
        return [row["text"] for row in self.lines("error")]

    def wait_for_starts(self, count: int, *, within: float = 30.0) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.starts()) >= count, f"{count} starts; {self}", within=within)
        return self.starts()

    def wait_for_ends(self, count: int, *, within: float = 30.0) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.ends()) >= count, f"{count} ends; {self}", within=within)
        return self.ends()

    def __str__(self) -> str:
        rows = self.lines()
        counts = Counter(row["event"] for row in rows)
        return f"the ledger has {dict(counts)}, last {rows[-3:]}"
