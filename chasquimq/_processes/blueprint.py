"""What a worker process is built from, and how processes can be started for it.

Decides between ``fork`` and ``spawn``, and refuses early what cannot be carried into a new interpreter.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chasquimq._core.log import logger_named
from chasquimq._dataclass import dataclass, field_names
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError
from chasquimq.options import WorkerOptions

if TYPE_CHECKING:
    from chasquimq._processes.child import Child

__all__ = ["Blueprint", "Registration", "check_can_be_carried", "choose_method"]

logger = logger_named("chasquimq.worker")

Registration = tuple[str, Callable[..., Any], bool]
"""A listener: the event, the function, whether for one time only."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Everything that a worker process needs to know; a forked one inherits it, a spawned one receives it."""

    run: Callable[[Blueprint, str, Child], None]
    """Runs the form's ordinary worker: (this blueprint, consumer name, who is told and asked)."""
    queue_name: str
    processor: Callable[[Any], Any]
    options: WorkerOptions
    """Those of one process, with the address resolved and without a name."""
    listeners: tuple[Registration, ...] = ()
    loop: Any = None
    """What the asynchronous form needs to make the same kind of event loop."""


def choose_method(given: str | None) -> str:
    """How processes are started: as ``given``, else by fork where that is safe.

    A fork copies the memory, but of the threads only the one that calls it: locks that others held stay locked for
    ever. macOS' own libraries do not bear it at all.
    """
    if given is not None:
        if given not in multiprocessing.get_all_start_methods():
            raise InvalidOptionError(f"start_method is {given!r}, which this system does not have. Leave it out.")
        return given
    if sys.platform == "darwin":
        return "spawn"
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if not others:
        return "fork"
    logger.warning(
        "worker processes are spawned, not forked, because other threads run here (%s): they import the processor "
        "anew and know nothing of what this program has set up, for example of logging. Start the worker before the "
        "threads, or give start_method='spawn' to have it always so.",
        ", ".join(others),
    )
    return "spawn"


def check_can_be_carried(blueprint: Blueprint) -> None:
    """Raises InvalidOptionTypeError, naming it, if a part cannot be pickled for a new interpreter."""
    parts = [
        ("the processor", blueprint.processor),
        *((f"the listener of {event!r}", listener) for event, listener, _ in blueprint.listeners),
        ("the connection's credential_provider", blueprint.options.connection.credential_provider),
        *((f"the option {name}", getattr(blueprint.options, name)) for name in field_names(WorkerOptions)),
        ("the event loop's class", blueprint.loop),
    ]
    has_importable_main = _has_importable_main()
    for what, part in parts:
        try:
            data = pickle.dumps(part)
        except Exception as error:
            raise _refusal(what, part, f"it cannot be pickled ({error})") from error
        if not has_importable_main and b"__main__" in data:
            raise _refusal(what, part, "it was made in an interactive program, which cannot be imported")


def _refusal(what: str, part: object, why: str) -> InvalidOptionTypeError:
    name = getattr(part, "__qualname__", None) or type(part).__qualname__
    return InvalidOptionTypeError(
        f"{what} ({name}) cannot be carried into the worker processes: {why}. They are new interpreters "
        "(start_method='spawn'), which import functions by name. Use a function at the top level of a module; or "
        "start_method='fork', which takes everything, as long as no other threads run that may hold locks."
    )


def _has_importable_main() -> bool:
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return True
    file = getattr(main, "__file__", None)
    return file is not None and Path(file).exists()
