"""The supervisor: starts the worker processes, starts again what dies, and sees that all of them end.

It does nothing else: no handler, no listener and no connection to a server lives where it runs. It waits for the orders
of the program that started it, for messages of the processes, and for their ends. Who is started again when is decided
in ``_core.restarts``.
"""

from __future__ import annotations

import math
import random
import time
from multiprocessing.connection import wait
from typing import Any

from chasquimq._core.restarts import Restarts
from chasquimq._processes.blueprint import Blueprint
from chasquimq._processes.child import main
from chasquimq._processes.link import AskedToClose, Ended, LowerEnd, News, StartFailed, UpperEnd, new_line
from chasquimq.errors import WorkerProcessError

__all__ = ["Supervisor"]

END_S = 8.0
"""How long a process may take for its end beyond the drain timeout; a worker writes its last ends within five."""
FORCED_END_S = 5.0
CHECK_S = 1.0
"""How often the processes are looked at, beside the pipes that tell their ends: what a handler has forked and left
behind keeps such a pipe open."""


class _Place:
    """One of the places for worker processes, and the process that has it now."""

    def __init__(self, number: int, base_name: str) -> None:
        self.number = number
        self._base_name = base_name
        self._lives = 0
        self.name = ""
        self.process: Any = None
        self.line: UpperEnd | None = None
        self.is_ready = False
        self.error: Exception | None = None
        """Why its worker could not start."""
        self.started_at = 0.0
        self.starts_at = 0.0
        self.untold: Ended | None = None
        """The end of a process that was asked to end: told when it is replaced, for perhaps all are to end."""

    def next_life(self) -> str:
        """A consumer name that none of its processes had: what a dead one held must not look like the next one's."""
        self.name = f"{self._base_name}-{self.number}" + (f".{self._lives}" if self._lives else "")
        self._lives += 1
        self.is_ready, self.error = False, None
        return self.name


class Supervisor:
    """From the first start to the last end; single-threaded."""

    def __init__(
        self, blueprint: Blueprint, context: Any, owner: LowerEnd, *, processes: int, name: str, drain_timeout_ms: int
    ) -> None:
        self._blueprint = blueprint
        self._context = context
        self._owner = owner
        self._owner_is_there = True
        self._drain_s = drain_timeout_ms / 1000
        self._restarts = Restarts()
        self._places = [_Place(number, name) for number in range(processes)]
        self._was_complete = False
        """All processes took jobs at one time; before that, an end may be the program's to know of."""
        self._is_stopping = self._is_forced = False
        self._kill_at = math.inf

    def run(self) -> None:
        """Returns when all processes have ended after an order to close; whatever happens, none is left alone."""
        try:
            while not self._is_stopping or any(place.process is not None for place in self._places):
                self._start_due()
                self._wait()
                self._look_for_ends()
                self._kill_late()
            self._owner.tell(News.OVER)
        finally:
            # A process whose line is closed drains by itself.
            for place in self._places:
                if place.line is not None:
                    place.line.close()
            self._owner.close()

    # -- starting --------------------------------------------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.process is None and not self._is_stopping and place.starts_at <= now:
                self._start(place)

    def _start(self, place: _Place) -> None:
        if place.untold is not None:
            self._owner.tell(place.untold)
            place.untold = None
        name = place.next_life()
        place.started_at = time.monotonic()
        try:
            place.line, lower = new_line()
            try:
                arguments = (self._blueprint, name, lower, self._copied())
                process = self._context.Process(target=main, args=arguments, name=f"chasquimq {name}")
                process.start()
            finally:
                lower.close()
        except Exception as error:  # noqa: BLE001 - no process, no memory, no file: told, and tried again
            self._hang_up(place)
            place.error = WorkerProcessError(f"The worker process {name!r} could not be started: {error}", process=name)
            self._ended(place, None, None)
        else:
            place.process = process

    def _copied(self) -> list[UpperEnd | LowerEnd]:
        """The ends of lines that a process started now would have a copy of."""
        if self._context.get_start_method() != "fork":
            return []
        return [self._owner, *(place.line for place in self._places if place.line is not None)]

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until something is told or has ended, or it is time for something."""
        places = {place.line: place for place in self._places if place.line is not None}
        sources: list[Any] = [*places, *(place.process.sentinel for place in self._places if place.process is not None)]
        if self._owner_is_there:
            sources.append(self._owner)
        until = self._kill_at
        if not self._is_stopping:
            until = min([until, *(place.starts_at for place in self._places if place.process is None)])
        readable: list[Any] = wait(sources, min(CHECK_S, max(0.0, until - time.monotonic())))
        for source in readable:
            if source is self._owner:
                self._take_order(self._owner.receive())
            elif source in places:
                self._hear(places[source])

    def _take_order(self, force: bool | None) -> None:
        self._owner_is_there = force is not None
        self._stop(force is True)

    def _hear(self, place: _Place) -> None:
        message = None if place.line is None else place.line.receive()
        if message is None:
            self._hang_up(place)
        elif message is News.READY:
            place.is_ready = True
            self._restarts.became_ready()
            if not self._was_complete and all(each.is_ready for each in self._places):
                self._was_complete = True
                self._owner.tell(News.READY)
        elif isinstance(message, StartFailed):
            place.error = message.error
        elif isinstance(message, AskedToClose):
            self._stop(message.force)

    def _hang_up(self, place: _Place) -> None:
        if place.line is not None:
            place.line.close()
            place.line = None

    # -- ends ------------------------------------------------------------------------------------------------------

    def _look_for_ends(self) -> None:
        ended = set(wait([place.process.sentinel for place in self._places if place.process is not None], 0))
        for place in self._places:
            process = place.process
            if process is None:
                continue
            if process.sentinel in ended:
                process.join()
            elif process.exitcode is None:
                continue
            # What it told last may still be in the line.
            while place.line is not None and place.line.has_news(0):
                self._hear(place)
            self._hang_up(place)
            place.process = None
            self._ended(place, process.pid, process.exitcode)

    def _ended(self, place: _Place, pid: int | None, exit_code: int | None) -> None:
        lived_s = time.monotonic() - place.started_at
        was_ready, place.is_ready = place.is_ready, False
        if self._is_stopping:
            if exit_code != 0 and place.error is None:
                self._owner.tell(Ended(place.name, pid, exit_code, lived_s, None))
            return
        if place.error is not None and not self._was_complete:
            self._give_up(place.error)
            return
        delay_ms = self._restarts.ended(
            place.number,
            asked=exit_code == 0,
            lived_ms=lived_s * 1000,
            before_ready=not was_ready and place.error is None,
            others_work=any(other.is_ready for other in self._places),
            draw=random.random(),  # noqa: S311 - jitter
        )
        if delay_ms is None:
            self._give_up(
                WorkerProcessError(
                    f"The worker processes end before they take a job, one after the other, the last one "
                    f"({place.name!r}) with exit code {exit_code}. None works, and starting more would not help: look "
                    "at what they wrote to the standard error output. Where they are spawned, the main program must "
                    "be importable: what starts the worker belongs under if __name__ == '__main__'.",
                    process=place.name,
                    pid=pid,
                    exit_code=exit_code,
                )
            )
            return
        place.starts_at = time.monotonic() + delay_ms / 1000
        if exit_code == 0:
            place.untold = Ended(place.name, pid, exit_code, lived_s, 0.0)
        else:
            self._owner.tell(Ended(place.name, pid, exit_code, lived_s, delay_ms / 1000, place.error))

    def _give_up(self, error: Exception) -> None:
        self._owner.tell(StartFailed(error))
        self._stop(False)

    # -- stopping --------------------------------------------------------------------------------------------------

    def _stop(self, force: bool) -> None:
        now = time.monotonic()
        if not self._is_stopping:
            self._is_stopping = True
            self._kill_at = now + self._drain_s + END_S
            self._owner.tell(News.CLOSING)
            self._pass_on(False)
        if force and not self._is_forced:
            self._is_forced = True
            self._kill_at = min(self._kill_at, now + FORCED_END_S)
            self._pass_on(True)
            for place in self._places:
                if place.process is not None and not place.is_ready:
                    # It has no job yet, and may be in the middle of its imports, deaf to orders.
                    place.process.kill()

    def _pass_on(self, force: bool) -> None:
        for place in self._places:
            if place.line is not None:
                place.line.ask(force)

    def _kill_late(self) -> None:
        if time.monotonic() >= self._kill_at:
            self._kill_at = math.inf
            for place in self._places:
                if place.process is not None:
                    place.process.kill()
