"""Opens a non-blocking socket under any event loop that anyio supports: names, TCP, unix sockets, TLS.

Decides in which order addresses are tried. It must never block the loop nor leave a socket open when it
fails or is cancelled; the time limit is the caller's.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import anyio

from chasquimq._core.reconnect import unreachable_error
from chasquimq._net.opening import raise_tls_error, tls_context, tune
from chasquimq.address import Address

if TYPE_CHECKING:
    import ssl

__all__ = ["connected_socket"]

BUSY_RETRY_SECONDS = 0.01


async def connected_socket(address: Address) -> socket.socket:
    """A connected socket, TLS included. Raises ``RedisConnectionError`` and its kinds."""
    context = None if address.tls is None else tls_context(address.tls)
    try:
        if address.unix_socket_path is None:
            sock = await _connected_tcp(address.host, address.port)
        else:
            sock = await _connected(socket.AF_UNIX, address.unix_socket_path)
    except OSError as error:
        raise unreachable_error(address.display, str(error)) from error
    if context is None:
        return sock
    try:
        return await _secured(address, context, sock)
    except BaseException:
        sock.close()
        raise


async def _connected_tcp(host: str, port: int) -> socket.socket:
    failure = OSError(f"{host} has no address")
    for family, _, _, _, target in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            sock = await _connected(family, target)
        except OSError as error:
            failure = error
        else:
            tune(sock)
            return sock
    raise failure


async def _connected(family: int, target: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while (code := sock.connect_ex(target)) == errno.EAGAIN:  # type: ignore[arg-type]
            # A unix socket whose queue of newcomers is full; unlike TCP it does not go on by itself.
            await anyio.sleep(BUSY_RETRY_SECONDS)
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


async def _secured(address: Address, context: ssl.SSLContext, sock: socket.socket) -> socket.socket:
    import ssl  # noqa: PLC0415  only with TLS

    secured = None
    try:
        secured = context.wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False)
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                await anyio.wait_readable(secured)
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(secured)
            else:
                return secured
    except (OSError, ValueError) as error:
        if secured is not None:
            secured.close()
        raise_tls_error(address, error)
    except BaseException:
        if secured is not None:
            secured.close()
        raise
