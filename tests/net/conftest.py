"""The four ways to wait (blocking, asyncio, uvloop, trio) behind one face, and peers that misbehave on demand."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
import uvloop

from chasquimq._core.call import Call
from chasquimq._core.profile import ServerProfile
from chasquimq._net.anyio_transport import AnyioConnection
from chasquimq._net.asyncio_transport import AsyncioConnection
from chasquimq._net.blocking import BlockingConnection
from chasquimq._net.following import FollowingConnection
from chasquimq.address import Address
from chasquimq.aio._client import Client as AsyncClient
from chasquimq.sync._client import Client as SyncClient

from .commands import HELLO_REPLY


def run_without_a_loop(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Runs a coroutine function whose awaits never wait."""
    with pytest.raises(StopIteration) as finished:
        function(*arguments).__await__().send(None)
    return finished.value.value


class SyncConnection:
    """A blocking connection with the asynchronous face."""

    def __init__(self, connection: BlockingConnection | FollowingConnection) -> None:
        self.it = connection

    @classmethod
    async def open(cls, address: Address) -> "SyncConnection":
        return cls(BlockingConnection.open(address))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.it, name)

    async def exchange(self, request: bytes, replies: int = 1, blocks_ms: int = 0) -> list[Any]:
        return self.it.exchange(request, replies, blocks_ms)

    async def aclose(self) -> None:
        self.it.close()


class SyncClientAsAsync:
    """The synchronous client with the asynchronous face."""

    def __init__(self, address: Address, key: bytes = b"") -> None:
        self.it = SyncClient(address, key)

    @property
    def is_closed(self) -> bool:
        return self.it.is_closed

    async def run(self, call: Call[Any]) -> Any:
        return self.it.run(call)

    async def stream(self, calls: Iterable[Call[Any]], window: int = 3) -> AsyncIterator[Any]:
        for result in self.it.stream(calls, window):
            yield result

    async def profile(self) -> ServerProfile:
        return self.it.profile()

    async def dedicated(self) -> SyncConnection:
        return SyncConnection(self.it.dedicated())

    async def close(self) -> None:
        self.it.close()


class Form:
    """One way to wait."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client: Any = SyncClientAsAsync if name == "sync" else AsyncClient
        self.connection: Any = {"sync": SyncConnection, "trio": AnyioConnection, "anyio": AnyioConnection}.get(
            name, AsyncioConnection
        )

    def run(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        async def main() -> Any:
            return await function(*arguments)

        if self.name == "sync":
            return run_without_a_loop(main)
        if self.name == "trio":
            return trio.run(main)
        if self.name == "uvloop":
            return uvloop.run(main())
        return asyncio.run(main())


@pytest.fixture(params=["sync", "asyncio", "uvloop", "trio"])
def form(request: pytest.FixtureRequest) -> Form:
    """Every way to wait."""
    return Form(request.param)


@pytest.fixture(params=["asyncio", "uvloop", "trio", "anyio"])
def async_form(request: pytest.FixtureRequest) -> Form:
    """Every way to wait in a loop; ``anyio`` is trio's connection under asyncio."""
    return Form(request.param)


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def client_form(request: pytest.FixtureRequest) -> Form:
    """Every way to wait in a loop that clients choose by themselves."""
    return Form(request.param)


class Peer:
    """A listening socket whose connections are each served by ``serve`` in a thread."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self.over = threading.Event()
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self.over.is_set():
            with suppress(TimeoutError):
                accepted, _ = self._listener.accept()
                self.connections += 1
                self._threads.append(threading.Thread(target=self._talk, args=(accepted,)))
                self._threads[-1].start()

    def _talk(self, accepted: socket.socket) -> None:
        with accepted, suppress(OSError):
            accepted.settimeout(10)
            self._serve(accepted)

    def close(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Makes peers; by default they shake hands and then do as they are told."""
    peers: list[Peer] = []

    def make(serve: Callable[[socket.socket], None], *, greets: bool = True) -> Peer:
        def greeting(accepted: socket.socket) -> None:
            accepted.recv(65_536)
            accepted.sendall(HELLO_REPLY)
            serve(accepted)

        peers.append(Peer(greeting if greets else serve))
        return peers[-1]

    yield make
    for each in peers:
        each.close()
