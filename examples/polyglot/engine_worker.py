"""A worker of the engine's own package, whose jobs may come from this library; see README.md."""

import asyncio
import os
import signal
import sys

import chasquimq

URL = os.environ.get("CHASQUIMQ_REDIS_URL", "redis://127.0.0.1:6379")


async def greet(job):
    print(f"the engine runs {job.name} for {job.data['to']}", flush=True)
    return {"text": f"hello {job.data['to']}", "by": "the engine"}


async def main():
    worker = chasquimq.Worker("greetings", greet, redis_url=URL, store_results=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.ensure_future(worker.run())
    await stop.wait()
    await worker.close()
    await running


if __name__ == "__main__":
    asyncio.run(main())
    # The engine's native threads may still run while the interpreter is taken down; this leaves without that.
    sys.stdout.flush()
    os._exit(0)
