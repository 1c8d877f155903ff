"""The consumer of one queue with opaque payloads, synchronous form.

A façade over the Worker's engine, of which it changes one thing: payloads and results are bytes that nobody here
decodes.
"""

# Generated from chasquimq/aio/consumer.py by tools/generate_sync.py; change that file.

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, overload

from chasquimq._core.carrying import OfOneProcess
from chasquimq._core.listeners import ListenerT
from chasquimq._core.opaque import OpaqueCore, RawJob
from chasquimq.native import ConsumerOpts, RetryOpts
from chasquimq.options import keywords, merge
from chasquimq.sync.worker import Worker
from chasquimq.times import Duration

__all__ = ["Consumer"]

Handler = Callable[[RawJob], bytes | None]


class Consumer(OfOneProcess):
    """Runs a handler for the jobs of one queue, with opaque payloads (product page, native power-user surface).

    What a Worker does, without a codec and without Job objects: the handler receives a RawJob, whose ``payload`` is
    bytes as they stood in the queue, and may return bytes, which are kept with ``store_results``. Returning means
    done; raising means retry, or the dead-letter queue when the budget is used up or UnrecoverableError is raised.

    ``retry``: the wait before retries of jobs that do not say themselves, RetryOpts or a mapping, default exponential
    from 100 ms up to 30 s. ``max_attempts``: total runs of such a job, default 3.

    ``queue_name``, ``connection``, ``concurrency``, ``autorun``, ``drain_delay``, ``name``, ``run_scheduler``,
    ``scheduler_tick_ms``, ``store_results``, ``result_ttl_ms``, ``events``, ``lease_ms``, ``drain_timeout_ms``,
    ``ack`` and ``max_payload_bytes`` mean what they mean for a Worker, with the same defaults.

    Raises InvalidOptionError, InvalidOptionTypeError, NotSupportedError. Starting raises RedisConnectionError and
    its kinds when the server cannot be reached at that time; later on a consumer survives that.
    """

    def __init__(
        self,
        queue_name: str,
        handler: Handler,
        *,
        connection: Any = None,
        concurrency: int | None = None,
        autorun: bool | None = None,
        drain_delay: Duration | None = None,
        max_attempts: int | None = None,
        retry: RetryOpts | Mapping[str, Any] | None = None,
        name: str | None = None,
        run_scheduler: bool | None = None,
        scheduler_tick_ms: Duration | None = None,
        store_results: bool | None = None,
        result_ttl_ms: Duration | None = None,
        events: bool | None = None,
        lease_ms: Duration | None = None,
        drain_timeout_ms: Duration | None = None,
        ack: Literal["batch", "each"] | None = None,
        max_payload_bytes: int | None = None,
        opts: ConsumerOpts | Mapping[str, Any] | None = None,
    ) -> None:
        given = keywords(
            connection=connection,
            concurrency=concurrency,
            autorun=autorun,
            drain_delay=drain_delay,
            max_attempts=max_attempts,
            retry=retry,
            name=name,
            run_scheduler=run_scheduler,
            scheduler_tick_ms=scheduler_tick_ms,
            store_results=store_results,
            result_ttl_ms=result_ttl_ms,
            events=events,
            lease_ms=lease_ms,
            drain_timeout_ms=drain_timeout_ms,
            ack=ack,
            max_payload_bytes=max_payload_bytes,
        )
        options = merge(ConsumerOpts, opts, given)
        self._queue_name = queue_name
        # A Worker's processor takes a Job; this one's core makes a RawJob instead.
        processor: Callable[..., Any] = handler
        self._worker = _OpaqueWorker(queue_name, processor, opts=options.to_worker_options())

    @property
    def queue_name(self) -> str:
        """The queue's name."""
        return self._queue_name

    @property
    def is_closed(self) -> bool:
        """True after the first ``close()``."""
        return self._worker.is_closed

    def is_running(self) -> bool:
        """Whether the consumer takes jobs."""
        return self._worker.is_running()

    def run(self, *, handle_signals: bool = False) -> None:
        """Runs until ``close()``, and returns when the consumer has drained. Called again, it joins the same run.

        ``handle_signals=True`` (main thread only): SIGINT and SIGTERM drain, a second one stops at once.

        Raises RedisConnectionError (or AuthenticationError, UnsupportedServerError, ServerReplyError) when the
        server cannot be used at the start, ClosedError when the consumer was closed before it ran.
        """
        self._worker.run(handle_signals=handle_signals)

    def close(self, force: bool = False) -> None:
        """Stops reading, hands back what has not started, waits for what runs, writes all ends.

        Idempotent, callable from anywhere; from a handler or listener of this consumer it only starts the shutdown,
        elsewhere it returns when the consumer has left. ``force=True`` does not wait for running handlers: their
        jobs run again.
        """
        self._worker.close(force)

    @overload
    def on(self, event: str, listener: ListenerT) -> ListenerT: ...
    @overload
    def on(self, event: str) -> Callable[[ListenerT], ListenerT]: ...
    def on(self, event: str, listener: Any = None) -> Any:
        """Calls ``listener`` at every ``event`` of a Worker, with RawJob for Job; without one, it is a decorator."""
        return self._worker.on(event, listener)

    @overload
    def once(self, event: str, listener: ListenerT) -> ListenerT: ...
    @overload
    def once(self, event: str) -> Callable[[ListenerT], ListenerT]: ...
    def once(self, event: str, listener: Any = None) -> Any:
        """Like ``on``, for the next event only."""
        return self._worker.once(event, listener)

    def off(self, event: str, listener: Callable[..., Any]) -> None:
        """Takes a listener back. One that is not registered is fine."""
        self._worker.off(event, listener)

    def __enter__(self) -> Self:
        self._worker.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._worker.__exit__(*exc_info)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "running" if self.is_running() else "not started"
        return f"<Consumer {self._queue_name!r} {state}>"


class _OpaqueWorker(Worker[Any, Any]):
    """A Worker whose core leaves payloads and results as they are."""

    _core_class = OpaqueCore
    _job_class = RawJob
