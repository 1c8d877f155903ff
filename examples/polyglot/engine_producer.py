"""A producer of the engine's own package, whose jobs may be done by this library; see README.md."""

import asyncio
import os
import sys
from datetime import timedelta

import chasquimq

URL = os.environ.get("CHASQUIMQ_REDIS_URL", "redis://127.0.0.1:6379")


async def main():
    queue = chasquimq.Queue("greetings", redis_url=URL)
    jobs = [
        await queue.add("greet", {"to": "ada"}, attempts=3),
        await queue.add("greet", {"to": "grace"}, attempts=3, delay=timedelta(milliseconds=200)),
    ]
    for job in jobs:
        print("added by the engine, result:", await job.wait_for_result(timeout=20.0))
    await queue.close()


if __name__ == "__main__":
    asyncio.run(main())
    # The engine's native threads may still run while the interpreter is taken down; this leaves without that.
    sys.stdout.flush()
    os._exit(0)
