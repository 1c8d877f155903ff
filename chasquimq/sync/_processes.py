"""A worker with several processes, synchronous form: what runs in each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chasquimq._core.worker_settings import WorkerSettings
from chasquimq._processes.blueprint import Blueprint
from chasquimq._processes.child import Child
from chasquimq._processes.fleet import Fleet
from chasquimq.options import WorkerOptions

__all__ = ["new_fleet", "run_worker"]


def new_fleet(
    settings: WorkerSettings, queue_name: str, processor: Callable[[Any], Any], options: WorkerOptions
) -> Fleet:
    """The processes of a worker with these options; none is started."""
    return Fleet(settings, run_worker, queue_name, processor, options)


def run_worker(blueprint: Blueprint, name: str, child: Child) -> None:
    """Runs an ordinary worker until it is told to end."""
    from chasquimq.sync.worker import Worker  # noqa: PLC0415 - which imports this module

    worker = Worker[Any, Any](blueprint.queue_name, blueprint.processor, name=name, opts=blueprint.options)
    for event, listener, once in blueprint.listeners:
        (worker.once if once else worker.on)(event, listener)
    worker.once("ready", child.ready)
    child.obey(worker._ask)
    worker.run()
