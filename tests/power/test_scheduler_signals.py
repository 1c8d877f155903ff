"""A scheduler as a program of its own: it ends on SIGTERM and SIGINT, in good order."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from chasquimq.native import RepeatableSpec, RepeatPattern
from tests.conformance.world import World
from tests.power.conftest import Power


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_frees_the_lead(power: Power, world: World, number: signal.Signals) -> None:
    made = f"Scheduler({world.name!r}, connection={world.url!r}, name='program')"
    program = {
        "sync": f"from chasquimq.sync import Scheduler; {made}.run(handle_signals=True)",
        "asyncio": "import anyio; from chasquimq.aio import Scheduler; "
        f"anyio.run(lambda: {made}.run(handle_signals=True))",
        "trio": "import anyio; from chasquimq.aio import Scheduler; "
        f"anyio.run(lambda: {made}.run(handle_signals=True), backend='trio')",
    }[world.flavour.name]
    async with power.producer() as producer:
        await producer.upsert_repeatable(RepeatableSpec(job_name="n", pattern=RepeatPattern.every(3_600_000)))
    lock = world.key("scheduler:lock")
    with subprocess.Popen([sys.executable, "-W", "error", "-c", program], stderr=subprocess.PIPE) as process:
        try:
            await world.until(lambda: world.admin.get(lock) == b"program" or process.poll() is not None)
            process.send_signal(number)
            _, errors = await world.flavour.in_thread(lambda: process.communicate(timeout=20))
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, b"")
    assert world.admin.get(lock) is None


@pytest.mark.forms("sync")
async def test_only_the_main_thread_can_handle_signals(power: Power, world: World) -> None:
    import threading

    from chasquimq import NotSupportedError, sync

    errors: list[Any] = []

    def run() -> None:
        try:
            sync.Scheduler(world.name, connection=world.url).run(handle_signals=True)
        except NotSupportedError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1
