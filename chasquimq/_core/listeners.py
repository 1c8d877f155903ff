"""Listeners: who wants to hear of what.

Thread-safe, and cheap when nobody listens. It decides who is called; calling is the frontend's part, since one may
await and the other may not. Unknown event names are refused at registration: a typo would be silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container
from typing import Any, TypeVar, overload

from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError, shown

__all__ = ["WORKER_EVENTS", "Listeners"]

WORKER_EVENTS = ("ready", "active", "progress", "completed", "failed", "error", "closing", "closed")

ListenerT = TypeVar("ListenerT", bound=Callable[..., Any])


class Listeners:
    """The listeners of one object."""

    def __init__(self, events: tuple[str, ...]) -> None:
        self._known = events
        self._lock = threading.Lock()
        self._listeners: dict[str, tuple[tuple[Callable[..., Any], bool], ...]] = {}
        self.listened: Container[str] = self._listeners
        """The events that somebody listens to, at any time."""

    @overload
    def add(self, event: str, listener: ListenerT, *, once: bool) -> ListenerT: ...
    @overload
    def add(self, event: str, listener: None, *, once: bool) -> Callable[[ListenerT], ListenerT]: ...
    def add(self, event: str, listener: Any, *, once: bool) -> Any:
        """Registers; without a listener, returns the decorator that does."""
        self._check(event)
        if listener is None:
            return lambda decorated: self.add(event, decorated, once=once)
        if not callable(listener):
            raise InvalidOptionTypeError(f"the listener is {type(listener).__name__}; expected a function.")
        with self._lock:
            self._listeners[event] = (*self._listeners.get(event, ()), (listener, once))
        return listener

    def remove(self, event: str, listener: Callable[..., Any]) -> None:
        """Takes one registration back; not being registered is fine."""
        self._check(event)
        with self._lock:
            left = list(self._listeners.get(event, ()))
            for position, (known, _) in enumerate(left):
                if known == listener:
                    del left[position]
                    break
            self._store(event, tuple(left))

    def take(self, event: str) -> list[Callable[..., Any]]:
        """The listeners to call now; those for one time only are struck."""
        registered = self._listeners.get(event, ())
        if any(once for _, once in registered):
            with self._lock:
                registered = self._listeners.get(event, ())
                self._store(event, tuple(row for row in registered if not row[1]))
        return [listener for listener, _ in registered]

    def registered(self) -> tuple[tuple[str, Callable[..., Any], bool], ...]:
        """Every registration: event, listener, whether for one time only."""
        with self._lock:
            return tuple((event, *row) for event, rows in self._listeners.items() for row in rows)

    def _store(self, event: str, registered: tuple[tuple[Callable[..., Any], bool], ...]) -> None:
        if registered:
            self._listeners[event] = registered
        else:
            self._listeners.pop(event, None)

    def _check(self, event: str) -> None:
        if event not in self._known:
            raise InvalidOptionError(f"there is no event {shown(event)}. Events: {', '.join(self._known)}.")
