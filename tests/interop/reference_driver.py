"""Runs under the reference implementation's interpreter and does as it is told: one JSON object per line.

It must import nothing of this checkout: its ``chasquimq`` is the reference. Every request ``{"op": ..., ...}`` on
stdin is answered by one line on stdout, ``{"ok": ...}`` or ``{"error": ...}``. Bytes travel as ``{"$hex": ...}``.
"""

import asyncio
import json
import os
import sys
import time

import chasquimq


def to_json(value):
    if isinstance(value, bytes):
        return {"$hex": value.hex()}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(value):
    if isinstance(value, dict):
        if set(value) == {"$hex"}:
            return bytes.fromhex(value["$hex"])
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value


def add_options(options):
    """The options of an add; a backoff given as a mapping becomes a BackoffSpec."""
    backoff = options.get("backoff")
    if isinstance(backoff, dict):
        options = {**options, "backoff": chasquimq.BackoffSpec(**backoff)}
    return options


class Driver:
    def __init__(self, url, ledger):
        self.url = url
        self.ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.queues = {}
        self.worker = None
        self.running = None
        self.events = []
        self.listening = None

    def queue(self, name):
        if name not in self.queues:
            self.queues[name] = chasquimq.Queue(name, redis_url=self.url)
        return self.queues[name]

    def note(self, **fields):
        line = {"by": "reference", "pid": os.getpid(), "at": time.time(), **fields}
        os.write(self.ledger, json.dumps(to_json(line)).encode() + b"\n")

    # -- producing ---------------------------------------------------------------------------------------------------

    async def add(self, queue, name, data, **options):
        job = await self.queue(queue).add(name, data, **add_options(options))
        return job.id

    async def add_unique(self, queue, name, data, **options):
        job = await self.queue(queue).add_unique(name, data, **add_options(options))
        return job.id

    async def add_bulk(self, queue, rows):
        jobs = await self.queue(queue).add_bulk([add_options(row) for row in rows])
        return [job.id for job in jobs]

    async def cancel(self, queue, job_id):
        return await self.queue(queue).cancel_delayed(job_id)

    async def peek(self, queue, limit=100):
        return await self.queue(queue).peek_dlq(limit)

    async def replay(self, queue, limit=100):
        return await self.queue(queue).replay_dlq(limit)

    async def result(self, queue, job_id):
        return await self.queue(queue).get_job_result(job_id)

    # -- working -----------------------------------------------------------------------------------------------------

    async def work(self, queue, **options):
        options = {"read_block_ms": 200, "run_scheduler": False, **options}
        self.worker = chasquimq.Worker(queue, self.handle, redis_url=self.url, **options)
        self.running = asyncio.ensure_future(self.worker.run())

    async def stop(self):
        await self.worker.close()
        await self.running

    async def handle(self, job):
        """What the job's data ask for; the same words as in ``tests/faults/worker_program.py``."""
        run = job.attempt + 1
        self.note(event="start", id=job.id, name=job.name, data=job.data, run=run)
        data = job.data if isinstance(job.data, dict) else {}
        if data.get("wait_ms"):
            await asyncio.sleep(data["wait_ms"] / 1000)
        if data.get("unrecoverable"):
            raise chasquimq.UnrecoverableError("as told")
        if run <= data.get("fails", 0):
            raise ValueError(f"run {run} fails as told")
        self.note(event="end", id=job.id, run=run)
        return data.get("returns")

    # -- events ------------------------------------------------------------------------------------------------------

    async def listen(self, queue):
        """Collects the queue's events from the first one on."""

        async def collect():
            async for event in chasquimq.QueueEvents(queue, redis_url=self.url, last_event_id="0"):
                self.events.append({"name": event.name, "id": event.job_id, "job_name": event.job_name, **event.fields})

        self.listening = asyncio.ensure_future(collect())

    async def heard(self):
        return self.events


async def main():
    driver = Driver(*sys.argv[1:3])
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = from_json(json.loads(line))
        try:
            answer = {"ok": to_json(await getattr(driver, request.pop("op"))(**request))}
        except Exception as error:  # noqa: BLE001 - the test decides what it means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    os._exit(0)  # its native threads are not waited for


asyncio.run(main())
