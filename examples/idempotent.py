"""Adding the same thing twice, running the same thing twice: job ids and handlers that can bear a second run.

    python examples/idempotent.py

Uses the server that CHASQUIMQ_REDIS_URL names, else an embedded one. On a server that lives on, a second run within
two hours finds all of its ids known.
"""

import os

from chasquimq.sync import Job, Queue, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")
Invoice = dict[str, int]

paid: dict[str, int] = {}  # stands for a table with the job's id as its primary key


def pay(job: Job[Invoice, str]) -> str:
    """A job may run again after its worker died, so the effect is tied to the job's id."""
    if job.id in paid:
        return "was paid already"
    paid[job.id] = job.data["amount"]
    return "paid"


def main() -> None:
    # For two hours after the add, a job id is remembered (the default is one hour).
    with Queue[Invoice, str]("invoices", connection=CONNECTION, dedup_window_ms=7_200_000) as queue:
        # A user clicks twice, a web server repeats a request: the id makes one job of both.
        first = queue.add_unique("pay", {"amount": 120}, job_id="invoice-2024-17")
        second = queue.add_unique("pay", {"amount": 120}, job_id="invoice-2024-17")
        print("first is a duplicate: ", first.is_duplicate)
        print("second is a duplicate:", second.is_duplicate)

        # add_unique() insists on an id; add() and the rows of add_bulk() take one too, in any mix.
        rows = [("pay", {"amount": 80}, {"job_id": f"invoice-2024-{number}"}) for number in (17, 18)]
        jobs = queue.add_bulk(rows)
        print("added by the bulk:    ", [job.id for job in jobs if not job.is_duplicate])

        with Worker("invoices", pay, connection=CONNECTION, store_results=True):
            for job in jobs:
                print(f"{job.id}: {job.wait_for_result(timeout_ms=5_000)}, amount {paid.get(job.id)}")


if __name__ == "__main__":
    main()
