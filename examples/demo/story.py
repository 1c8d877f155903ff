"""What happens in the demo, from the command line to the closing table."""

import argparse
import logging
import os
import secrets
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chasquimq import IMPLEMENTATION, BulkJob, ChasquiError, DlqEntry, embedded, engine_version
from chasquimq.sync import Job, Queue
from examples.demo import aio_worker, sync_worker
from examples.demo.handlers import JOB_OPTIONS, Handlers
from examples.demo.modules import STANDARD_LIBRARY, Measure, ModuleFile, find_modules
from examples.demo.screen import print_largest, print_table
from examples.demo.tally import Tally

RUNNERS = {
    "sync": sync_worker.run,
    "asyncio": aio_worker.run_on_asyncio,
    "trio": aio_worker.run_on_trio,
}
JobOfFile = Job[ModuleFile, Measure]


@dataclass
class Outcome:
    """What one flavour has done."""

    flavour: str
    jobs: int = 0
    adding_seconds: float = 0.0
    working_seconds: float = 0.0
    retries: int = 0
    dead_before: int = 0
    replayed: int = 0
    dead_after: int = 0
    measures: dict[str, Measure] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Runs the flavours asked for, one after the other; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", description="Every file of Python's standard library becomes a job."
    )
    parser.add_argument("flavour", nargs="?", default="all", choices=[*RUNNERS, "all"])
    parser.add_argument("--files", type=int, metavar="N", help="take about N files from all over the library, not all")
    options = parser.parse_args(arguments)
    flavours = list(RUNNERS) if options.flavour == "all" else [options.flavour]
    warnings.simplefilter("ignore")  # the parser has opinions on other people's code
    logging.getLogger("chasquimq").setLevel(logging.ERROR)  # dead letters are warnings; here they are on purpose

    paths = find_modules()
    if options.files:
        paths = paths[:: max(1, len(paths) // options.files)]
    print(f"chasquimq {engine_version()} ({IMPLEMENTATION}). {len(paths):,} files of {STANDARD_LIBRARY}.", flush=True)
    try:
        with server() as connection:
            outcomes = [run_flavour(name, connection, paths) for name in flavours]
    except ChasquiError as error:
        print(f"\nThe demo cannot go on. {error}", file=sys.stderr)
        return 1
    show(outcomes)
    return 0


@contextmanager
def server() -> Iterator[str]:
    """The server that CHASQUIMQ_REDIS_URL names, else a temporary one that is gone when we leave."""
    given = os.environ.get("CHASQUIMQ_REDIS_URL")
    if given and not given.startswith("embedded:"):
        yield given
    else:
        with embedded.server() as url:
            yield url


def run_flavour(flavour: str, connection: str, paths: Sequence[str]) -> Outcome:
    """The whole story with one kind of worker."""
    outcome = Outcome(flavour)
    handlers = Handlers()
    queue_name = f"demo-{flavour}-{secrets.token_hex(4)}"
    print(f"\n{flavour}", flush=True)

    with Queue[ModuleFile, Measure](queue_name, connection=connection) as queue:
        jobs = add_jobs(queue, paths, outcome)

        first = Tally(expected=len(jobs))
        started = time.monotonic()
        RUNNERS[flavour](queue_name, connection, handlers, first)
        outcome.working_seconds = time.monotonic() - started
        outcome.retries = first.retries

        dead = queue.peek_dlq(limit=len(jobs))
        outcome.dead_before = len(dead)
        describe(dead)

        print("  The bug is repaired: replaying all dead letters ...")
        handlers.is_repaired = True
        outcome.replayed = queue.replay_dlq(limit=len(jobs))
        # The worker above is closed, so every end is written; this is a new one.
        RUNNERS[flavour](queue_name, connection, handlers, Tally(expected=outcome.replayed))
        outcome.dead_after = len(queue.peek_dlq(limit=len(jobs)))

        for job in jobs:
            result = queue.get_job_result(job.id)
            if result is not None:  # dead letters have none
                outcome.measures[job.data["path"]] = result
    return outcome


def add_jobs(queue: Queue[ModuleFile, Measure], paths: Sequence[str], outcome: Outcome) -> list[JobOfFile]:
    """One job per file, in one pipelined pass."""
    started = time.monotonic()
    jobs = queue.add_bulk(BulkJob("count", {"path": path}, JOB_OPTIONS) for path in paths)
    outcome.adding_seconds = time.monotonic() - started
    outcome.jobs = len(jobs)
    print(f"  added {len(jobs):,} jobs in {outcome.adding_seconds * 1000:.0f} ms")
    return jobs


def describe(dead: Sequence[DlqEntry]) -> None:
    """Prints what the dead letters say."""
    print(f"  {len(dead)} dead letters, among them:")
    # The last of each kind of error is enough.
    by_error = {(entry.detail or "").partition("(")[0]: entry for entry in dead}
    for entry in list(by_error.values())[:3]:
        first_line = (entry.detail or "").partition("\n")[0]
        print(f"    {entry.data['path']}: {entry.reason}, {first_line}")


def show(outcomes: Sequence[Outcome]) -> None:
    """The closing tables."""
    print()
    print_table(
        [
            ("", [outcome.flavour for outcome in outcomes]),
            ("jobs", [outcome.jobs for outcome in outcomes]),
            ("seconds to add them", [f"{outcome.adding_seconds:.2f}" for outcome in outcomes]),
            ("seconds to work them off", [f"{outcome.working_seconds:.1f}" for outcome in outcomes]),
            ("jobs per second", [round(outcome.jobs / outcome.working_seconds) for outcome in outcomes]),
            ("retries", [outcome.retries for outcome in outcomes]),
            ("dead letters", [outcome.dead_before for outcome in outcomes]),
            ("replayed", [outcome.replayed for outcome in outcomes]),
            ("dead letters after replay", [outcome.dead_after for outcome in outcomes]),
            ("results collected", [len(outcome.measures) for outcome in outcomes]),
            ("definitions counted", [total(outcome) for outcome in outcomes]),
        ]
    )
    print("  (The handler computes: its speed is that of Python's parser, not of the queue.)")
    print_largest(outcomes[-1].measures)


def total(outcome: Outcome) -> int:
    return sum(measure["definitions"] for measure in outcome.measures.values())
