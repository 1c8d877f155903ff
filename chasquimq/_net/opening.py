"""What all ways of opening a connection share: credentials, TLS, socket options, words for failures.

Decides how a dead peer is noticed (keepalive, ``TCP_USER_TIMEOUT``) and how certificates are checked. It must
never read or write a socket: waiting differs per transport and lives there.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NoReturn, cast

import hiredis

from chasquimq._core.call import Reply
from chasquimq._core.handshake import Handshake, HandshakeSteps, handshake
from chasquimq._first_use import first_use
from chasquimq.address import Address, Tls
from chasquimq.errors import AuthenticationError, InvalidOptionError, RedisConnectionError, RedisTimeoutError

if TYPE_CHECKING:
    import ssl

__all__ = [
    "LARGE_REQUEST",
    "PING",
    "RECEIVE_BUFFER",
    "UNREADABLE",
    "closed_error",
    "connect_timeout_error",
    "first_words",
    "first_words_async",
    "garbled_error",
    "lost_at_once",
    "noting_reader",
    "raise_tls_error",
    "shake_hands",
    "silent_error",
    "tls_context",
    "tune",
]

RECEIVE_BUFFER = 64 * 1024
"""Bytes taken from the kernel at once; one buffer per connection, used again for every read."""

LARGE_REQUEST = 32 * 1024
"""Nothing is won by joining a request of this size to others; the server had better begin with it at once."""

UNREADABLE = (hiredis.ProtocolError, TypeError, MemoryError)
"""What hiredis raises for bytes that are no reply. A map whose key is a list, and a list of 10^9 items where there is
no memory for them, end as errors of Python's own."""

PING = b"*1\r\n$4\r\nPING\r\n"

# A peer that vanished is found after 5 + 3 * 2 seconds of silence on an idle connection (keepalive), and
# after 10 seconds where bytes of ours stay unacknowledged. Systems without one of these options use their
# own defaults.
_KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 10_000))


def tune(sock: socket.socket) -> None:
    """Sets a TCP socket to send at once and to notice a dead peer within seconds."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The TLS settings as a context; certificates are verified unless the address says otherwise."""
    with first_use:
        return _new_context(tls)


def _new_context(tls: Tls) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415  costs more to import than this library; most connections need none

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.check_hostname
    context.verify_mode = {
        "none": ssl.CERT_NONE,
        "optional": ssl.CERT_OPTIONAL,
        "required": ssl.CERT_REQUIRED,
    }[tls.cert_reqs]
    try:
        if tls.min_version is not None:
            context.minimum_version = ssl.TLSVersion(tls.min_version)
        if tls.ciphers is not None:
            context.set_ciphers(tls.ciphers)
        if tls.certfile is not None:
            # Without any password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(tls.certfile, tls.keyfile, tls.keyfile_password or "")
        if tls.ca_certs is not None or tls.ca_path is not None or tls.ca_data is not None:
            context.load_verify_locations(tls.ca_certs, tls.ca_path, tls.ca_data)
        else:
            context.load_default_certs()
    except (OSError, ValueError) as error:
        raise InvalidOptionError(
            f"connection: the TLS settings cannot be used: {error}. Check the ssl_* options and their files."
        ) from error
    return context


def noting_reader() -> tuple[hiredis.Reader, list[None]]:
    """A reader of replies, and a list that has something in it if it has read an error since the list was cleared."""
    errors: list[None] = []

    def note(text: str) -> hiredis.ReplyError:
        errors.append(None)
        return hiredis.ReplyError(text)

    return hiredis.Reader(replyError=note), errors


def first_words(address: Address) -> HandshakeSteps:
    """The handshake of a new connection; asks the credential provider for what is valid now."""
    username, password = address.username, address.password
    if address.credential_provider is not None:
        username, password = _pair(address.credential_provider.get_credentials())
    return _steps(address, username, password)


async def first_words_async(address: Address) -> HandshakeSteps:
    """``first_words``, with the provider's own asynchronous form where it has one."""
    ask = getattr(address.credential_provider, "get_credentials_async", None)
    if ask is None:
        return first_words(address)
    return _steps(address, *_pair(await ask()))


async def shake_hands(
    exchange: Callable[[bytes, int], Awaitable[list[Reply]]], address: Address, steps: HandshakeSteps
) -> Handshake:
    """Runs the handshake on an asynchronous connection."""
    try:
        request, replies = next(steps)
        while True:
            try:
                answers = await exchange(request, replies)
            except RedisTimeoutError:
                raise connect_timeout_error(address) from None
            except RedisConnectionError as error:
                raise lost_at_once(address, error) from error
            request, replies = steps.send(answers)
    except StopIteration as finished:
        return cast("Handshake", finished.value)


def lost_at_once(address: Address, error: RedisConnectionError) -> RedisConnectionError:
    """The error for a connection that broke in the handshake: the caller's command was not sent."""
    doubt = ""
    if address.tls is not None:
        # With TLS 1.3 a client learns after its own part of the handshake that the server does not accept it.
        asks = (
            "another certificate than that of ssl_certfile" if address.tls.certfile else "a certificate (ssl_certfile)"
        )
        doubt = f" If that happens each time, the server may ask for {asks}."
    return type(error)(f"{error} No command was sent.{doubt}")


def _pair(credentials: Sequence[str | None]) -> tuple[str | None, str | None]:
    if len(credentials) == 1:
        return None, credentials[0]
    username, password = credentials
    return username, password


def _steps(address: Address, username: str | None, password: str | None) -> HandshakeSteps:
    return handshake(
        address.display,
        username=username,
        password=password,
        db=address.db,
        client_name=address.client_name,
        role=address.role,
    )


def closed_error(address: Address, replies: Sequence[Reply], cause: object = None) -> RedisConnectionError:
    """The connection broke. A server that turns a client away says why in an error reply before it closes."""
    said = next((str(reply) for reply in replies if isinstance(reply, hiredis.ReplyError)), None)
    reason = f"the server said {said!r} and closed it" if said else (cause or "the server closed it")
    return RedisConnectionError(f"The connection to {address.display} was lost: {reason}.", may_have_executed=True)


def silent_error(address: Address, waited_ms: float) -> RedisTimeoutError:
    """The server owes an answer for too long."""
    return RedisTimeoutError(
        f"{address.display} did not answer within {waited_ms:.0f} ms, and the connection was given up. "
        "The server is gone, cut off, or busy with a slow command (SLOWLOG); the limit is socket_timeout_ms.",
        may_have_executed=True,
    )


def connect_timeout_error(address: Address) -> RedisTimeoutError:
    """Connecting, the handshake included, took too long."""
    # A Redis port without TLS waits in silence for the end of what it takes for a command.
    doubt = "whether this port speaks TLS" if address.tls else "whether this port wants TLS (rediss://)"
    return RedisTimeoutError(
        f"Cannot connect to {address.display}: no answer within {address.connect_timeout_ms} ms. No command was "
        f"sent. Check the address, firewalls between, and {doubt}; the limit is connect_timeout_ms."
    )


def garbled_error(address: Address, cause: object) -> RedisConnectionError:
    """The peer does not speak RESP."""
    return RedisConnectionError(
        f"What {address.display} sent is not Redis' protocol ({cause}), and the connection was given up. "
        "Check that the port is Redis' and whether it wants TLS (rediss://).",
        may_have_executed=True,
    )


def raise_tls_error(address: Address, error: Exception) -> NoReturn:
    """TLS could not be set up; a certificate that does not verify will not verify the next time either."""
    if type(error).__name__ in ("SSLCertVerificationError", "CertificateError"):
        raise AuthenticationError(
            f"{address.display} showed a certificate that was refused: {error}. Nothing was sent. "
            "Give its authority with ssl_ca_certs, or correct host so that it is the certificate's name."
        ) from error
    raise RedisConnectionError(
        f"Cannot set up TLS with {address.display}: {error}. Check that this port speaks TLS, the ssl_* options, and "
        "whether the server asks for a certificate (ssl_certfile)."
    ) from error
