"""A producer of this library, whose jobs may be done by the engine; see README.md."""

import os
from datetime import timedelta

from chasquimq.sync import Queue

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL")


def main() -> None:
    with Queue[dict[str, str], dict[str, str]]("greetings", connection=CONNECTION) as queue:
        jobs = [
            # How often a job may run is said here: the libraries' workers have different defaults.
            queue.add("greet", {"to": "ada"}, attempts=3),
            queue.add("greet", {"to": "grace"}, attempts=3, delay=timedelta(milliseconds=200)),
        ]
        for job in jobs:
            print("added by this library, result:", job.wait_for_result(timeout_ms=20_000))


if __name__ == "__main__":
    main()
