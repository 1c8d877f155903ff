"""What a subscription shows of itself in both forms: its listeners and its state. It never waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from chasquimq._core.carrying import OfOneProcess
from chasquimq._core.listeners import Listeners, ListenerT
from chasquimq._core.subscription import aliases
from chasquimq.events import Drained, QueueEvent

__all__ = ["SUBSCRIPTION_EVENTS", "EventsFace"]

SUBSCRIPTION_EVENTS = (
    "waiting",
    "active",
    "completed",
    "failed",
    "retry-scheduled",
    "delayed",
    "dlq",
    "retries-exhausted",
    "drained",
    "unknown",
    "gap",
    "error",
)


class EventsFace(OfOneProcess):
    """Base of ``sync.QueueEvents`` and ``aio.QueueEvents``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._listeners = Listeners(SUBSCRIPTION_EVENTS)
        self._is_closed = False

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._name

    @property
    def is_closed(self) -> bool:
        """True after the first ``close()``."""
        return self._is_closed

    @overload
    def on(self, event: str, listener: ListenerT) -> ListenerT: ...
    @overload
    def on(self, event: str) -> Callable[[ListenerT], ListenerT]: ...
    def on(self, event: str, listener: Any = None) -> Any:
        """Calls ``listener(event, event_id)`` at every event of this kind; without one, it is a decorator.

        Kinds: ``waiting active completed failed retry-scheduled delayed dlq retries-exhausted unknown gap``, each with
        its class of ``chasquimq.events``; ``drained (event_id)``; ``error (error)``. A listener that raises is logged
        and reported through ``error``; the subscription goes on.
        """
        return self._listeners.add(event, listener, once=False)

    @overload
    def once(self, event: str, listener: ListenerT) -> ListenerT: ...
    @overload
    def once(self, event: str) -> Callable[[ListenerT], ListenerT]: ...
    def once(self, event: str, listener: Any = None) -> Any:
        """Like ``on``, for the next event of this kind only."""
        return self._listeners.add(event, listener, once=True)

    def off(self, event: str, listener: Callable[..., Any]) -> None:
        """Takes a listener back. One that is not registered is fine."""
        self._listeners.remove(event, listener)

    def _tell(self, event: QueueEvent) -> None:
        """Calls the listeners of an event, under all its names."""
        for named in (event, *aliases(event)):
            if isinstance(named, Drained):
                self._call("drained", named.event_id)
            elif named.event in self._listeners.listened:
                self._call(named.event, named, named.event_id)

    def _call(self, name: str, *arguments: Any) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<QueueEvents {self._name!r}{' closed' if self._is_closed else ''}>"
