"""The hot paths, each beside a bare one, in one deterministic process: the program that callgrind counts.

No sockets and no threads. A bare path does what any client must for the same jobs, with msgpack, hiredis
and plain Python and none of this library: what changes both is the machine's doing (another Python, compiler or
processor), what changes one of them is ours.

Between two sections stands a call of ``getpriority``, which nothing else here calls: callgrind begins a new count
there. Without callgrind the program runs through and proves nothing but that it can.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import msgpack

from benchmarks.macro.bare import NEWEST, ROWS_PER_SCRIPT, BareClient, Consumption, pack
from benchmarks.macro.workload import NAME, payload, queue_tag
from chasquimq._core.bulk import BulkAdd
from chasquimq._core.keys import QueueKeys
from chasquimq._core.pipeline import Pipeline
from chasquimq._core.producer import ProducerSettings, Producing
from chasquimq._core.worker import WorkerCore
from chasquimq._fast import IMPLEMENTATION, monotonic_ms
from chasquimq.sync import Job, Worker

__all__ = ["JOBS", "MARKER", "SECTIONS", "main"]

MARKER = "getpriority"
JOBS = 1000
"""Jobs in each section: counts are divided by it."""
BATCH = 250
NOW_MS = 1_795_489_905_760
QUEUE = "bench"
STREAM = queue_tag(QUEUE) + b"stream"
JOB_ID = b"01M85RHMFQ1N9XM1BBQPN8XY0A"
ENTRY_ID = b"1795489905760-%d"

Prepared = Callable[[], object]


def _producing() -> Producing:
    identity = "00000000-0000-4000-8000-000000000000"
    return Producing(QueueKeys(QUEUE), ProducerSettings(), now_ms=lambda: NOW_MS, producer_id=identity)


def add(jobs: int) -> Prepared:
    """From name and data to the bytes of XADD and the Job, and the reading of its reply."""
    producing, data = _producing(), [payload(number) for number in range(jobs)]
    replies = [b"1795489905760-0"]
    producing.encode_name(NAME)  # known from the second job on

    def run() -> None:
        for item in data:
            made = producing.add_plain(Job, None, NAME, item, NEWEST)
            assert made is not None
            made[0].parse(replies)

    return run


def bare_add(jobs: int) -> Prepared:
    packb, data = msgpack.packb, [payload(number) for number in range(jobs)]

    def run() -> None:
        for item in data:
            envelope = packb([JOB_ID, packb(item), NOW_MS, 0])
            pack(b"XADD", STREAM, b"*", b"d", envelope, b"n", b"welcome")

    return run


def add_bulk(jobs: int) -> Prepared:
    """The same for the rows of one ``add_bulk``, with a Job made for each."""
    producing, rows = _producing(), [(NAME, payload(number)) for number in range(jobs)]

    def run() -> None:
        adding = BulkAdd(producing, rows, Job, None)
        for call in adding.calls(NEWEST):
            call.parse([b"1795489905760-0"] * call.replies)
        adding.finish()
        assert adding.added == jobs

    return run


def bare_add_bulk(jobs: int) -> Prepared:
    rows = [(NAME, payload(number)) for number in range(jobs)]
    packb = msgpack.packb

    def run() -> None:
        for first in range(0, jobs, BATCH):
            b"".join(
                [
                    pack(b"XADD", STREAM, b"*", b"d", packb([JOB_ID, packb(data), NOW_MS, 0]), b"n", name.encode())
                    for name, data in rows[first : first + BATCH]
                ]
            )

    return run


def read(jobs: int) -> Prepared:
    """From the bytes of XREADGROUP replies to entries."""
    core, answers = _core(events=False), _answers(jobs)
    call = core.read(BATCH, NEWEST)
    reader = core.reading.reader(hiredis.Reader())

    def run() -> None:
        found = 0
        for answer in answers:
            reader.feed(answer, 0, len(answer))
            found += len(call.parse([reader.gets()]))
        assert found == jobs

    return run


def bare_read(jobs: int) -> Prepared:
    answers, reader, unpackb = _answers(jobs), hiredis.Reader(), msgpack.unpackb

    def run() -> None:
        for answer in answers:
            reader.feed(answer)
            for entry in reader.gets()[0][1]:
                unpackb(entry[1][1])

    return run


def work(jobs: int) -> Prepared:
    """From entries to settled jobs: arrive, start, complete, write the ends, book the answers."""
    return _work(jobs, events=False)


def work_with_events(jobs: int) -> Prepared:
    return _work(jobs, events=True)


def work_with_results(jobs: int) -> Prepared:
    """The same for handlers that return a value, which is stored and shown in the event."""
    return _work(jobs, events=True, results=True)


def _work(jobs: int, *, events: bool, results: bool = False) -> Prepared:
    core = _core(events=events, results=results)
    value = 1 if results else None
    rows_per_end = ROWS_PER_SCRIPT if results else 256
    call, reader = core.read(BATCH, NEWEST), core.reading.reader(hiredis.Reader())
    batches = []
    for answer in _answers(jobs):
        reader.feed(answer, 0, len(answer))
        batches.append(call.parse([reader.gets()]))

    def run() -> None:
        ready, start, complete = core.ready, core.start, core.complete
        done = 0
        for entries in batches:
            core.wanted()
            core.arrived(entries, monotonic_ms())
            while ready:
                job = start(ready.popleft())
                assert job is not None
                complete(job, value)
                done += 1
            taken = core.take_batch(NEWEST)
            assert taken is not None
            batch, calls = taken
            pipeline = Pipeline(calls)
            # One reply per event, then one per XACKDEL or script: a state for each of its entries.
            count = len(entries)
            states = [[1] * min(rows_per_end, count - first) for first in range(0, count, rows_per_end)]
            pipeline.results([b"1795489905760-0"] * (pipeline.replies - len(states)) + states)
            core.settled(batch)
        assert done == jobs
        assert not len(core.book)

    return run


def bare_work(jobs: int) -> Prepared:
    return _bare_work(jobs, events=False)


def bare_work_with_events(jobs: int) -> Prepared:
    return _bare_work(jobs, events=True)


def bare_work_with_results(jobs: int) -> Prepared:
    return _bare_work(jobs, events=True, results=True)


class _Unconnected(BareClient):
    """For requests that are made and not sent."""

    def __init__(self) -> None:
        pass

    def command(self, *arguments: bytes | int) -> None:
        pass


def _bare_work(jobs: int, *, events: bool, results: bool = False) -> Prepared:
    consumption = Consumption(_Unconnected(), queue_tag(QUEUE), events=events, results=results)
    packed = msgpack.packb(payload(1))
    unpackb = msgpack.unpackb
    batches = [[ENTRY_ID % number for number in range(first, first + BATCH)] for first in range(0, jobs, BATCH)]

    def run() -> None:
        for entry_ids in batches:
            for _ in entry_ids:
                unpackb(packed)
            consumption.acknowledge(entry_ids, [JOB_ID] * len(entry_ids))

    return run


def _core(*, events: bool, results: bool = False) -> WorkerCore[Any]:
    """The core of a worker as the worker makes it; nothing connects before it runs."""
    return Worker(QUEUE, lambda _job: None, events=events, store_results=results)._core


def _answers(jobs: int) -> list[bytes]:
    """The replies to XREADGROUP … CLAIM for a backlog, as bytes."""
    from chasquimq._fast import encode_envelope, encode_payload

    answers = []
    for first in range(0, jobs, BATCH):
        rows = []
        for number in range(first, min(first + BATCH, jobs)):
            job_id = f"{JOB_ID.decode()[:20]}{number:06d}"
            envelope = encode_envelope(job_id, encode_payload(payload(number)), NOW_MS, 0, b"")
            fields = b"".join(_bulk(part) for part in (b"d", envelope, b"n", b"welcome"))
            rows.append(b"*4\r\n" + _bulk(ENTRY_ID % number) + b"*4\r\n" + fields + b":0\r\n:0\r\n")
        answers.append(b"*1\r\n*2\r\n" + _bulk(STREAM) + b"*%d\r\n" % len(rows) + b"".join(rows))
    return answers


def _bulk(part: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(part), part)


SECTIONS: dict[str, tuple[Callable[[int], Prepared], Callable[[int], Prepared]]] = {
    "add": (add, bare_add),
    "add_bulk": (add_bulk, bare_add_bulk),
    "read": (read, bare_read),
    "work": (work, bare_work),
    "work, events": (work_with_events, bare_work_with_events),
    "work, results": (work_with_results, bare_work_with_results),
}
"""What is counted: the path and its bare counterpart."""


def _prepared() -> Iterator[Prepared]:
    for pair in SECTIONS.values():
        for make in pair:
            # Warm: the interpreter specializes its bytecode while it runs.
            make(JOBS // 2)()
            yield make(JOBS)


def main() -> int:
    if IMPLEMENTATION != "cython":
        print("the compiled modules are not there, so there is nothing to guard: run `make env`", file=sys.stderr)
        return 1
    mark = os.getpriority
    gc.collect()
    gc.disable()
    for run in list(_prepared()):
        mark(os.PRIO_PROCESS, 0)
        run()
    mark(os.PRIO_PROCESS, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
