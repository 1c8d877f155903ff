"""Programs that fork while queues and workers are in use."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio

from chasquimq import ClosedError, aio, sync
from tests.faults.notes import Notes
from tests.faults.programs import fork, join, run_scenario

ANSWERS = 100
"""The test has stored so many results: the one of job ``"7"`` is 7."""


def ask(queue: sync.Queue[Any, Any], who: str, count: int) -> None:
    """Calls of every kind, each of which must get its own answer."""
    dice = random.Random(who)
    for turn in range(count):
        number = dice.randrange(ANSWERS)
        assert queue.get_job_result(str(number)) == number
        job = queue.add("job", who, job_id=f"{who}-{turn}")
        assert (job.id, job.is_duplicate) == (f"{who}-{turn}", False)


# -- producers ---------------------------------------------------------------------------------------------------------


def threads(url: str, name: str, ca_certs: str = "") -> None:
    """Sixteen threads call one Queue, and two more wait for results, while forty children are forked."""
    connection = {"url": url, "ssl_ca_certs": ca_certs} if ca_certs else url
    over = threading.Event()
    # With TLS, no thread may be in the middle of a handshake when another one forks: OpenSSL does not bear that.
    connected = threading.Barrier(19)
    with sync.Queue[Any, Any](name, connection=connection) as queue, ThreadPoolExecutor(18) as pool:

        def connect() -> None:
            """All at once, so that there are as many connections as threads from then on."""
            with queue_connection(queue):
                connected.wait()

        def hammer(who: int) -> int:
            rounds = 0
            connect()
            while not over.is_set():
                ask(queue, f"parent-{who}-{rounds}", 5)
                rounds += 1
            return rounds

        def wait(who: int) -> int:
            rounds = 0
            connect()
            while not over.is_set():
                job = queue.add("job", who, job_id=f"waiter-{who}-{rounds}")
                with contextlib.suppress(TimeoutError):
                    job.wait_for_result(timeout_ms=20)
                rounds += 1
            return rounds

        busy = [pool.submit(hammer, who) for who in range(16)] + [pool.submit(wait, who) for who in range(2)]
        try:
            connected.wait()
            for number in range(20):
                join(*(fork(lambda who=f"child-{number}-{half}": call_and_close(queue, who)) for half in "ab"))
        finally:
            over.set()
        rounds = [each.result() for each in busy]
    print(*(f"parent-{who}-{turn}-{n}" for who in range(16) for turn in range(rounds[who]) for n in range(5)))
    print(*(f"waiter-{who}-{turn}" for who in range(2) for turn in range(rounds[16 + who])))


@contextlib.contextmanager
def queue_connection(queue: sync.Queue[Any, Any]) -> Iterator[None]:
    """Holds a connection of the Queue's pool."""
    connection = queue._client._take()
    yield
    queue._client._give_back(connection)


def call_and_close(queue: sync.Queue[Any, Any], who: str) -> None:
    ask(queue, who, 5)
    try:
        queue.get_job_result(str(random.randrange(ANSWERS)))
        queue.add("job", who, job_id=f"{who}-last").wait_for_result(timeout_ms=1)
    except TimeoutError:
        pass
    queue.close()


def locked(url: str, name: str) -> None:
    """Another thread holds every lock of the Queue at the moment of the fork, and never lets go."""
    queue = sync.Queue[Any, Any](name, connection=url)
    queue.add("job", 0, job_id="before")
    with contextlib.suppress(TimeoutError):
        queue.add("job", 0, job_id="waited-for").wait_for_result(timeout_ms=1)
    locks = list(locks_below(queue))
    assert len(locks) >= 2, locks
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = fork(lambda: call_and_close(queue, "child"))
    try:
        join(child)
    finally:
        forked.set()
        holder.join()
    queue.close()


def locks_below(root: object) -> Iterator[Any]:
    """All locks that belong to the object, directly or through other objects of this package."""
    kinds = (type(threading.Lock()), type(threading.RLock()))
    seen: set[int] = set()
    open_ones = [root]
    while open_ones:
        one = open_ones.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, kinds):
            yield one
        elif isinstance(one, dict | list | tuple | set) or type(one).__module__.startswith("chasquimq"):
            open_ones += gc.get_referents(one)


def loop(url: str, name: str, backend: str, where: str) -> None:
    """Fifty tasks call a Queue of one loop while children are forked, in the loop's thread or in another one."""

    async def child_main(queue: aio.Queue[Any, Any], who: str) -> None:
        for turn in range(5):
            number = random.randrange(ANSWERS)
            assert await queue.get_job_result(str(number)) == number
            assert (await queue.add("job", who, job_id=f"{who}-{turn}")).id == f"{who}-{turn}"
        await queue.close()

    def child(queue: aio.Queue[Any, Any], who: str) -> int:
        # trio does not let a thread that runs a loop begin another one, not even in the child of a fork.
        if backend == "trio" and where == "inside":
            return fork(lambda: None)
        if backend == "asyncio":
            return fork(lambda: asyncio.run(child_main(queue, who)))
        return fork(lambda: anyio.run(child_main, queue, who, backend=backend))

    async def main() -> None:
        rounds = [0] * 50
        over = anyio.Event()

        async def call(queue: aio.Queue[Any, Any], who: int) -> None:
            dice = random.Random(who)
            while not over.is_set():
                number = dice.randrange(ANSWERS)
                assert await queue.get_job_result(str(number)) == number
                job = await queue.add("job", who, job_id=f"parent-{who}-{rounds[who]}")
                assert job.id == f"parent-{who}-{rounds[who]}"
                rounds[who] += 1

        async with aio.Queue[Any, Any](name, connection=url) as queue, anyio.create_task_group() as tasks:
            for who in range(50):
                tasks.start_soon(call, queue, who)
            for number in range(10):
                while min(rounds) < 3 * (number + 1):
                    await anyio.sleep(0)
                if where == "inside":
                    pid = child(queue, f"child-{number}")
                else:
                    pid = await anyio.to_thread.run_sync(child, queue, f"child-{number}")
                await anyio.to_thread.run_sync(join, pid)
            over.set()
        print(*(f"parent-{who}-{n}" for who in range(50) for n in range(rounds[who])))

    anyio.run(main, backend=backend)


def prefork(url: str, name: str, flavour: str) -> None:
    """An application that uses its Queue when it is loaded, and then serves in four children."""
    if flavour == "sync":
        queue = sync.Queue[Any, Any](name, connection=url)
        queue.add("job", "loaded", job_id="loaded")

        def serve(who: str) -> None:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda n: ask(queue, f"{who}-{n}", 25), range(8)))
            assert len(queue.add_bulk([("job", n, {"job_id": f"{who}-bulk-{n}"}) for n in range(500)])) == 500
            queue.close()
    else:
        shared = aio.Queue[Any, Any](name, connection=url)

        async def load() -> None:
            await shared.add("job", "loaded", job_id="loaded")

        anyio.run(load, backend=flavour)

        async def one(who: str) -> None:
            for turn in range(25):
                number = random.randrange(ANSWERS)
                assert await shared.get_job_result(str(number)) == number
                assert (await shared.add("job", who, job_id=f"{who}-{turn}")).id == f"{who}-{turn}"

        async def main(who: str) -> None:
            async with shared, anyio.create_task_group() as tasks:
                for n in range(8):
                    tasks.start_soon(one, f"{who}-{n}")
                await shared.add_bulk([("job", n, {"job_id": f"{who}-bulk-{n}"}) for n in range(500)])

        def serve(who: str) -> None:
            anyio.run(main, who, backend=flavour)

    join(*(fork(lambda who=f"child-{n}": serve(who), ordinary_end=n % 2 == 0) for n in range(4)))


# -- workers -----------------------------------------------------------------------------------------------------------


def handler(ledger: str) -> Any:
    notes = Notes(ledger, "program")

    def handle(job: Any) -> None:
        notes.note("start", id=job.id, redelivered=job.redelivered)
        time.sleep(0.005)
        notes.note("end", id=job.id)

    return handle


def made_before(url: str, name: str, flavour: str, ledger: str) -> None:
    """A Worker that is made before the forks, and run in each of three children until nothing is left."""
    form: Any = sync if flavour == "sync" else aio
    worker: Any = form.Worker(name, handler(ledger), connection=url, concurrency=4, drain_delay=200)
    pids = [fork(lambda: run_until_drained(worker, flavour)) for _ in range(3)]
    join(*pids)
    assert not worker.is_closed


def run_until_drained(worker: Any, flavour: str) -> None:
    """All children are ready before the first one may leave: then the server has seen their names at one time."""
    if flavour == "sync":
        threading.Thread(target=close_at_end, args=(worker,)).start()
        worker.run()
        return

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await anyio.to_thread.run_sync(wait_for_end)
            await worker.close()

    anyio.run(main, backend=flavour)


def wait_for_end() -> None:
    """The test tells the end by a file."""
    while not os.path.exists(os.environ["OVER"]):  # noqa: PTH110
        time.sleep(0.01)


def close_at_end(worker: Any) -> None:
    wait_for_end()
    worker.close()


def beside_worker(url: str, name: str, flavour: str, ledger: str) -> None:
    """Children are forked while a Worker, a follower and a Scheduler run, and leave in the ordinary way."""
    if flavour == "sync":
        with (
            sync.Worker[Any, Any](name, handler(ledger), connection=url, concurrency=4) as worker,
            sync.QueueEvents(name, connection=url) as events,
            sync.Scheduler(name, connection=url) as scheduler,
        ):
            for number in range(10):
                time.sleep(0.02)
                pid = os.fork()
                if pid == 0:
                    # It unwinds through the blocks: all three are closed here, where none of them runs.
                    for each in (worker, scheduler):
                        assert not each.is_running()
                        expect_closed(each.run)
                    expect_closed(lambda: iter(events))
                    sys.exit(number)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == number
            wait_for_end()
            assert worker.is_running()
            assert scheduler.is_running()
            assert not events.is_closed
        return

    async def main() -> None:
        async with (
            aio.Worker[Any, Any](name, handler(ledger), connection=url, concurrency=4) as worker,
            aio.QueueEvents(name, connection=url) as events,
            aio.Scheduler(name, connection=url) as scheduler,
        ):

            async def in_child() -> None:
                for each in (worker, scheduler):
                    assert not each.is_running()
                    with contextlib.suppress(ClosedError):
                        await each.run()
                        raise AssertionError("it ran in the child")
                    await each.close()
                assert events.is_closed
                await events.close()

            for _ in range(10):
                await anyio.sleep(0.02)
                pid = await anyio.to_thread.run_sync(fork, lambda: anyio.run(in_child, backend=flavour))
                await anyio.to_thread.run_sync(join, pid)
            await anyio.to_thread.run_sync(wait_for_end)
            assert worker.is_running()
            assert scheduler.is_running()
            assert not events.is_closed

    anyio.run(main, backend=flavour)


def expect_closed(call: Any) -> None:
    try:
        call()
    except ClosedError:
        return
    raise AssertionError("it can be used in the child")


def in_handler(url: str, name: str, flavour: str, ledger: str) -> None:
    """Handlers fork, and their children come back from them: by returning, raising, or ``sys.exit``."""
    notes = Notes(ledger, "program")

    def begin(job: Any) -> int:
        notes.note("start", id=job.id, how=job.data)
        return os.fork()

    def leave(how: str) -> None:
        if how == "exit":
            sys.exit(7)
        if how == "raise":
            raise ValueError("the child's")

    def finish(job: Any, pid: int) -> None:
        notes.note("child", how=job.data, code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        notes.note("end", id=job.id)

    def handle(job: Any) -> None:
        if pid := begin(job):
            finish(job, pid)
        else:
            leave(job.data)

    async def handle_as_task(job: Any) -> None:
        if pid := begin(job):
            await anyio.to_thread.run_sync(finish, job, pid)
        else:
            leave(job.data)

    if flavour == "sync":
        worker = sync.Worker[Any, Any](name, handle, connection=url, concurrency=4)
        threading.Thread(target=close_at_end, args=(worker,)).start()
        worker.run()
        return

    async def main() -> None:
        function: Any = handle if flavour.endswith("+thread") else handle_as_task
        async with aio.Worker[Any, Any](name, function, connection=url, concurrency=4):
            await anyio.to_thread.run_sync(wait_for_end)

    anyio.run(main, backend=flavour.partition("+")[0])


def beside_processes(url: str, name: str, ledger: str) -> None:
    """A child of a program with worker processes ends in the ordinary way, and so do not they."""
    worker = sync.Worker[Any, Any](
        name, handler(ledger), connection=url, processes=2, concurrency=2, start_method="fork"
    )
    told: list[Exception] = []
    worker.on("error", told.append)
    with worker:
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                sys.exit(0)
            join(pid)
        Notes(ledger, "program").note("forked")
        wait_for_end()
        assert worker.is_running()
    assert not told, told


if __name__ == "__main__":
    run_scenario(globals())
