"""What a worker shows of itself in both forms: its state, its listeners, and the methods that the product names
without supporting them. It never waits; the two Worker classes add the lifecycle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, overload

from chasquimq._core.carrying import OfOneProcess
from chasquimq._core.clock import Clock
from chasquimq._core.keys import QueueKeys
from chasquimq._core.listeners import WORKER_EVENTS, Listeners, ListenerT
from chasquimq._core.log import logger_named
from chasquimq._core.worker import WorkerCore
from chasquimq._core.worker_settings import WorkerSettings
from chasquimq.errors import NotSupportedError
from chasquimq.times import Duration

__all__ = ["RUNS_IN_PARENT", "WorkerFace"]

RUNS_IN_PARENT = (
    "this worker was started before the process was forked, and runs on in the parent. Create a new one in the child."
)


logger = logger_named("chasquimq.worker")


class WorkerFace(OfOneProcess):
    """Base of ``sync.Worker`` and ``aio.Worker``."""

    _emit: Callable[..., None]
    """Calls the listeners of an event, each in the form's way."""
    _core_class: type[WorkerCore[Any]] = WorkerCore
    _job_class: type[Any]
    _settings: WorkerSettings

    def __init__(self, queue_name: str) -> None:
        self._queue_name = queue_name
        self._listeners = Listeners(WORKER_EVENTS)
        self._is_ready = False
        self._is_closing = False

    def _new_core(self, clock: Clock, draw: Callable[[], float]) -> WorkerCore[Any]:
        return self._core_class(
            QueueKeys(self._queue_name),
            self._settings,
            self._job_class,
            clock=clock,
            draw=draw,
            emit=self._emit,
            listened=self._listeners.listened,
        )

    def _report(self, error: Exception) -> None:
        """Logs trouble and tells the ``error`` listeners."""
        logger.warning("%s", error)
        self._emit("error", error)

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """True after the first ``close()``."""
        return self._is_closing

    def is_running(self) -> bool:
        """Whether the worker takes jobs."""
        return self._is_ready and not self._is_closing

    def is_paused(self) -> bool:
        """Always False (product page)."""
        return False

    def pause(self) -> NoReturn:
        """Not supported (product page)."""
        raise NotSupportedError("Worker.pause() is not supported: close the worker and create a new one later.")

    def resume(self) -> NoReturn:
        """Not supported (product page)."""
        raise NotSupportedError("Worker.resume() is not supported: a worker cannot be paused; create a new one.")

    def rate_limit(self, expire_time_ms: Duration) -> NoReturn:
        """Not supported (product page)."""
        raise NotSupportedError(
            f"Worker.rate_limit({expire_time_ms!r}) is not supported: lower concurrency, or sleep in the handler."
        )

    def __repr__(self) -> str:
        state = "closed" if self._is_closing else "running" if self._is_ready else "not started"
        return f"<Worker {self._queue_name!r} {state}>"

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Something happened to the worker's processes as a whole: takes note of it, and tells the listeners."""
        if event == "ready":
            self._is_ready = True
        elif event == "closing":
            self._is_closing = True
        if event == "error":
            self._report(*arguments)
        elif self._is_ready and event:
            self._emit(event, *arguments)

    # -- listeners -------------------------------------------------------------------------------------------------

    @overload
    def on(self, event: str, listener: ListenerT) -> ListenerT: ...
    @overload
    def on(self, event: str) -> Callable[[ListenerT], ListenerT]: ...
    def on(self, event: str, listener: Any = None) -> Any:
        """Calls ``listener`` at every ``event`` (product page, worker events); without one, it is a decorator.

        ``ready ()``, ``active (job, prev)``, ``progress (job, progress)``, ``completed (job, result, prev)``,
        ``failed (job, error, prev)``, ``error (error)``, ``closing (message)``, ``closed ()``. Listeners run in the
        thread where the event happens. One that raises is logged and reported through ``error``; the job goes on.
        With ``processes`` those registered before the start are carried into the processes and called there, for what
        happens there. In the program itself they are called once more for all together: ``ready`` when every process
        takes jobs, ``error`` (a WorkerProcessError) when one ended unasked, ``closing`` and ``closed``.
        """
        return self._listeners.add(event, listener, once=False)

    @overload
    def once(self, event: str, listener: ListenerT) -> ListenerT: ...
    @overload
    def once(self, event: str) -> Callable[[ListenerT], ListenerT]: ...
    def once(self, event: str, listener: Any = None) -> Any:
        """Like ``on``, for the next event only."""
        return self._listeners.add(event, listener, once=True)

    def off(self, event: str, listener: Callable[..., Any]) -> None:
        """Takes a listener back. One that is not registered is fine."""
        self._listeners.remove(event, listener)
