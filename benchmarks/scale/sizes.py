"""What the things of a queue take in the server's memory. Sizes, not times: one look at a private server is enough."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.macro.bare import BareClient, Consumption
from benchmarks.macro.bare_moves import Promotion
from benchmarks.macro.meter import Probe
from benchmarks.macro.workload import fill, queue_tag

__all__ = ["Sizes", "measure_sizes"]

QUEUE = "scale"
CONNECTIONS = 200
_TOTAL = re.compile(rb"tot-mem=(\d+)")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes, each with the payload of the benchmarks (24 to 26 bytes as MessagePack) where there is one.

    ``running`` is what a job takes more while a worker holds it; ``connection`` is that of an idle client.
    """

    waiting: float
    running: float
    delayed: float
    event: float
    result: float
    connection: float

    def to_json(self) -> dict[str, float]:
        return {name: round(size, 1) for name, size in asdict(self).items()}


def measure_sizes(host: str, port: int, jobs: int = 20_000) -> Sizes:
    """Fills an empty server with so many of each thing, and empties it again."""
    probe = Probe(host, port)
    tag = queue_tag(QUEUE)

    def memory(pattern: bytes) -> float:
        keys = probe.call("KEYS", pattern)
        return float(sum(probe.call("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys))

    def on_empty_server(make: Callable[[], float]) -> float:
        probe.call("FLUSHALL", "SYNC")
        return make() / jobs

    def waiting() -> float:
        fill(host, port, QUEUE, jobs)
        return memory(tag + b"stream")

    def held() -> float:
        fill(host, port, QUEUE, jobs)
        client = BareClient(host, port)
        read = Consumption(client, tag, events=False).read
        for _ in range(-(-jobs // 256)):
            client.exchange(read)
        client.close()
        return memory(tag + b"stream")

    def delayed() -> float:
        client = BareClient(host, port)
        Promotion(client, tag).delay([4_000_000_000_000 + number for number in range(jobs)])
        client.close()
        return memory(tag + b"delayed")

    def consumed(*, results: bool) -> None:
        fill(host, port, QUEUE, jobs)
        client = BareClient(host, port)
        Consumption(client, tag, events=True, results=results).run(jobs)
        client.close()

    def events() -> float:
        consumed(results=False)
        return memory(tag + b"events") / 2

    def results() -> float:
        consumed(results=True)
        return memory(tag + b"result:*")

    stream, pending = on_empty_server(waiting), on_empty_server(held)
    sizes = Sizes(
        waiting=stream,
        running=pending - stream,
        delayed=on_empty_server(delayed),
        event=on_empty_server(events),
        result=on_empty_server(results),
        connection=_connection(host, port, probe),
    )
    probe.call("FLUSHALL", "SYNC")
    probe.close()
    return sizes


def _connection(host: str, port: int, probe: Probe) -> float:
    clients = [BareClient(host, port) for _ in range(CONNECTIONS)]
    for client in clients:
        client.command(b"PING")
    found = _TOTAL.findall(probe.call("CLIENT", "LIST"))
    for client in clients:
        client.close()
    # The median: the one that asks has a buffer in use.
    return float(statistics.median(map(int, found)))
