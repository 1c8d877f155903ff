"""Methods of the product's Queue that it names but does not support (product page, stubbed methods).

They exist so that a user of another language finds them, and finds what to use instead.
"""

# Generated from chasquimq/aio/_unsupported.py by tools/generate_sync.py; change that file.

from __future__ import annotations

from typing import Any, NoReturn

from chasquimq.errors import NotSupportedError

__all__ = ["UnsupportedQueueMethods"]

_NO_STATE = "no state per job is kept; follow jobs with QueueEvents or wait_for_result()."
_NO_COUNTS = "no counters are kept; read XLEN, XPENDING and ZCARD of the queue's keys with a Redis client."


def _refuse(method: str, instead: str) -> NoReturn:
    raise NotSupportedError(f"Queue.{method}() is not supported: {instead}")


class UnsupportedQueueMethods:
    """Every method raises NotSupportedError."""

    def get_job(self, job_id: str) -> NoReturn:
        """Not supported (product page)."""
        _refuse("get_job", f"{_NO_STATE} (asked for {job_id!r:.60})")

    def get_jobs(self, *args: Any, **options: Any) -> NoReturn:
        """Not supported (product page)."""
        _refuse("get_jobs", _NO_STATE)

    def get_job_counts(self, *args: Any) -> NoReturn:
        """Not supported (product page)."""
        _refuse("get_job_counts", _NO_COUNTS)

    def get_waiting_count(self) -> NoReturn:
        """Not supported (product page)."""
        _refuse("get_waiting_count", _NO_COUNTS)

    def get_active_count(self) -> NoReturn:
        """Not supported (product page)."""
        _refuse("get_active_count", _NO_COUNTS)

    def get_delayed_count(self) -> NoReturn:
        """Not supported (product page)."""
        _refuse("get_delayed_count", _NO_COUNTS)

    def get_failed_count(self) -> NoReturn:
        """Not supported (product page)."""
        _refuse("get_failed_count", _NO_COUNTS)

    def count(self) -> NoReturn:
        """Not supported (product page)."""
        _refuse("count", _NO_COUNTS)

    def pause(self) -> NoReturn:
        """Not supported (product page)."""
        _refuse("pause", "close the workers and start them again later; jobs wait in the stream.")

    def resume(self) -> NoReturn:
        """Not supported (product page)."""
        _refuse("resume", "a queue cannot be paused; start workers to go on.")

    def drain(self, *args: Any) -> NoReturn:
        """Not supported (product page)."""
        _refuse("drain", "run a worker whose handler does nothing, or delete the queue's keys while nobody works.")

    def obliterate(self, *args: Any, **options: Any) -> NoReturn:
        """Not supported (product page)."""
        _refuse("obliterate", "stop all workers, then delete the keys that start with {chasqui:<queue>}:.")

    def clean(self, *args: Any, **options: Any) -> NoReturn:
        """Not supported (product page)."""
        _refuse("clean", "completed jobs are deleted at once, results and markers expire by themselves.")
