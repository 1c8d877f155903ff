"""A worker with several processes, asynchronous form: what runs in each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from chasquimq._core.worker_settings import WorkerSettings
from chasquimq._net.event_loop import call_in, running_loop
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
    """Runs an ordinary worker until it is told to end, on an event loop of the program's kind."""
    backend, options = blueprint.loop
    anyio.run(_run_worker, blueprint, name, child, backend=backend, backend_options=options)


async def _run_worker(blueprint: Blueprint, name: str, child: Child) -> None:
    from chasquimq.aio.worker import Worker  # noqa: PLC0415 - which imports this module

    worker = Worker[Any, Any](blueprint.queue_name, blueprint.processor, name=name, opts=blueprint.options)
    for event, listener, once in blueprint.listeners:
        (worker.once if once else worker.on)(event, listener)
    worker.once("ready", child.ready)
    loop = running_loop()
    child.obey(lambda force: call_in(loop, lambda: worker._ask(force)))
    await worker.run()
