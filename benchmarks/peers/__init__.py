"""The field: other job queues on Redis, each in an environment of its own, measured by the same scenarios.

One adapter per library, ``<name>.py`` (``<name>.cjs`` on Node.js), written as its documentation recommends for speed:
faster settings that cost a user something are not taken, and what a setting gives up is said in ``settings``. A new
peer is a row here and an adapter.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PEERS", "REFERENCE", "Peer"]

REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Peer:
    """One library of the field.

    ``requirements``: what is installed, for pip or npm; the first one is the library.
    ``does``: the scenarios that it can take part in (``Case.needs``).
    ``jobs``: at most so many in a run, so that the slow ones take seconds and not minutes.
    ``settings``: what differs from its defaults, and how it runs handlers.
    ``keeps``: what becomes of a running job when its worker is killed.
    """

    name: str
    requirements: tuple[str, ...]
    does: frozenset[str]
    jobs: int
    settings: str
    keeps: str
    is_node: bool = False
    fills_itself: bool = True
    """False: its jobs are this library's, byte for byte."""


_ASYNC = frozenset({"add", "concurrent", "consume", "latency", "idle", "startup"})
_THREADS = frozenset({"add", "consume", "latency", "idle", "startup"})
_AGAIN = "runs again after its lease"
_LOST = "lost"

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            REFERENCE,
            ("chasquimq==1.3.0", "uvloop"),
            _ASYNC | {"bulk", "consume-events", "results", "retry", "delay", "delay-many"},
            10_000_000,
            "uvloop; concurrency 100",
            _AGAIN,
            fills_itself=False,
        ),
        Peer(
            "arq",
            ("arq", "hiredis", "uvloop"),
            _ASYNC | {"delay", "retry"},
            4_000,
            "uvloop, hiredis; 100 jobs at a time; results not kept; looks for jobs every 10 ms instead of 500",
            _AGAIN,
        ),
        Peer(
            "saq",
            ("saq[hiredis]", "typing_extensions", "uvloop"),
            _ASYNC | {"retry"},
            3_000,
            "uvloop, hiredis; concurrency 100, as many connections; results not kept",
            "runs again when it is found by the sweep",
        ),
        Peer(
            "streaq",
            ("streaq", "uvloop"),
            _ASYNC | {"bulk", "retry", "delay"},
            4_000,
            "uvloop; concurrency 100; results not kept, no log line per task",
            _AGAIN,
        ),
        Peer(
            "taskiq",
            ("taskiq-redis", "taskiq", "hiredis", "uvloop"),
            _ASYNC,
            6_000,
            "uvloop, hiredis; RedisStreamBroker (the one that acknowledges); 100 tasks at a time, 100 prefetched",
            "runs again after 10 minutes",
        ),
        Peer(
            "rq",
            ("rq", "hiredis"),
            _THREADS | {"bulk"},
            1_000,
            "hiredis; SimpleWorker (no fork per job), one job at a time; results not kept",
            "put on the failed list",
        ),
        Peer(
            "celery",
            ("celery[redis]", "hiredis"),
            _THREADS | {"retry", "delay"},
            2_000,
            "hiredis; thread pool of 8, prefetch 128 a thread; results ignored; no gossip, mingle, heartbeat",
            _LOST,
        ),
        Peer(
            "dramatiq",
            ("dramatiq[redis]", "hiredis"),
            _THREADS | {"retry", "delay"},
            4_000,
            "hiredis; 8 threads, the default; default middleware",
            "runs again when its worker is missed, a minute later",
        ),
        Peer(
            "huey",
            ("huey", "redis", "hiredis"),
            _THREADS | {"retry"},
            6_000,
            "hiredis; 4 threads; results not stored; no periodic tasks",
            _LOST,
        ),
        Peer(
            "bullmq",
            ("bullmq", "ioredis"),
            frozenset({"add", "concurrent", "bulk", "consume", "consume-events", "latency", "idle", "retry", "delay"}),
            20_000,
            "Node.js; concurrency 100; finished jobs removed; always writes its events stream",
            _AGAIN,
            is_node=True,
        ),
    )
}
