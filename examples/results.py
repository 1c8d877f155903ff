"""Stored results: wait for one, ask for one, and what it means that there is none.

    python examples/results.py

Uses the server that CHASQUIMQ_REDIS_URL names, else an embedded one.
"""

import os

from chasquimq import UnrecoverableError, WaitForResultTimeoutError
from chasquimq.sync import Job, Queue, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")


def divide(job: Job[list[int], float]) -> float:
    """The return value is stored when the job is acknowledged, in the same step."""
    dividend, divisor = job.data
    if divisor == 0:
        raise UnrecoverableError("division by zero")
    return dividend / divisor


def main() -> None:
    with (
        Queue[list[int], float]("results", connection=CONNECTION) as queue,
        # Results are off by default. They live for an hour, unless result_ttl_ms says otherwise.
        Worker("results", divide, connection=CONNECTION, store_results=True, result_ttl_ms=60_000),
    ):
        job = queue.add("divide", [22, 7])
        # Polls every 20 ms, for up to five seconds.
        print(f"waited for: {job.wait_for_result(timeout_ms=5_000, interval_ms=20):.4f}")

        # Any process that knows the id can ask; None means that there is no result (yet).
        print(f"asked for:  {queue.get_job_result(job.id):.4f}")
        print(f"unknown id: {queue.get_job_result('no-such-job')}")

        # A job that failed for good has no result: the wait ends by its own limit.
        hopeless = queue.add("divide", [1, 0])
        try:
            hopeless.wait_for_result(timeout_ms=500)
        except WaitForResultTimeoutError as error:
            print(f"no result:  {error}")


if __name__ == "__main__":
    main()
