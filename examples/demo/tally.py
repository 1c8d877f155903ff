"""How far the jobs are, as the worker's listeners tell it."""

import threading
from typing import Any

from chasquimq import UnrecoverableError


class Tally:
    """Counts ends of jobs. The sync worker's listeners run in many threads, hence the lock."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.completed = 0
        self.retries = 0
        self.dead = 0
        self._lock = threading.Lock()

    @property
    def ended(self) -> int:
        """Jobs that will not run again."""
        return self.completed + self.dead

    @property
    def is_finished(self) -> bool:
        return self.ended >= self.expected

    def on_completed(self, _job: Any, _result: Any, _prev: str) -> None:
        """Listener of the worker's event ``completed``."""
        with self._lock:
            self.completed += 1

    def on_failed(self, _job: Any, error: BaseException, _prev: str) -> None:
        """Listener of the worker's event ``failed``. No job of the demo fails often enough to run out of attempts."""
        with self._lock:
            if isinstance(error, UnrecoverableError):
                self.dead += 1
            else:
                self.retries += 1
