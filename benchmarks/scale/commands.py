"""What each kind of command costs Redis' core: measured on a server, as a fixed part and a part per job.

Each is measured in several sizes, and a straight line is laid through them. A turn of Redis' event loop costs something
of its own, whoever is served in it; that is found by letting the requests of many clients arrive while the server is
held up: then one turn serves them all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.macro.bare import BareClient, Consumption, event_frames, pack, read_frame, with_id
from benchmarks.macro.meter import Probe
from benchmarks.macro.workload import fill, frames, queue_tag

__all__ = ["CommandCosts", "fit", "measure_costs"]

QUEUE = "commands"
TAG = queue_tag(QUEUE)
STREAM = TAG + b"stream"
SIZES = (1, 4, 16, 64, 256)
CLIENTS = (1, 8, 32)
REQUESTS = 1_000
"""Of each size in one round; fewer of large ones."""
JOBS = 8_000
COLD_S = 0.0003
"""After so long a pause the loop is cold; after some ten microseconds it is not."""
HOLD_S = 0.002
HOLDS = 200
FALL_ASLEEP_S = 0.0002
"""After so long a server without work sleeps."""


@dataclass(frozen=True, slots=True)
class CommandCosts:
    """Microseconds of Redis' core."""

    turn: float
    """A turn of the event loop, whatever is done in it."""
    cold: float
    """More, when the loop has slept for a while: caches are somebody else's then."""
    add: float
    row: float
    """A write that adds, and each row in it."""
    read: float
    entry: float
    """A read, and each entry that it brings."""
    wake: float
    """More, when the read was blocked and is served by an add."""
    write: float
    start: float
    end: float
    """A write that ends jobs, each start that it tells, and each end."""

    def to_json(self) -> dict[str, float]:
        return {name: round(cost, 2) for name, cost in asdict(self).items()}


def fit(costs: Mapping[int, float]) -> tuple[float, float]:
    """The straight line through the costs of sizes, each as precise as its size allows: what is fixed, and per job."""
    weights = {size: 1 / cost**2 for size, cost in costs.items()}
    total = sum(weights.values())
    size_mean = sum(weight * size for size, weight in weights.items()) / total
    cost_mean = sum(weight * costs[size] for size, weight in weights.items()) / total
    over = sum(weight * (size - size_mean) * (costs[size] - cost_mean) for size, weight in weights.items())
    per_job = over / sum(weight * (size - size_mean) ** 2 for size, weight in weights.items())
    return max(0.0, cost_mean - per_job * size_mean), per_job


def measure_costs(
    host: str, port: int, *, retry_safe: bool, events: bool, results: bool, rounds: int = 5
) -> CommandCosts:
    """Medians of so many rounds. The server is empty before and after, and allows DEBUG."""
    bench = _Bench(host, port, retry_safe=retry_safe, events=events, results=results)
    found = [bench.round() for _ in range(rounds)]
    bench.close()
    names = found[0].to_json()
    return CommandCosts(**{name: statistics.median(getattr(costs, name) for costs in found) for name in names})


class _Bench:
    def __init__(self, host: str, port: int, *, retry_safe: bool, events: bool, results: bool) -> None:
        self._host = host
        self._port = port
        self._probe = Probe(host, port)
        self._clients = [BareClient(host, port) for _ in range(max(CLIENTS))]
        self._client = self._clients[0]
        self._rows = list(frames(QUEUE, JOBS, retry_safe=retry_safe))
        self._tells = events
        run = (b"n", b"welcome", b"attempt", 1)
        self._active = event_frames(TAG + b"events", b"active", *run)
        shown = (b"returnvalue", b"1") if results else ()
        self._completed = event_frames(TAG + b"events", b"completed", *run, b"duration_us", 123, *shown)
        self._ends = Consumption(self._client, TAG, events=False, results=results)

    def round(self) -> CommandCosts:
        """Every kind once."""
        turn = self._turn()
        adds = {size: self._adds(size) for size in SIZES}
        reads, ends = {}, {}
        for size in SIZES:
            reads[size], ends[size] = self._reads_and_ends(size)
        (add, row), (read, entry), (write, end) = fit(adds), fit(reads), fit(ends)
        costs = CommandCosts(
            turn=turn,
            cold=max(0.0, self._adds(1, pause_s=COLD_S) - adds[1]),
            add=max(0.0, add - turn),
            row=row,
            read=max(0.0, read - turn),
            entry=entry,
            wake=0.0,
            write=max(0.0, write - turn),
            start=fit({size: self._starts(size) for size in SIZES})[1] if self._tells else 0.0,
            end=end,
        )
        known = 2 * turn + costs.add + costs.row + costs.read + costs.entry
        return replace(costs, wake=max(0.0, self._blocked_reads() - known))

    def close(self) -> None:
        self._start_empty()
        for client in self._clients:
            client.close()
        self._probe.close()

    def _start_empty(self) -> None:
        self._probe.call("FLUSHALL", "SYNC")

    def _cost(self, times: int, work: Callable[[], None]) -> float:
        before = self._ran_us()
        work()
        return (self._ran_us() - before) / times

    def _ran_us(self) -> float:
        time.sleep(FALL_ASLEEP_S)
        return self._probe.ran_s() * 1e6

    def _turn(self) -> float:
        """What is fixed when many clients' adds arrive while the server is held up."""
        hold = pack(b"DEBUG", b"SLEEP", b"%.3f" % HOLD_S)

        def held_up(clients: int, rows: Iterator[bytes]) -> None:
            self._client.send(hold)
            time.sleep(HOLD_S / 4)
            for client in self._clients[:clients]:
                client.send(next(rows))
            # The first client is the one that holds the server.
            self._client.receive(2 if clients else 1)
            for client in self._clients[1:clients]:
                client.receive(1)

        def cost(clients: int) -> float:
            self._start_empty()
            rows = iter(self._rows)
            return statistics.median(self._cost(1, lambda: held_up(clients, rows)) for _ in range(HOLDS))

        nobody = cost(0)
        return fit({clients: cost(clients) - nobody for clients in CLIENTS})[0]

    def _adds(self, size: int, pause_s: float = 0.0) -> float:
        self._start_empty()
        requests = [b"".join(self._rows[at : at + size]) for at in range(0, _jobs_of(size), size)]
        return self._exchanges([(request, size) for request in requests], pause_s)

    def _exchanges(self, requests: list[tuple[bytes, int]], pause_s: float = 0.0) -> float:
        """Per exchange. Each request with the number of its replies."""
        exchange = self._client.exchange

        def work() -> None:
            for request, replies in requests:
                exchange(request, replies)
                if pause_s:
                    time.sleep(pause_s)

        return self._cost(len(requests), work)

    def _reads_and_ends(self, size: int) -> tuple[float, float]:
        self._start_empty()
        jobs = _jobs_of(size)
        fill(self._host, self._port, QUEUE, jobs)
        read, batches = read_frame(STREAM, size), []

        def work() -> None:
            for _ in range(jobs // size):
                batches.append(self._client.exchange(read)[0][0][1])

        reading = self._cost(jobs // size, work)
        return reading, self._exchanges([self._end_of(batch) for batch in batches])

    def _end_of(self, entries: list[list[Any]]) -> tuple[bytes, int]:
        job_ids = [entry[1][1][2:28] for entry in entries]
        request, replies = self._ends.acknowledge([entry[0] for entry in entries], job_ids)
        if not self._tells:
            return request, replies
        return b"".join(with_id(self._completed, job_ids)) + request, replies + len(job_ids)

    def _starts(self, size: int) -> float:
        self._start_empty()
        request = b"".join(with_id(self._active, [b"0" * 26] * size))
        return self._exchanges([(request, size)] * (_jobs_of(size) // size))

    def _blocked_reads(self) -> float:
        """One client waits for an entry, another one adds it."""
        self._start_empty()
        fill(self._host, self._port, QUEUE, 0)
        reader, adder = self._clients[:2]
        read = read_frame(STREAM, 1)

        def work() -> None:
            for row in self._rows[:REQUESTS]:
                reader.send(read)
                time.sleep(0.0001)  # until it is blocked
                adder.exchange(row)
                reader.receive(1)

        return self._cost(REQUESTS, work)


def _jobs_of(size: int) -> int:
    return min(REQUESTS * size, JOBS // size * size)
