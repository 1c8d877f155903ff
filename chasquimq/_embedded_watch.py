"""The guardian of one embedded server: starts it, keeps it up, stops it when its last user has left.

Runs as a small process of its own (``python -I -S _embedded_watch.py``), so that the server outlives any one
of its users and is stopped even if all of them were killed. Everything is told by four lock files in the
control folder; the kernel drops a lock with its holder, so none of them can be left behind:

* ``users``: shared, by each user process. Whoever can have it exclusively knows that nobody uses the server.
* ``watcher``: held by this process for as long as it looks after the server.
* ``server``: held by the server process itself (it inherits the open file), so a live one is never doubled.
* ``start``: one start or stop at a time; with it, no newcomer is handed a server that is about to stop.

Order: ``start`` before ``users``; nobody waits for ``start`` while holding ``users`` exclusively. Must never
import the package (it has to start at once), print anything, or end while the server has users.
"""

import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal's Ctrl-C or a supervisor's stop is for the users; the last of them to leave ends the server."""
POLL_S = 0.005
CHECK_S = 0.5
"""How often the server is looked at, beside the signal that tells its end."""
STARTED_S = 1.0
MAX_SHORT_LIVES = 5
"""A server that gives up within STARTED_S cannot work, and is not started again; nor is one killed as soon as
that so many times in a row."""
STOP_S = 30.0
MAX_SOCKET_PATH = 100
"""The system's limit is 107 bytes on Linux, 103 elsewhere."""


class ServerEnded(Exception):  # noqa: N818 (an event, not an error)
    """The server process has ended."""


def open_lock(control: Path, name: str) -> int:
    return os.open(control / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(control: Path, name: str) -> bool:
    """Whether somebody holds the lock `name`."""
    fd = open_lock(control, name)
    try:
        if not try_lock(fd):
            return True
        # Unlock, not only close: a child forked in this very moment has the same open file.
        fcntl.flock(fd, fcntl.LOCK_UN)
        return False
    finally:
        os.close(fd)


def read_socket_path(control: Path) -> Path | None:
    try:
        text = (control / "socket").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    return Path(text) if text else None


def ask(path: Path, command: bytes) -> bytes:
    """The first bytes of the server's answer; empty if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(command + b"\r\n")
            return connection.recv(64)
        except (ConnectionError, FileNotFoundError, TimeoutError):
            return b""


def ask_to_stop(control: Path) -> None:
    """Have a server that is not this process's child write its data and end; wait until it has."""
    path = read_socket_path(control)
    if path is not None:
        ask(path, b"SHUTDOWN")
    deadline = time.monotonic() + STOP_S
    while is_held(control, "server") and time.monotonic() < deadline:
        time.sleep(POLL_S)


def remove_traces(control: Path, data: Path, path: Path | None, *, temporary: bool) -> None:
    """After the server's end: remove its socket, the socket's own folder if it had one, and temporary data."""
    if path is not None:
        path.unlink(missing_ok=True)
        if path.parent != control:
            shutil.rmtree(path.parent, ignore_errors=True)
        if read_socket_path(control) == path:
            (control / "socket").unlink(missing_ok=True)
    if temporary:
        shutil.rmtree(data, ignore_errors=True)


def choose_socket_path(control: Path) -> Path:
    """Where the server will listen: in the control folder, or in a short one if that name is too long."""
    before = read_socket_path(control)
    if before is not None and before.parent.is_dir():
        # The path of a server that was killed: clients that still use it find the next one there.
        return before
    # A name of its own: a server whose folder was deleted removes its socket when it ends, whoever listens there then.
    path = control / f"redis-{os.urandom(4).hex()}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        name = "chasquimq-" + os.urandom(6).hex()
        folder = Path(os.environ.get("TMPDIR") or "/tmp", name)  # noqa: S108 (made below, for us alone)
        if len(os.fsencode(folder / path.name)) > MAX_SOCKET_PATH:
            folder = Path("/tmp", name)  # noqa: S108 (see above)
        folder.mkdir(0o700)
        path = folder / path.name
    return path


class Watcher:
    """One server's guardian, from its start to its end."""

    def __init__(self, control: Path, data: Path, executable: str, *, temporary: bool) -> None:
        self.control = control
        self.data = data
        self.executable = executable
        self.temporary = temporary
        self.pid: int | None = None
        self.socket_path: Path | None = None
        """Where the server that this watcher started listens; None for one that it adopted."""
        self._gave_up = False
        self._short_lives = 0
        self._waiting = False
        self._started_at = 0.0

    def run(self) -> None:
        users = open_lock(self.control, "users")
        start = open_lock(self.control, "start")
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, self._look)
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, CHECK_S, CHECK_S)
        if not is_held(self.control, "server"):
            self._spawn()
        # Otherwise an earlier watcher was killed and its server lives on, with its data: this one adopts it.
        while True:
            try:
                self._wait_until_deserted(users)
                if self._close_the_door(start, users):
                    break
            except ServerEnded:
                short = time.monotonic() - self._started_at < STARTED_S
                self._short_lives = self._short_lives + 1 if short else 0
                if (short and self._gave_up) or self._short_lives > MAX_SHORT_LIVES:
                    return
                self._spawn()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._stop()
        path = self.socket_path or read_socket_path(self.control)
        remove_traces(self.control, self.data, path, temporary=self.temporary)

    def _wait_until_deserted(self, users: int) -> None:
        """Block until no user is left; raises ServerEnded if the server ends before."""
        self._waiting = True
        try:
            self._look()
            fcntl.flock(users, fcntl.LOCK_EX)
        finally:
            self._waiting = False
        fcntl.flock(users, fcntl.LOCK_UN)

    def _close_the_door(self, start: int, users: int) -> bool:
        """With both locks held nobody is in and nobody can come in. False: somebody was quicker."""
        while not try_lock(start):
            # A newcomer holds it and waits for the server: see that there is one.
            if self._has_ended():
                raise ServerEnded
            time.sleep(POLL_S)
        if try_lock(users):
            return True
        fcntl.flock(start, fcntl.LOCK_UN)
        return False

    def _look(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        if self._waiting and self._has_ended():
            self._waiting = False
            raise ServerEnded

    def _has_ended(self) -> bool:
        if self.pid is None:
            return not is_held(self.control, "server")
        # The child itself is asked, not its lock: the folder may have been deleted under it.
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        if ended:
            self._gave_up = os.WIFEXITED(status)
            self.pid = None
        return bool(ended)

    def _stop(self) -> None:
        """End the server, politely first: it writes its data."""
        if self.pid is None:
            ask_to_stop(self.control)
            return
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while not self._has_ended():
            time.sleep(POLL_S)
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)

    def _spawn(self) -> None:
        lock = open_lock(self.control, "server")
        if not try_lock(lock):
            os.close(lock)
            return
        path = self.socket_path = choose_socket_path(self.control)
        partial = self.control / "socket.partial"
        partial.write_text(str(path), encoding="utf-8", errors="surrogateescape")
        partial.replace(self.control / "socket")
        os.set_inheritable(lock, True)
        arguments = [
            *(self.executable, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--dir", str(self.data), "--logfile", str(self.control / "server.log"), "--daemonize", "no"),
            *("--save", "", "--appendonly", "no" if self.temporary else "yes"),
            *("--maxmemory-policy", "noeviction"),
        ]
        self._started_at = time.monotonic()
        try:
            # What this process ignores its child would ignore too, until it has set up its own handlers.
            self.pid = os.posix_spawn(self.executable, arguments, os.environ, setsigdef=IGNORED)
        finally:
            os.close(lock)


def main(control: Path, data: Path, executable: str, kind: str) -> None:
    os.umask(0o077)
    watcher = open_lock(control, "watcher")
    if not try_lock(watcher):
        return
    # The starter waits for the first process only; the second one belongs to nobody's terminal or shell.
    if os.fork():
        os._exit(0)
    Watcher(control, data, executable, temporary=kind == "temporary").run()
    # Before `start` falls with this process, so that the next starter sees that nobody is on watch.
    fcntl.flock(watcher, fcntl.LOCK_UN)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
