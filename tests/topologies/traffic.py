"""A queue at work while servers change under it: producers, readers of events and workers of every form at once.

Every job has a number of its own in its data. The producers book each number as added, or as doubtful if the error said
that it may have been; the ledger of the worker processes tells what really ran.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import redis

import chasquimq.aio
import chasquimq.sync
from chasquimq import RedisConnectionError, ServerReplyError
from chasquimq.events import Gap, QueueEvent, Unknown
from tests.conformance.flavours import EVERY_FORM, FLAVOURS, Flavour
from tests.faults.ledger import wait_until
from tests.faults.processes import Workers, workers_of

BULK = 20
ROUND_S = 0.005
THE_END = "the-end"
"""An event that nobody knows, written behind all others."""


class Producer:
    """Adds jobs in one form of the library, one after the other, until it is stopped."""

    def __init__(self, flavour: Flavour, url: str, queue: str, numbers: Callable[[], int], options: Any) -> None:
        self.added: set[int] = set()
        self.doubtful: set[int] = set()
        self.errors: list[str] = []
        self.failure: BaseException | None = None
        self._flavour, self._url, self._queue, self._numbers = flavour, url, queue, numbers
        self._options = options
        self.may_add = threading.Event()
        self.rests = threading.Event()
        self.is_over = False
        self._thread = threading.Thread(target=self._run, name=f"producer-{flavour.name}")

    def start(self) -> None:
        self.may_add.set()
        self._thread.start()

    def stop(self) -> None:
        self.is_over = True
        self.may_add.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._flavour.run(self._produce)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.failure = error
        finally:
            self.rests.set()

    async def _produce(self) -> None:
        connection = {"url": self._url, **self._options}
        async with self._flavour.queue(self._queue, connection=connection) as queue:
            for turn in itertools.count():
                while not self.may_add.is_set():
                    self.rests.set()
                    await self._flavour.sleep(ROUND_S)
                self.rests.clear()
                if self.is_over:
                    return
                await self._add(queue, turn % 4)
                await self._flavour.sleep(ROUND_S)

    async def _add(self, queue: Any, way: int) -> None:
        numbers = [self._numbers() for _ in range(BULK if way == 3 else 1)]
        data = {"n": numbers[0]}
        try:
            if way == 0:
                await queue.add("plain", data)
            elif way == 1:
                await queue.add("unique", data, job_id=f"id-{numbers[0]}")
            elif way == 2:
                await queue.add("delayed", data, delay=50)
            else:
                options: list[Any] = [None, {"delay": 20}, {"job_id": f"row-{numbers[0]}"}, {"attempts": 5}]
                rows = [
                    ("row", {"n": number}, options[at % 4] if at < 4 else None) for at, number in enumerate(numbers)
                ]
                await queue.add_bulk(rows)
        except RedisConnectionError as error:
            self.errors.append(str(error))
            # Of a bulk some rows may be in the queue in any case.
            if error.may_have_executed or way == 3:
                self.doubtful.update(numbers)
        except ServerReplyError as error:
            self.errors.append(str(error))
        else:
            self.added.update(numbers)


class EventReader:
    """Follows the queue's events in one form of the library, from the first one to the last."""

    def __init__(self, flavour: Flavour, url: str, queue: str) -> None:
        self.ids: list[str] = []
        self.gaps = 0
        self.failure: BaseException | None = None
        self._flavour, self._url, self._queue = flavour, url, queue
        self._thread = threading.Thread(target=self._run, name=f"reader-{flavour.name}")

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            self._flavour.run(self._read)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.failure = error

    async def _read(self) -> None:
        options: dict[str, Any] = {"connection": self._url, "last_event_id": "0", "blocking_timeout": 1_000}
        if self._flavour.is_async:
            async with chasquimq.aio.QueueEvents(self._queue, **options) as followed:
                async for event in followed:
                    if self._is_last(event):
                        return
        else:
            with chasquimq.sync.QueueEvents(self._queue, **options) as followed:
                for event in followed:
                    if self._is_last(event):
                        return

    def _is_last(self, event: QueueEvent) -> bool:
        if isinstance(event, Unknown) and event.event_name == THE_END:
            return True
        if isinstance(event, Gap):
            self.gaps += 1
        else:
            self.ids.append(event.event_id)
        return False


class Traffic:
    """All of them, from the start of the block to its end."""

    def __init__(
        self,
        url: str,
        queue: str,
        folder: Path,
        admin: redis.Redis,
        *,
        worker_url: str | None = None,
        **connection: Any,
    ) -> None:
        """``admin``: a client that finds the primary by itself. ``connection``: further settings of all connections."""
        numbers = itertools.count()
        self.queue = queue
        self._admin = admin
        self._connection = connection
        self._workers_of = workers_of(worker_url or url, queue, folder)
        self.workers: Workers
        self.producers = [
            Producer(FLAVOURS[form], url, queue, lambda: next(numbers), connection) for form in EVERY_FORM
        ]
        self.readers = [EventReader(FLAVOURS[form], url, queue) for form in EVERY_FORM]

    def __enter__(self) -> Self:
        self.workers = self._workers_of.__enter__()
        self.workers.start_fleet(
            connection={"url": self.workers.url, **self._connection},
            concurrency=4,
            lease_ms=3_000,
            run_scheduler=True,
            scheduler_tick_ms=50,
        )
        with chasquimq.sync.Queue[Any, Any](self.queue, connection=self.workers.url) as queue:
            queue.add("tick", None, repeat={"every": 100})
        for each in [*self.readers, *self.producers]:
            each.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for producer in self.producers:
            producer.stop()
        if exc_info[0] is None:  # else whoever waits for an end may wait in vain
            assert [worker.stop() for worker in self.workers.started] == [0] * len(self.workers.started)
        self._admin.xadd(self._events_key, {"e": THE_END})
        for reader in self.readers:
            reader.join()
        self._workers_of.__exit__(*exc_info)

    @property
    def _events_key(self) -> str:
        return f"{{chasqui:{self.queue}}}:events"

    # -- what goes on ----------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Any:
        return self.workers.ledger

    def pause(self) -> None:
        """Returns when no producer adds any more."""
        for producer in self.producers:
            producer.rests.clear()
            producer.may_add.clear()
        for producer in self.producers:
            assert producer.rests.wait(30)

    def resume(self) -> None:
        for producer in self.producers:
            producer.may_add.set()

    def flows(self) -> None:
        """Returns when every producer has added, and every worker has run, some more; so do repeatable jobs."""
        added = [len(producer.added) for producer in self.producers]
        before = Counter(row["by"] for row in self.ledger.ends())
        ticks = self._ticks()
        wait_until(
            lambda: all(
                len(producer.added) > count + BULK for producer, count in zip(self.producers, added, strict=True)
            ),
            f"producers go on: {[(p.failure, p.errors[-1:]) for p in self.producers]}",
        )
        wait_until(
            lambda: all(
                Counter(row["by"] for row in self.ledger.ends())[form] > before[form] + 5 for form in EVERY_FORM
            ),
            f"workers go on; {self.ledger}",
        )
        wait_until(lambda: self._ticks() > ticks + 2, "the schedule goes on")

    def _ticks(self) -> int:
        return len([row for row in self.ledger.starts() if row["name"] == "tick"])

    # -- what must hold --------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Adds no more, and waits until everything that was added has run."""
        self.pause()
        wait_until(lambda: self.added() <= set(self.runs()), f"everything has run; {self.ledger}")

    def added(self) -> set[int]:
        return set[int]().union(*(producer.added for producer in self.producers))

    def doubtful(self) -> set[int]:
        return set[int]().union(*(producer.doubtful for producer in self.producers))

    def errors(self) -> list[str]:
        """What the producers were told."""
        return [error for producer in self.producers for error in producer.errors]

    def runs(self) -> Counter[int]:
        """How often each number ran to its end."""
        numbers = {row["id"]: row["data"]["n"] for row in self.ledger.starts() if isinstance(row["data"], dict)}
        return Counter(numbers[row["id"]] for row in self.ledger.ends() if row["id"] in numbers)

    def check(self, *, exactly_once: bool) -> None:
        """After the block: nothing that was added is lost, and nothing ran that nobody added; all events were read."""
        for each in [*self.producers, *self.readers]:
            assert each.failure is None, each.failure
        runs = self.runs()
        lost = self.added() - set(runs)
        assert not lost, f"{len(lost)} of {len(self.added())} jobs are lost"
        assert set(runs) <= self.added() | self.doubtful()
        if exactly_once:
            assert not self.errors(), self.errors()[:3]
            assert set(runs.values()) == {1}, Counter(runs.values())
            ticks = Counter(row["id"] for row in self.ledger.ends() if row["name"] == "tick")
            assert set(ticks.values()) == {1}
            # Workers may say that they wait, not that they do not know where to go.
            lost_ways = ("MOVED", "ASK ", "READONLY", "UNBLOCKED", "NOGROUP")
            assert not [text for text in self.ledger.errors() if any(code in text for code in lost_ways)]
        written = [entry_id.decode() for entry_id, fields in self._admin.xrange(self._events_key)][:-1]
        for reader in self.readers:
            if exactly_once:
                assert reader.ids == written
            assert set(written) <= set(reader.ids)
            assert not reader.gaps
