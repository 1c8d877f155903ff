"""One owner at a time for a cache folder, across processes.

Two test runs may start at once on a fresh checkout: the second one waits here and then finds everything in
place. Never deletes the lock file: a waiter may hold it open already.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on `path` (made if missing) for the length of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
