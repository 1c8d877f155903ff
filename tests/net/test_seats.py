"""On trio waiting tasks write and read for each other: whoever leaves must not take a seat with him."""

from __future__ import annotations

import itertools
import socket

import trio

from chasquimq._net.anyio_transport import AnyioConnection
from chasquimq.address import Address

from .commands import pack

REQUEST = pack("PING")
TURNS = range(4)
TIMES = 5
"""trio runs the tasks of one turn in any order."""


def test_a_writer_that_leaves_does_not_leave_a_reader_waiting_for_what_was_not_written() -> None:
    """One asks and reads; one is about to write, and is cancelled; one more asks. Every order of all that is tried."""

    async def main() -> None:
        for answering, leaving, asking, cancelling in itertools.product(TURNS, repeat=4):
            for _ in range(TIMES):
                await _talk(answering, leaving, asking, leaving + cancelling)

    trio.run(main)


async def _talk(answering: int, leaving: int, asking: int, cancelling: int) -> None:
    """After how many turns of the loop the server answers, the others come, and the one is cancelled."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        connection = AnyioConnection(Address(), ours)
        scope, server = trio.CancelScope(), trio.CancelScope()
        with trio.fail_after(10):
            async with trio.open_nursery() as outer:
                outer.start_soon(_answer, theirs, answering, server)
                async with trio.open_nursery() as askers:
                    askers.start_soon(_ask, connection, 0)
                    askers.start_soon(_ask, connection, leaving, scope)
                    askers.start_soon(_ask, connection, asking)
                    await _turns(cancelling)
                    scope.cancel()
                server.cancel()
        connection.abort()


async def _ask(connection: AnyioConnection, after: int, scope: trio.CancelScope | None = None) -> None:
    with scope or trio.CancelScope():
        await _turns(after)
        assert await connection.exchange(REQUEST) == [b"PONG"]


async def _answer(theirs: socket.socket, after: int, scope: trio.CancelScope) -> None:
    with scope:
        await _turns(after)
        while True:
            try:
                theirs.send(b"+PONG\r\n" * (len(theirs.recv(4096)) // len(REQUEST)))
            except BlockingIOError:
                await trio.lowlevel.checkpoint()


async def _turns(number: int) -> None:
    for _ in range(number):
        await trio.lowlevel.checkpoint()
