"""Tickets: where one task waits for another, on the loops on which a connection waits on its own socket."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from chasquimq._net.loop_face import loop_face

Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    return lambda function: anyio.run(function, backend=request.param)


def test_a_task_waits_until_its_ticket_is_set(run: Run) -> None:
    async def main() -> None:
        ticket, heard = loop_face().ticket(), []

        async def wait() -> None:
            heard.append("waits")
            await ticket.wait()
            heard.append("goes on")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert heard == ["waits"]
            ticket.set()
            ticket.set()
        ticket.set()
        assert heard == ["waits", "goes on"]

    run(main)


def test_a_cancelled_wait_is_over_and_its_ticket_may_be_set_all_the_same(run: Run) -> None:
    async def main() -> None:
        ticket = loop_face().ticket()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ticket.wait)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        ticket.set()
        await anyio.wait_all_tasks_blocked()

    run(main)


def test_set_and_cancelled_in_the_same_turn(run: Run) -> None:
    async def main() -> None:
        ticket = loop_face().ticket()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ticket.wait)
                await anyio.wait_all_tasks_blocked()
                ticket.set()
                scope.cancel()
                ticket.set()

    run(main)
