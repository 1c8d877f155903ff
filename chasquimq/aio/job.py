"""The job in its asynchronous form: the properties of ``BaseJob`` and the two methods that may wait."""

from __future__ import annotations

from typing import Any

import anyio

from chasquimq.errors import NotSupportedError
from chasquimq.job import BaseJob, DataT, ResultT
from chasquimq.options import WaitForResultOptions, keywords, merge
from chasquimq.times import Duration, duration_ms

__all__ = ["Job"]


class Job(BaseJob[DataT, ResultT]):
    """What ``Queue.add`` returns and what a handler receives (product page, Job)."""

    __slots__ = ()

    async def update_progress(self, progress: Any) -> None:
        """Reports progress: kept in ``progress`` and handed to the worker's ``progress`` listeners.

        It is not stored in Redis. Callable from a handler; on a job that ``add`` returned it only sets ``progress``.
        """
        self.progress = progress
        if self._progress_sink is not None:
            self._progress_sink.progressed(self, progress)

    async def wait_for_result(
        self,
        timeout_ms: Duration | None = None,
        interval_ms: Duration | None = None,
        signal: anyio.Event | None = None,
        *,
        opts: WaitForResultOptions | dict[str, Any] | None = None,
    ) -> ResultT | None:
        """Waits until the stored return value can be read, and returns it.

        ``timeout_ms``: total budget, default 30,000. ``interval_ms``: longest time between two looks, default 100;
        the first looks come sooner. ``signal``: an event that ends the wait when it is set.

        The worker must run with ``store_results=True``; a handler that returns ``None``, or fails for good, stores
        nothing, and the wait times out. Once the events stream has told that the job runs, looks become rare, up to
        5 s apart or ``interval_ms`` if that is longer, and its end prompts one at once. All waits of a queue share
        their looks, and one connection that follows the stream.

        Raises WaitForResultTimeoutError, AbortError (signal), NotSupportedError inside a handler.
        """
        given = keywords(timeout_ms=timeout_ms, interval_ms=interval_ms, signal=signal)
        options = merge(WaitForResultOptions, opts, given)
        budget = 30_000 if options.timeout_ms is None else duration_ms("timeout_ms", options.timeout_ms)
        interval = 100 if options.interval_ms is None else duration_ms("interval_ms", options.interval_ms)
        if self.queue is None:
            raise NotSupportedError(
                "wait_for_result() needs the Queue that added the job; a job inside a handler has none. "
                "Use queue.get_job_result(job_id)."
            )
        result: ResultT | None = await self.queue._wait_for_result(self.id, budget, interval, options.signal)
        self.returnvalue = result
        return result
