"""The smallest whole program: add a job, run it, read its result. Synchronous form.

    python examples/quickstart_sync.py

Without CHASQUIMQ_REDIS_URL it uses an embedded server, which needs: pip install 'chasquimq[embedded]'.
"""

import os

from chasquimq.sync import Job, Queue, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")


def send_welcome(job: Job[dict[str, str], str]) -> str:
    """The handler. Returning means done; raising means try again later."""
    return f"welcome, {job.data['to']}"


def main() -> None:
    with (
        # The queue opens its first connection with the first call.
        Queue[dict[str, str], str]("quickstart-sync", connection=CONNECTION) as queue,
        # Handlers run in threads, here up to ten at a time. Usually the worker is another process, and its
        # main program is: worker.run(handle_signals=True)
        Worker("quickstart-sync", send_welcome, connection=CONNECTION, concurrency=10, store_results=True),
    ):
        job = queue.add("welcome", {"to": "ada@example.com"})
        print("added", job.name)
        print("result:", job.wait_for_result(timeout_ms=10_000))
    # Leaving the block has drained the worker: whatever ran is finished and written.


if __name__ == "__main__":
    main()
