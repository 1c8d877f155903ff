"""One real server as a process of the test run.

Decides its configuration and knows when it is ready. Must never end a process that it did not start, listen
anywhere but on the loopback interface or a unix socket, or outlive the test run.
"""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from .debian import NotAvailable
from .provision import ServerBinary, ensure, foreign_environment

# The kernel's "end with the parent" means the thread that started the child: this one lasts as long as the run.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="test-servers")

POLL_S = 0.005
START_S = 20.0


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Where the server's key pair and the authority that signed it lie."""

    certificate: Path
    key: Path
    authority: Path


class RedisServer:
    """A private server; use as a context manager, or `start` and `stop`.

    A restart keeps the port, the socket and the data folder: with ``appendonly`` the data comes back, without
    it the server is empty, as after a crash.
    """

    def __init__(
        self,
        binary: ServerBinary | str = "redis-8.6",
        *,
        port: bool = True,
        unix_socket: bool = True,
        appendonly: bool = False,
        maxmemory: str | None = None,
        tls: TLSFiles | None = None,
        requirepass: str | None = None,
        aclfile: Path | None = None,
        sentinel: bool = False,
        config: Mapping[str, str] | Sequence[str] = (),
    ) -> None:
        """`config` holds further settings, by name, or as lines of a configuration file. With `tls`, the port
        speaks TLS and the unix socket stays plain. With `sentinel`, the program watches other servers."""
        self.binary = ensure(binary) if isinstance(binary, str) else binary
        self.folder = Path(tempfile.mkdtemp(prefix="chasquimq-test-"))
        self.log = self.folder / "server.log"
        self.port = free_port() if port else None
        self.socket_path = str(self.folder / "redis.sock") if unix_socket else None
        self.password = requirepass
        self.tls = tls
        self._mode = ["--sentinel"] if sentinel else []
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        self._clients: list[redis.Redis] = []
        lines = [f"{name} {value}" for name, value in config.items()] if isinstance(config, Mapping) else config
        self._configuration = self.folder / "redis.conf"
        self._configuration.write_text(
            "".join(line + "\n" for line in [*self._own_settings(appendonly, maxmemory, aclfile), *lines])
        )
        atexit.register(self.close)

    def _own_settings(self, appendonly: bool, maxmemory: str | None, aclfile: Path | None) -> list[str]:
        settings = [
            "bind 127.0.0.1",
            "protected-mode no",
            "daemonize no",
            'save ""',
            f"dir {self.folder}",
            f"logfile {self.log}",
            f"appendonly {'yes' if appendonly else 'no'}",
            # Tests kill the server and expect to find everything that was acknowledged.
            "appendfsync always",
            f"port {self.port if self.port and not self.tls else 0}",
        ]
        if self.socket_path:
            settings += [f"unixsocket {self.socket_path}", "unixsocketperm 700"]
        if self.tls:
            settings += [
                f"tls-port {self.port or 0}",
                f"tls-cert-file {self.tls.certificate}",
                f"tls-key-file {self.tls.key}",
                f"tls-ca-cert-file {self.tls.authority}",
                "tls-auth-clients optional",
            ]
        if maxmemory:
            settings += [f"maxmemory {maxmemory}", "maxmemory-policy noeviction"]
        if self.password:
            settings.append(f"requirepass {self.password}")
        if aclfile:
            settings.append(f"aclfile {aclfile}")
        return settings

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's port as a URL, with the password if it has one; the unix socket if it has no port."""
        if self.port is None:
            return self.unix_url
        login = f":{self.password}@" if self.password else ""
        return f"{'rediss' if self.tls else 'redis'}://{login}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"unix://{login}{self.socket_path}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def client(self) -> redis.Redis:
        """A redis-py client of the test's own (bytes in and out), independent of the code under test."""
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self, **options: object) -> redis.Redis:
        """Another client; closed together with the server object."""
        options.setdefault("password", self.password)
        if self.socket_path:
            made = redis.Redis(unix_socket_path=self.socket_path, **options)  # type: ignore[arg-type]
        else:
            if self.tls:
                options |= {"ssl": True, "ssl_ca_certs": str(self.tls.authority)}
            made = redis.Redis(host="127.0.0.1", port=self.port or 0, **options)  # type: ignore[arg-type]
        self._clients.append(made)
        return made

    def start(self, *, wait: bool = True) -> None:
        if self._process is not None:
            raise RuntimeError("the server runs already")
        with self.log.open("ab") as log:
            self._process = _spawner.submit(
                subprocess.Popen,
                [*_with_this_process(), *self.binary.command, str(self._configuration), *self._mode],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Some complain there of what they cannot read, before they know that there is a log.
                stderr=log,
                env=foreign_environment(),
                # A Ctrl-C in the terminal is for pytest, which then stops the server.
                start_new_session=True,
            ).result()
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return once the server has loaded its data and answers."""
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                last = self.log.read_text(errors="replace")[-2000:] or "nothing was written"
                command = " ".join([*self.binary.command, str(self._configuration)])
                self.kill()
                raise NotAvailable(f"a test server did not start: {command}\nIts log, {self.log}:\n{last}")
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        """Whether it does more than say that it is still loading; "log in first" will do."""
        family, address = (
            (socket.AF_UNIX, self.socket_path) if self.socket_path else (socket.AF_INET, ("127.0.0.1", self.port))
        )
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(address)
                if self.tls and not self.socket_path:
                    return True
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
            except OSError:
                return False
        return reply.startswith((b"+PONG", b"-NOAUTH"))

    def stop(self) -> None:
        """End it politely; its data is on disk if it is kept."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        (self.kill if kill else self.stop)()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server, close the clients handed out, and remove its folder."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._client = None
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def _signal(self, number: signal.Signals) -> None:
        # The child is not reaped before `_process` is forgotten, so its pid cannot be anybody else's.
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        self._signal(number)
        self._signal(signal.SIGCONT)
        try:
            process.wait(timeout=START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None
        with contextlib.suppress(FileNotFoundError):
            if self.socket_path:
                Path(self.socket_path).unlink()


def _with_this_process() -> list[str]:
    """A prefix that has the kernel end the command when this process ends, even by a kill. Linux only;
    elsewhere a killed test run leaves its servers behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
