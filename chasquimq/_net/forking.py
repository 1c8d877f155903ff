"""What a forked child has of its parent's connections and workers: nothing that could harm them.

A fork copies descriptors, not connections: parent and child would read each other's replies, and whatever one of them
says on the socket (a shutdown, the end of TLS) is said for both. So in the child every socket of ours is closed, or
replaced by a dead one, before any code of the program runs there. Of the threads only the forking one is copied, so
objects with threads, tasks or locks hear of the fork and put themselves right. It must never touch what the parent goes
on using, wait for a lock, or log: another thread may have held the lock of whatever a message goes to.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn, Protocol
from weakref import WeakKeyDictionary, WeakSet

__all__ = ["Forked", "HasDescriptor", "Severed", "end_stray_child", "keep_from_children", "tell_in_children"]


class Forked(Protocol):
    """What wants to hear of a fork."""

    def _after_fork(self) -> None:
        """Called in the child, where no other thread runs; the locks of the parent may be locked for ever."""


class Severed(Protocol):
    """A connection, which the child finds closed."""

    is_closed: bool


class HasDescriptor(Protocol):
    """A socket, or what an event loop shows of one."""

    def fileno(self) -> int: ...


_connections: WeakKeyDictionary[Severed, HasDescriptor] = WeakKeyDictionary()
_others: WeakSet[Forked] = WeakSet()


def keep_from_children(connection: Severed, sock: HasDescriptor) -> None:
    """Has every child find this connection closed, and this socket closed or dead."""
    _connections[connection] = sock


def tell_in_children(owner: Forked) -> None:
    """Has ``owner`` hear of every fork, as long as it lives."""
    _others.add(owner)


def end_stray_child(error: BaseException | None) -> NoReturn:
    """A handler has forked and its child has come back from it, where it would go on as a worker without being one.

    It ends as a program that has come to its end, or was ended by ``error``; the job's end is the parent's to tell.
    """
    code = 0
    try:
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            code = 1
            sys.excepthook(type(error), error, error.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _after_fork() -> None:
    sockets = [sock for connection, sock in _connections.items() if not connection.is_closed]
    for connection in _connections:
        connection.is_closed = True
    _connections.clear()
    for owner in list(_others):
        owner._after_fork()
    loops = []
    for sock in sockets:
        if isinstance(sock, socket.socket):
            sock.close()  # which sends nothing, also with TLS
        elif sock.fileno() >= 0:
            loops.append(sock)
    if loops:
        # The copy of an event loop may still read from that descriptor, so it must not become that of another file.
        dead, peer = socket.socketpair()
        peer.close()
        for sock in loops:
            os.dup2(dead.fileno(), sock.fileno(), inheritable=False)
        dead.close()


os.register_at_fork(after_in_child=_after_fork)
