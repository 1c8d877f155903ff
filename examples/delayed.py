"""Jobs for later: after a while, at an instant, and how to cancel one.

    python examples/delayed.py

Uses the server that CHASQUIMQ_REDIS_URL names, else an embedded one.
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta

from chasquimq import NotSupportedError
from chasquimq.sync import Job, Queue, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")

both_ran = threading.Barrier(3)  # the two jobs that run, and the main program


def remind(job: Job[str, None]) -> None:
    since_added_s = time.time() - job.timestamp / 1000
    print(f"after {since_added_s:.1f} s: {job.data}")
    both_ran.wait(timeout=10)


def main() -> None:
    with Queue[str, None]("delayed", connection=CONNECTION) as queue:
        # A delayed job with an id of your own can be cancelled until it is due.
        queue.add("remind", "never to be seen", delay=timedelta(seconds=30), job_id="reminder-42")
        print("cancelled:", queue.remove("reminder-42"))
        try:
            queue.remove("reminder-42")
        except NotSupportedError as error:
            print("again:", error)

        # A plain number is milliseconds. The server's clock decides when the time is over.
        queue.add("remind", "half a second is over", delay=500)
        # An instant needs a time zone; a naive datetime is refused.
        queue.add("remind", "it is time", delay=datetime.now(UTC) + timedelta(seconds=1))

        with Worker("delayed", remind, connection=CONNECTION):
            both_ran.wait(timeout=10)


if __name__ == "__main__":
    main()
