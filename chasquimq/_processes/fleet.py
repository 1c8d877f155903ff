"""The processes of one worker, as the program that has them sees them.

It starts the supervisor and turns what that tells into the worker's events. It never waits by itself: the two Worker
classes do, each in its way. A forked supervisor is a process of its own, because only one that does nothing else may
fork at any time. Where processes are spawned it is a thread of the program: new interpreters can be started anywhere.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import signal
import threading
import warnings
from collections.abc import Callable
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from chasquimq._core.log import logger_named
from chasquimq._core.worker_settings import WorkerSettings
from chasquimq._dataclass import replace
from chasquimq._processes.blueprint import Blueprint, Registration, check_can_be_carried, choose_method
from chasquimq._processes.child import Child, current_child, hold_signals
from chasquimq._processes.link import Ended, News, StartFailed, UpperEnd, new_line
from chasquimq._processes.supervisor import Supervisor
from chasquimq.address import resolve_address
from chasquimq.errors import NotSupportedError, WorkerProcessError
from chasquimq.options import WorkerOptions

if TYPE_CHECKING:
    from chasquimq.embedded import EmbeddedServer

__all__ = ["Event", "Fleet"]

logger = logger_named("chasquimq.worker")

Event = tuple[str, tuple[Any, ...]]
"""An event of the worker: its name and its arguments."""


class Fleet:
    """From ``start`` to ``leave``."""

    def __init__(
        self,
        settings: WorkerSettings,
        run: Callable[[Blueprint, str, Child], None],
        queue_name: str,
        processor: Callable[[Any], Any],
        options: WorkerOptions,
    ) -> None:
        """``run``: what runs the form's ordinary worker in each process. The rest is the worker's."""
        self._settings = settings
        options = replace(
            options, connection=resolve_address(options.connection), processes=None, start_method=None, name=None
        )
        self._blueprint = Blueprint(run, queue_name, processor, options)
        self._line: UpperEnd | None = None
        self._host: Any = None
        """The supervisor's process or thread."""
        self._embedded: EmbeddedServer | None = None
        self._asked: list[bool] = []
        self._is_over = False
        self.failure: Exception | None = None
        """Why the worker could not start, or went on no longer."""

    @property
    def is_inside(self) -> bool:
        """Whether this is one of the worker processes, which cannot wait for the end of all."""
        return current_child() is not None

    def start(self, listeners: tuple[Registration, ...], loop: Any = None) -> None:
        """Starts the supervisor, which starts the rest. Further calls do nothing.

        ``listeners``: those of the worker, for the processes. ``loop``: see Blueprint.

        Raises InvalidOptionError and InvalidOptionTypeError for what cannot be carried into new processes,
        NotSupportedError in a process that may have none, EmbeddedServerError.
        """
        if self._line is None:
            self._start(replace(self._blueprint, listeners=listeners, loop=loop), self._method())

    def start_beside_loop(self, listeners: tuple[Registration, ...], loop: Any) -> None:
        """``start`` for a thread in which an event loop runs: a fork takes place in another one.

        What is forked has only the forking thread, which must not be inside an event loop. The loop's own thread waits
        meanwhile, so that it holds no lock that a fork would copy.
        """
        blueprint = replace(self._blueprint, listeners=listeners, loop=loop)
        # Decided here, where the helping thread below does not count as one of the program's.
        method = self._method()
        errors: list[BaseException] = []

        def start() -> None:
            try:
                with warnings.catch_warnings():
                    if self._settings.start_method is None:
                        # Python 3.12 and newer warn of a fork in a process with two threads; see above.
                        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                    self._start(blueprint, method)
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        thread = threading.Thread(target=start, name="chasquimq-starter", daemon=True)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]

    def _method(self) -> str:
        if self.is_inside or multiprocessing.current_process().daemon:
            raise NotSupportedError(
                "this process belongs to a worker with several processes, or is a daemonic one of multiprocessing: it "
                "cannot have such a worker itself. Start it in the main program, under if __name__ == '__main__'."
            )
        return choose_method(self._settings.start_method)

    def _start(self, blueprint: Blueprint, method: str) -> None:
        if method == "spawn":
            check_can_be_carried(blueprint)
        upper, lower = new_line()
        try:
            supervisor = Supervisor(
                self._at_this_programs_server(blueprint),
                multiprocessing.get_context(method),
                lower,
                processes=self._settings.processes,
                name=self._settings.consumer.decode(),
                drain_timeout_ms=self._settings.drain_timeout_ms,
            )
            if method == "fork":
                self._host = _fork(supervisor, upper)
                lower.close()
            else:
                self._host = threading.Thread(
                    target=_supervise_in_thread, args=(supervisor,), name="chasquimq-supervisor", daemon=True
                )
                self._host.start()
        except BaseException:
            upper.close()
            lower.close()
            self.leave()
            raise
        self._line = upper
        logger.info("%d worker processes, started by %s", self._settings.processes, method)
        # multiprocessing waits for all processes when the program ends; so somebody has to tell them to.
        atexit.register(self.ask, False)
        for force in self._asked:
            upper.ask(force)

    def _at_this_programs_server(self, blueprint: Blueprint) -> Blueprint:
        address = blueprint.options.connection
        if not address.embedded:
            return blueprint
        from chasquimq import embedded  # noqa: PLC0415 - only who embeds a server pays for its imports

        self._embedded = embedded.acquire(address.embedded_directory)
        address = replace(address, embedded_directory=self._embedded.directory)
        return replace(blueprint, options=replace(blueprint.options, connection=address))

    def after_fork(self, settings: WorkerSettings) -> None:
        """In a forked child: the processes, if there are any, stay the parent's; a start here has a name of its own."""
        self._settings = settings
        if self._line is not None:
            atexit.unregister(self.ask)
            self._line.close()
            self._line = self._host = self._embedded = None
            self._is_over = True

    # -- while it runs ---------------------------------------------------------------------------------------------

    def ask(self, force: bool) -> None:
        """Has all processes drain, or stop at once. From any thread or signal handler, before the start too."""
        child = current_child()
        if child is not None:
            child.ask_all(force)
        elif self._line is not None:
            self._line.ask(force)
        else:
            self._asked.append(force)

    def fileno(self) -> int:
        """Readable when there is something for ``next_event``."""
        assert self._line is not None  # noqa: S101 - only asked after start()
        return self._line.fileno()

    def has_news(self, within_s: float) -> bool:
        """Waits until there is something for ``next_event``."""
        return self._line is None or self._line.has_news(within_s)

    def next_event(self) -> Event | None:
        """The next event of the worker with its arguments, the name "" if it is none; None when all have ended."""
        message = None if self._line is None or self._is_over else self._line.receive()
        if message is News.READY:
            return "ready", ()
        if message is News.CLOSING:
            return "closing", ("",)
        if isinstance(message, Ended):
            return "error", (_error_of(message),)
        if isinstance(message, StartFailed):
            self.failure = message.error
            return "", ()
        if not (self._is_over or message is News.OVER):
            self.failure = WorkerProcessError(
                "The supervisor of the worker processes has ended unexpectedly. The processes drain by themselves and "
                "end within their drain timeout. If it was killed, look for who did it (out of memory?)."
            )
        self._is_over = True
        return None

    def leave(self) -> None:
        """After the last event: gives up what was held."""
        atexit.unregister(self.ask)
        if self._line is not None:
            self._line.close()
        if self._host is not None:
            self._host.join()
        if self._embedded is not None:
            self._embedded.release()


def _fork(supervisor: Supervisor, upper: UpperEnd) -> Any:
    context: Any = multiprocessing.get_context("fork")
    process = context.Process(target=_supervise_in_process, args=(supervisor, upper), name="chasquimq supervisor")
    before = hold_signals()
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _supervise_in_process(supervisor: Supervisor, upper: UpperEnd) -> None:
    upper.close()
    # Else signals of the new processes would be told to the program's event loop.
    signal.set_wakeup_fd(-1)
    # Whatever the program does about ended children, here their exit codes are wanted.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What the program has left to its garbage collector is not finalized in every process once more.
    gc.freeze()
    supervisor.run()


def _supervise_in_thread(supervisor: Supervisor) -> None:
    # Started by the first spawn anyway; it would undo the hold of signals there.
    resource_tracker.ensure_running()
    hold_signals()
    supervisor.run()


def _error_of(ended: Ended) -> WorkerProcessError:
    where = f"The worker process {ended.process!r}" + ("" if ended.pid is None else f" (pid {ended.pid})")
    what_it_ran = " What it was running runs again elsewhere when its leases are over."
    if ended.error is not None:
        how, what_it_ran = f"could not start ({ended.error}) and has ended", ""
    elif ended.exit_code is None:
        how = "has ended, nobody knows how,"
    elif ended.exit_code < 0:
        how = f"was killed by {_signal_name(-ended.exit_code)}"
    else:
        how = f"has ended with exit code {ended.exit_code}"
    then = "It was to end." if ended.restart_in_s is None else f"It is started again in {ended.restart_in_s:.1f} s."
    error = WorkerProcessError(
        f"{where} {how} after {ended.lived_s:.1f} s. {then}{what_it_ran}",
        process=ended.process,
        pid=ended.pid,
        exit_code=ended.exit_code,
    )
    error.__cause__ = ended.error
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
