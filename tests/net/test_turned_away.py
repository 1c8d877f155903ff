"""What callers are told when a command was turned away and then the way to its new place is blocked."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from chasquimq.address import Address
from chasquimq.errors import RedisConnectionError, RedisTimeoutError, ServerReplyError

from .commands import call, pack, pipeline
from .conftest import Form, Peer

Make = Callable[..., Peer]


def naming(peer: Make, port: int, *, executes: bytes = b"") -> Address:
    """A server that executes what ``executes`` answers and says of the next command that it belongs to a port."""

    def serve(accepted: socket.socket) -> None:
        while accepted.recv(65_536):
            accepted.sendall(executes + b"-MOVED 1 127.0.0.1:%d\r\n" % port)

    return Address(port=peer(serve).port, failover_timeout_ms=100, socket_timeout_ms=200)


def run(form: Form, address: Address, what: Any) -> Any:
    async def main() -> Any:
        client = form.client(address)
        try:
            return await client.run(what)
        finally:
            await client.close()

    return form.run(main)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_command_that_reached_nobody_has_had_no_effect(form: Form, peer: Make) -> None:
    with pytest.raises(RedisConnectionError, match="had no effect") as caught:
        run(form, naming(peer, closed_port()), call("INCR", "n"))
    assert not caught.value.may_have_executed


def test_of_a_pipeline_a_part_may_have_had_an_effect(form: Form, peer: Make) -> None:
    address = naming(peer, closed_port(), executes=b":1\r\n")
    with pytest.raises(RedisConnectionError) as caught:
        run(form, address, pipeline(pack("INCR", "n"), pack("INCR", "n")))
    assert caught.value.may_have_executed


@pytest.mark.parametrize("silent", [False, True], ids=["closes", "is silent"])
def test_a_command_whose_answer_is_lost_at_its_new_place(form: Form, peer: Make, silent: bool) -> None:
    received: list[bytes] = []

    def serve(accepted: socket.socket) -> None:
        received.append(accepted.recv(65_536))
        if silent:
            accepted.recv(65_536)

    address = naming(peer, peer(serve).port)
    with pytest.raises(RedisConnectionError, match="may or may not") as caught:
        run(form, address, call("INCR", "n"))
    assert caught.value.may_have_executed
    assert isinstance(caught.value, RedisTimeoutError) is silent
    assert received == [pack("INCR", "n")]


def test_servers_that_send_us_to_each_other(form: Form, peer: Make) -> None:
    """It ends, and the error is what the last one has said."""
    there: list[int] = []

    def serve(accepted: socket.socket) -> None:
        while accepted.recv(65_536):
            accepted.sendall(b"-MOVED 1 127.0.0.1:%d\r\n" % there[0])

    address = naming(peer, peer(serve).port)
    there.append(address.port)
    with pytest.raises(ServerReplyError, match="do not agree") as caught:
        run(form, address, call("INCR", "n"))
    assert caught.value.code == "MOVED"
