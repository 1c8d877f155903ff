"""When a handler fails: retries with a growing wait, the dead-letter queue, and replaying it.

    python examples/email_queue.py

Uses the server that CHASQUIMQ_REDIS_URL names, else an embedded one.
"""

import os
import threading
from collections.abc import Callable

from chasquimq import BackoffSpec, JobsOptions, UnrecoverableError
from chasquimq.sync import Job, Queue, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")
Email = dict[str, str]

# At most four runs: 50 ms, 100 ms and 200 ms lie between them, each 10 ms more or less by chance.
PATIENT = JobsOptions(attempts=4, backoff=BackoffSpec.exponential(50, max_delay_ms=5_000, jitter_ms=10))

blocked_domains = {"example.org"}


def send(job: Job[Email, None]) -> None:
    """Pretends to send an email."""
    domain = job.data["to"].partition("@")[2]
    if domain in blocked_domains:
        # No later run could do better: do not retry.
        raise UnrecoverableError(f"{domain} does not take our mail")
    if domain == "busy.example" and job.attempts_made < 3:
        raise ConnectionError("the mail server is busy")  # an ordinary error: retry
    print(f"sent to {job.data['to']} in run {job.attempts_made}")


def work_until(is_done: Callable[[str], bool]) -> None:
    """Runs a worker until a listener's note satisfies ``is_done``."""
    done = threading.Event()

    def note(text: str) -> None:
        if is_done(text):
            done.set()

    worker = Worker("emails", send, connection=CONNECTION)
    worker.on("completed", lambda job, _result, _prev: note(f"completed {job.data['to']}"))
    worker.on(
        "failed", lambda job, error, _prev: print(f"failed: {job.data['to']} in run {job.attempts_made}: {error}")
    )
    with worker:
        if not done.wait(timeout=20):
            raise TimeoutError("the jobs were not done within 20 seconds")


def main() -> None:
    with Queue[Email, None]("emails", connection=CONNECTION, default_job_options=PATIENT) as queue:
        queue.add("welcome", {"to": "bob@example.org"})
        queue.add("welcome", {"to": "ada@busy.example"})
        work_until(lambda note: note == "completed ada@busy.example")

        for entry in queue.peek_dlq():
            print(f"dead letter: {entry.name} to {entry.data['to']}, {entry.reason}")

        blocked_domains.clear()  # a person has mended something
        print("replayed:", queue.replay_dlq())
        work_until(lambda note: note == "completed bob@example.org")
        print("dead letters left:", len(queue.peek_dlq()))


if __name__ == "__main__":
    main()
