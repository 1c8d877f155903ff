"""What one run cost: wall clock, CPU of the client and of the server, commands, memory.

Imports the standard library only, because it also runs in the environments of the peers. The probe's own questions
to the server are outside the window that is measured, but for one INFO; in the counts of bytes they are a few thousand.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["Meter", "Probe", "Void", "percentile", "wait_for"]

_POLL_S = 0.0005


class Void(Exception):  # noqa: N818 - it is a verdict on the run
    """The run lost, doubled or never finished a job: its figures mean nothing."""


class Probe:
    """The smallest client that can ask a server questions; independent of every library that is measured."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self.requests = 0
        """How many this probe has sent, so that they can be taken off the server's count."""
        self._server_pid = self.info("server")["process_id"]

    def call(self, *arguments: str | bytes | int) -> Any:
        """Sends one command and returns its reply: int, bytes, None or a list. Raises RuntimeError on an error."""
        parts = [argument if isinstance(argument, bytes) else str(argument).encode() for argument in arguments]
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(request)
        self.requests += 1
        return self._reply()

    def _reply(self) -> Any:
        line = self._file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        return rest

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO as text."""
        lines = self.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def cpu_s(self) -> float:
        """CPU seconds of the server's main thread: it runs every command, so it is what limits."""
        found = self.info("cpu")
        user = found.get("used_cpu_user_main_thread", found["used_cpu_user"])
        return float(user) + float(found.get("used_cpu_sys_main_thread", found["used_cpu_sys"]))

    def ran_s(self) -> float:
        """Seconds for which the server's main thread has run, as Linux counts them; exact while that thread sleeps.

        Unlike ``cpu_s`` it asks the server nothing, so that a few microseconds of work can be told.
        """
        return int((Path("/proc") / self._server_pid / "schedstat").read_text().split()[0]) / 1e9

    def queued_s(self) -> float:
        """Seconds for which the server was ready to run and waited for a core; 0 where the system does not tell."""
        return _queued_s(Path("/proc") / self._server_pid)

    def foreign_requests(self) -> int:
        """Reads of others' requests since the server's start: what travels, whatever scripts do with it."""
        return int(self.info("stats")["total_reads_processed"]) - self.requests

    def net_bytes(self) -> tuple[int, int]:
        """Bytes that the server has received and sent."""
        found = self.info("stats")
        return int(found["total_net_input_bytes"]), int(found["total_net_output_bytes"])

    def commands(self) -> int:
        """Commands since the server's start but INFO. Those inside scripts count too: they cost as much."""
        rows = self.info("commandstats")
        counts = {name: int(row.split(",", 1)[0].removeprefix("calls=")) for name, row in rows.items()}
        return sum(count for name, count in counts.items() if name != "cmdstat_info")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def _queued_s(process: Path) -> float:
    waited_ns = 0
    for task in (process / "task").glob("*/schedstat"):
        # A thread may end between the listing and the reading.
        with contextlib.suppress(OSError):
            waited_ns += int(task.read_text().split()[1])
    return waited_ns / 1e9


class Meter:
    """One window of time. ``start`` may be called by many threads at once; the first counts."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._starting = threading.Lock()
        self.has_started = False
        self._wall = self._cpu = self._redis = self._queued = 0.0
        self._net = (0, 0)

    def start(self) -> None:
        with self._starting:
            if self.has_started:
                return
            self._net = self._probe.net_bytes()
            self._queued = self._queued_s()
            self._redis = self._probe.cpu_s()
            self._cpu = time.process_time()
            self._wall = time.perf_counter()
            self.has_started = True

    def stop(self) -> dict[str, float]:
        """What the window cost."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        redis = self._probe.cpu_s() - self._redis
        queued = self._queued_s() - self._queued
        received, sent = (now - then for now, then in zip(self._probe.net_bytes(), self._net, strict=True))
        return {
            "wall_s": wall,
            "client_cpu_s": cpu,
            "redis_cpu_s": redis,
            "queued_s": max(queued, 0.0),
            "rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "to_redis_bytes": received,
            "from_redis_bytes": sent,
        }

    def _queued_s(self) -> float:
        return self._probe.queued_s() + _queued_s(Path("/proc/self"))


def wait_for(is_done: Any, timeout_s: float, what: str, poll_s: float = _POLL_S) -> None:
    """Polls in steps that are short beside what is measured."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > deadline:
            raise Void(f"after {timeout_s:.0f} s still waiting for {what}")
        time.sleep(poll_s)


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
