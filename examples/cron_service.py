"""A service for recurring work: a schedule in the code, a scheduler that fires it, a worker that does it.

    python examples/cron_service.py                         until Ctrl-C or SIGTERM

Uses the server that CHASQUIMQ_REDIS_URL names, else an embedded one. Start it as often as you like, on any number of
machines: each fire happens once, and when one process ends another one fires.
"""

import os
from datetime import datetime, timedelta

from chasquimq import RepeatOptions
from chasquimq.sync import Job, Queue, Scheduler, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")
NAME = "cron-service"

# The key names an entry for good: a changed one replaces what is stored under it.
SCHEDULE = {
    "heartbeat": RepeatOptions(every=timedelta(milliseconds=500)),
    # Every second; five fields are minute, hour, day, month and weekday, a sixth in front is the second.
    "clock": RepeatOptions(pattern="* * * * * *"),
    # At seven in the morning of Lisbon, also when the clocks change. If nobody was there, once afterwards.
    "report": RepeatOptions(pattern="0 7 * * MON-FRI", tz="Europe/Lisbon", missed_fires="fire-once"),
}


def store(queue: Queue[None, None]) -> None:
    """Makes what is stored equal to what is written above, at every start of every process."""
    for name, repeat in SCHEDULE.items():
        queue.add(name, None, repeat=repeat, repeat_job_key=name)
    for entry in queue.get_repeatable_jobs(limit=1_000):
        if entry.key not in SCHEDULE:
            queue.remove_repeatable_by_key(entry.key)
            print("no longer wanted:", entry.key)


def work(job: Job[None, None]) -> None:
    """One handler for all entries; a real one would look the name up in a table of functions."""
    print(f"{datetime.now().astimezone():%H:%M:%S} {job.name}", flush=True)


def main() -> None:
    with Queue[None, None](NAME, connection=CONNECTION) as queue:
        store(queue)
        for entry in queue.get_repeatable_jobs():
            print(f"{entry.key}: next at {datetime.fromtimestamp(entry.next_fire_ms / 1000).astimezone()}")

    # A worker fires by itself what is due. Here the scheduler is one of its own, as it is where the workers are on
    # other machines, or are not Python.
    with Scheduler(NAME, connection=CONNECTION):
        # The first signal lets running handlers end, then run() returns; the with block ends the scheduler.
        Worker(NAME, work, connection=CONNECTION, run_scheduler=False).run(handle_signals=True)
    print("stopped; the schedule stays stored and goes on with the next start")


if __name__ == "__main__":
    main()
