"""Ctrl-C and SIGTERM: the first drains, the second stops, and the process always ends."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.conformance.programs import WorkerProcess
from tests.conformance.world import World

INTERRUPTED = -signal.SIGINT


def process(world: World, **options: Any) -> WorkerProcess:
    return WorkerProcess(world.flavour.name, world.url, world.name, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_the_first_signal_drains(world: World, number: signal.Signals) -> None:
    async with world.queue() as queue:
        await queue.add("w", "wait")
        with process(world, handle_signals=True, name="theirs", concurrency=1) as worker:
            await world.until(lambda: worker.said("started wait"))
            await queue.add("w", "not started")
            worker.send(number)
            await world.until(lambda: worker.said("closing"))
            assert worker.exit_code is None
            assert not worker.said("done")
            worker.release()
            await world.until(lambda: worker.exit_code is not None)
            assert worker.exit_code == 0, worker.complaints
            assert worker.said("done") == ["done wait"]
            assert worker.lines[-2:] == ["closed", "left"]
            assert worker.complaints == ""
    assert len(world.stream()) == 1
    assert "theirs" not in world.consumers()


async def test_the_second_signal_stops_at_once(world: World) -> None:
    async with world.queue() as queue:
        await queue.add("w", "wait")
        with process(world, handle_signals=True) as worker:
            await world.until(lambda: worker.said("started"))
            worker.send(signal.SIGINT)
            await world.until(lambda: worker.said("closing"))
            assert worker.exit_code is None
            worker.send(signal.SIGINT)
            await world.until(lambda: worker.exit_code is not None)
            assert worker.exit_code == 0, worker.complaints
            assert worker.said("done") == []
            assert worker.lines[-1] == "left"
    assert len(world.stream()) == 1


@pytest.mark.parametrize("scoped", [False, True], ids=["run", "scope"])
async def test_ctrl_c_without_handle_signals_drains_and_raises(world: World, scoped: bool) -> None:
    async with world.queue() as queue:
        await queue.add("w", "wait")
        with process(world, scoped=scoped, name="theirs") as worker:
            await world.until(lambda: worker.said("started"))
            worker.send(signal.SIGINT)
            await world.until(lambda: worker.said("closing"))
            assert worker.exit_code is None, worker.complaints
            worker.release()
            await world.until(lambda: worker.exit_code is not None)
            assert worker.exit_code == INTERRUPTED, worker.complaints
            assert worker.said("done") == ["done wait"]
            assert worker.lines[-2:] == ["closed", "interrupted"]
    assert world.is_empty()
    assert "theirs" not in world.consumers()


async def test_a_signal_while_it_starts_ends_it(world: World) -> None:
    for _ in range(3):
        with process(world, handle_signals=True) as worker:
            await world.until(lambda w=worker: w.said("ready"))
            worker.send(signal.SIGTERM)
            await world.until(lambda w=worker: w.exit_code is not None)
            assert worker.exit_code == 0, worker.complaints


async def test_a_signal_while_the_server_is_away_ends_it(own_world: World, own_server: Any) -> None:
    with process(own_world, handle_signals=True) as worker:
        await own_world.until(lambda: worker.said("ready"))
        own_server.kill()
        await own_world.until(lambda: worker.said("error"))
        worker.send(signal.SIGTERM)
        await own_world.until(lambda: worker.exit_code is not None)
        assert worker.exit_code == 0, worker.complaints
