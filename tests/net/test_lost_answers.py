"""What is said, and what is sent again, when a connection breaks: every word of it must be true."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from chasquimq._core.call import Call
from chasquimq.address import Address, resolve_address
from chasquimq.errors import RedisConnectionError
from tests.servers import RedisServer

from .commands import call, echo
from .conftest import Form, Peer

RESET = struct.pack("ii", 1, 0)


def takes_one_and_resets(taken: list[bytes], gone: threading.Event) -> Callable[[socket.socket], None]:
    """Takes a request, as a server that then executes it, and is gone with a reset instead of an answer."""

    def serve(accepted: socket.socket) -> None:
        if request := accepted.recv(65_536):
            taken.append(request)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        accepted.close()
        gone.set()

    return serve


def test_a_sent_call_of_a_stream_is_not_sent_again_because_the_next_one_was_not(
    form: Form, peer: Callable[..., Peer]
) -> None:
    """The connection breaks between two sends: nothing of the second left, and the first may be done."""
    taken: list[bytes] = []
    gone = threading.Event()
    broken = peer(takes_one_and_resets(taken, gone))

    def calls() -> Iterator[Call[Any]]:
        yield call("INCR", "x")
        assert form.name != "sync" or gone.wait(5)  # elsewhere the first is written when the stream waits
        time.sleep(0.02)  # the reset is on its way through the loopback interface
        yield call("INCR", "y")

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        with pytest.raises(RedisConnectionError, match="number 0 of the stream") as caught:
            async for _ in client.stream(calls()):
                pass
        assert caught.value.may_have_executed
        assert not caught.value.safe_to_repeat
        assert sum(request.count(b"\r\nx\r\n") for request in taken) == 1
        await client.close()

    form.run(main)


def test_a_stream_that_has_all_its_answers_needs_no_server_any_more(form: Form, peer: Callable[..., Peer]) -> None:
    def serve(accepted: socket.socket) -> None:
        received = b""
        while received.count(b"ECHO") < 2:
            received += accepted.recv(65_536)
        accepted.sendall(b"$1\r\na\r\n$1\r\nb\r\n")

    answering = peer(serve)

    async def main() -> None:
        client = form.client(Address(port=answering.port))
        results = []
        async for result in client.stream([call("ECHO", "a"), call("ECHO", "b")]):
            results.append(result)
            answering.close()
            while form.name in ("asyncio", "uvloop") and not client._connection.is_closed:
                await anyio.sleep(0.001)  # there the end is noticed though nobody asks
        assert results == [b"a", b"b"]
        await client.close()

    form.run(main)


def test_a_call_that_was_sent_once_is_never_said_to_be_unsent(
    form: Form, peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sending is lost, and the connections for the next ones break before anything is written."""
    taken: list[bytes] = []
    broken = peer(takes_one_and_resets(taken, threading.Event()))
    cls = type(form.run(_opened, form, Address(port=broken.port)))
    open_ = cls.open

    async def open_broken(address: Address, *epoch: int) -> Any:
        connection = await open_(address, *epoch)
        if taken:
            connection.abort()
        return connection

    def open_broken_at_once(address: Address, *epoch: int) -> Any:
        connection = open_(address, *epoch)
        if taken:
            connection.close()
        return connection

    monkeypatch.setattr(cls, "open", open_broken_at_once if form.name == "sync" else open_broken)

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        with pytest.raises(RedisConnectionError) as caught:
            await client.run(call("XADD", "x", idempotent=True, repeatable=False))
        assert len(taken) == 1
        assert caught.value.may_have_executed
        assert not caught.value.safe_to_repeat
        await client.close()

    form.run(main)


async def _opened(form: Form, address: Address) -> Any:
    """A connection, closed: of which class it is."""
    connection = await form.connection.open(address)
    await connection.aclose()
    return getattr(connection, "it", connection)


def takes_one_and_then_refuses(taken: list[bytes], refusal: bytes) -> Callable[[socket.socket], None]:
    """A server that executes a request, goes before it has answered, and comes back loading its data."""
    lose = takes_one_and_resets(taken, threading.Event())

    def serve(accepted: socket.socket) -> None:
        if not taken:
            lose(accepted)
        elif accepted.recv(65_536):
            accepted.sendall(refusal)
            accepted.recv(1)

    return serve


@pytest.mark.parametrize("refusal", [b"-LOADING Redis is loading the dataset in memory\r\n", b"-NOAUTH no\r\n"])
@pytest.mark.parametrize("repeatable", [True, False])
def test_a_refusal_of_the_second_sending_does_not_unsay_the_first(
    form: Form, peer: Callable[..., Peer], refusal: bytes, repeatable: bool
) -> None:
    taken: list[bytes] = []
    broken = peer(takes_one_and_then_refuses(taken, refusal))

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        with pytest.raises(RedisConnectionError, match="sent again, and refused") as caught:
            await client.run(call("XADD", "x", idempotent=True, repeatable=repeatable))
        assert len(taken) == 1
        assert caught.value.may_have_executed
        assert caught.value.safe_to_repeat is repeatable
        await client.close()

    form.run(main)


def test_what_may_be_repeated_is_told_beside_what_may_have_been_done(form: Form, peer: Callable[..., Peer]) -> None:
    broken = peer(takes_one_and_resets([], threading.Event()))

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        with pytest.raises(RedisConnectionError, match="Repeating the call is safe") as caught:
            await client.run(call("SET", "x", "1", repeatable=True))
        assert caught.value.may_have_executed
        assert caught.value.safe_to_repeat
        await client.close()

    form.run(main)


def test_what_was_never_sent_is_said_to_be_unsent(form: Form, redis_server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main() -> None:
        client = form.client(resolve_address(f"redis://127.0.0.1:{port}"))
        with pytest.raises(RedisConnectionError) as caught:
            await client.run(echo("x"))
        assert not caught.value.may_have_executed
        assert caught.value.safe_to_repeat
        await client.close()

    form.run(main)
