"""A TCP proxy before a real server that does to connections what networks do.

Bytes are handed on as they come, unless a rule says otherwise. ``Cut`` breaks one connection at one byte of one
exchange; ``Weather`` is how all bytes of a direction fare: late, in small pieces, or not at all. It must never change
or invent a byte.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)

Way = Literal["up", "down"]
WAYS: tuple[Way, ...] = ("up", "down")


@dataclass
class Cut:
    """Breaks the connection on which a request with ``marker`` comes.

    ``up``: after so many bytes of that request have gone to the server. ``down``: the whole request goes through, and
    so many bytes of the answers to it. ``close`` is an orderly end to both sides, ``reset`` is none; ``half``: the
    client is told the end, and what it still sends is swallowed. ``times``: how many such connections.
    """

    marker: bytes
    way: Way
    at: int
    how: Literal["close", "reset", "half"] = "close"
    times: int = 1
    fired: int = 0
    length: int = 0
    """Bytes of the request, once it was seen."""
    accepted: int = 0
    """How many connections there had been when it broke this one."""
    withheld: int = 0
    """Bytes that had come and were not handed on."""


@dataclass(frozen=True)
class Weather:
    """``pause_s`` before each piece of at most ``piece`` bytes; ``swallows``: nothing comes through."""

    pause_s: float = 0.0
    piece: int = CHUNK
    swallows: bool = False


FAIR = Weather()
HOLE = Weather(swallows=True)


class Proxy:
    """Listens on ``port`` until ``close``; use it as a context manager."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.weather: dict[Way, Weather] = {"up": FAIR, "down": FAIR}
        self.cut: Cut | None = None
        self.accepted = 0
        """Connections so far."""
        self._talks: list[_Talk] = []
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="proxy")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def open_connections(self) -> int:
        """Connections that neither side has ended."""
        with self._guard:
            self._talks = [talk for talk in self._talks if not talk.is_over]
            return len(self._talks)

    def sever(self) -> None:
        """Breaks every connection that is open now."""
        with self._guard:
            talks = list(self._talks)
        for talk in talks:
            talk.end(reset=True)

    def close(self) -> None:
        self._over.set()
        self.weather = {"up": FAIR, "down": FAIR}
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.sever()
        for talk in self._talks:
            talk.join()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            with self._guard:
                self.accepted += 1
                self._talks = [talk for talk in self._talks if not talk.is_over]
                self._talks.append(_Talk(self, client, server))


class _Talk:
    """One connection: a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._sockets = {"up": (client, server), "down": (server, client)}
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._cut: Cut | None = None
        """The cut that is to come on the way down."""
        self._passed = 0
        self._is_deaf = False
        self._guard = threading.Lock()
        self._running = 2
        self.is_over = False
        self._threads = [threading.Thread(target=self._hand_on, args=(way,), name=f"proxy-{way}") for way in WAYS]
        for thread in self._threads:
            thread.start()

    def end(self, *, reset: bool = False) -> None:
        """Ends it on both sides; its threads notice."""
        with self._guard:
            if self.is_over:
                return
            self.is_over = True
            for each in self._sockets["up"]:
                with contextlib.suppress(OSError):
                    if reset:
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    else:
                        each.shutdown(socket.SHUT_WR)
                    each.shutdown(socket.SHUT_RD)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _hand_on(self, way: Way) -> None:
        source, target = self._sockets[way]
        try:
            while chunk := source.recv(CHUNK):
                allowed, cut = self._on_the_way_up(chunk) if way == "up" else self._on_the_way_down(chunk)
                self._send(way, target, allowed)
                if cut is not None:
                    self._break(cut)
        except OSError:
            pass
        finally:
            self.end()
            with self._guard:
                self._running -= 1
                if not self._running:
                    source.close()
                    target.close()

    def _send(self, way: Way, target: socket.socket, chunk: bytes) -> None:
        while chunk and not (self.is_over or self._is_deaf):
            weather = self._proxy.weather[way]
            if weather.swallows:
                return
            if weather.pause_s:
                time.sleep(weather.pause_s)
            target.sendall(chunk[: weather.piece])
            chunk = chunk[weather.piece :]

    def _on_the_way_up(self, chunk: bytes) -> tuple[bytes, Cut | None]:
        """What of a request may go on, and the cut that follows."""
        cut = self._proxy.cut
        if cut is None or cut.marker not in chunk:
            return chunk, None
        cut.length = len(chunk)
        if cut.way == "up":
            return (chunk[: cut.at], self._taken(cut)) if cut.at <= len(chunk) else (chunk, None)
        self._cut, self._passed = self._taken(cut), 0
        return chunk, None

    def _taken(self, cut: Cut) -> Cut:
        cut.times -= 1
        if not cut.times:
            self._proxy.cut = None
        return cut

    def _on_the_way_down(self, chunk: bytes) -> tuple[bytes, Cut | None]:
        """The same for answers. Nothing of them at all means: once they are there, so that the request was executed."""
        cut = self._cut
        if cut is None:
            return chunk, None
        left = cut.at - self._passed
        self._passed += len(chunk)
        if self._passed < cut.at:
            return chunk, None
        self._cut = None
        cut.withheld = len(chunk) - left
        return chunk[:left], cut

    def _break(self, cut: Cut) -> None:
        cut.accepted = self._proxy.accepted
        cut.fired += 1
        if cut.how == "half":
            self._is_deaf = True
            self._sockets["up"][0].shutdown(socket.SHUT_WR)
        else:
            self.end(reset=cut.how == "reset")
