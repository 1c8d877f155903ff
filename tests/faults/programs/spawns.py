"""Programs of ``multiprocessing``: what its processes are given, and what they make of it."""

from __future__ import annotations

import multiprocessing
from typing import Any

import anyio

from chasquimq import JobsOptions, aio, sync
from tests.faults.programs import run_scenario


def add(url: str, name: str, options: JobsOptions, who: str) -> None:
    with sync.Queue[Any, Any](name, connection=url) as queue:
        for number in range(20):
            queue.add("job", who, opts=options, job_id=f"{who}-{number}")


def add_in_loop(url: str, name: str, options: JobsOptions, who: str) -> None:
    async def main() -> None:
        async with aio.Queue[Any, Any](name, connection=url) as queue:
            for number in range(20):
                await queue.add("job", who, opts=options, job_id=f"{who}-{number}")

    anyio.run(main)


def use(queue: sync.Queue[Any, Any], who: str) -> None:
    for number in range(20):
        queue.add("job", who, job_id=f"{who}-{number}")


def describe(job: Any) -> tuple[Any, ...]:
    return job.id, job.name, job.data, job.opts.attempts, job.queue


def processes(url: str, name: str, method: str) -> None:
    """Four processes add at the same time, given URL, name and options; a pool computes with jobs."""
    context: Any = multiprocessing.get_context(method)
    options = JobsOptions(attempts=7, delay=3_600_000)
    with sync.Queue[Any, Any](name, connection=url) as queue:
        queue.add("job", "parent", job_id="parent")
        started = [
            context.Process(target=target, args=(url, name, options, f"{target.__name__}{number}"))
            for target in (add, add_in_loop)
            for number in range(2)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(50)
            assert process.exitcode == 0
        with context.Pool(2) as pool:
            job = queue.add("name", {"data": 1}, attempts=7, job_id="for-the-pool", delay=3_600_000)
            assert pool.apply(describe, (job,)) == ("for-the-pool", "name", {"data": 1}, 7, None)
        process = context.Process(target=use, args=(queue, "given"))
        refused = ""
        try:
            process.start()
        except TypeError as error:
            refused = str(error)
        else:
            process.join(50)
            assert process.exitcode == 0
        assert ("Pass the queue's name and the connection's URL" in refused) == (method != "fork")
        assert not queue.add("job", "parent", job_id="parent-after").is_duplicate


if __name__ == "__main__":
    run_scenario(globals())
