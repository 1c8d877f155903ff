"""A worker of this library, whose jobs may come from the engine; see README.md."""

import os

from chasquimq.sync import Job, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL")


def greet(job: Job[dict[str, str], dict[str, str]]) -> dict[str, str]:
    print(f"this library runs {job.name} for {job.data['to']}", flush=True)
    return {"text": f"hello {job.data['to']}", "by": "this library"}


if __name__ == "__main__":
    # Results are read by whichever library asks for them.
    Worker("greetings", greet, connection=CONNECTION, store_results=True).run(handle_signals=True)
