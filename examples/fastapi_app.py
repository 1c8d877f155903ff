"""A web application that hands slow work to a queue: POST a report, get its id at once, GET it later.

    pip install 'chasquimq[embedded]' fastapi uvicorn
    uvicorn --app-dir examples fastapi_app:app      the application, with a worker inside
    curl localhost:8000/reports -H 'Content-Type: application/json' -d '{"title": "Sales"}'

In production the worker is better a process of its own: then a handler that computes slows no request down. For that,
name a server that both can reach in CHASQUIMQ_REDIS_URL, start the application with IN_PROCESS_WORKER=0, and

    python examples/fastapi_app.py                  the worker
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import anyio
from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel

from chasquimq.aio import Job, Queue, Worker

CONNECTION = os.environ.get("CHASQUIMQ_REDIS_URL", "embedded://")
HAS_WORKER = os.environ.get("IN_PROCESS_WORKER", "1") != "0"
Answer = dict[str, str]


class Order(BaseModel):
    title: str


async def write_report(job: Job[dict[str, str], Answer]) -> Answer:
    """The slow part. It gets plain data and returns plain data: both travel as MessagePack."""
    await anyio.sleep(0.2)
    return {"title": job.data["title"], "text": "All is well."}


def make_worker() -> Worker[dict[str, str], Answer]:
    return Worker("reports", write_report, connection=CONNECTION, concurrency=10, store_results=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One Queue for the whole application: its requests share a connection. The end drains the worker."""
    async with AsyncExitStack() as scopes:
        app.state.queue = await scopes.enter_async_context(Queue("reports", connection=CONNECTION))
        if HAS_WORKER:
            await scopes.enter_async_context(make_worker())
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/reports", status_code=202)
async def submit(order: Order, request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> Answer:
    """A client that repeats its request with the same Idempotency-Key gets the same job, not a second one."""
    job = await request.app.state.queue.add("write", order.model_dump(), job_id=idempotency_key)
    return {"id": job.id, "status": "known already" if job.is_duplicate else "accepted"}


@app.get("/reports/{job_id}")
async def look(job_id: str, request: Request, response: Response) -> Answer:
    """The report, or 202 as long as there is none. Results are kept for an hour."""
    report: Answer | None = await request.app.state.queue.get_job_result(job_id)
    if report is None:
        response.status_code = 202
        return {"id": job_id, "status": "not there (yet)"}
    return report


async def main() -> None:
    """The worker alone. SIGINT and SIGTERM let running handlers end."""
    await make_worker().run(handle_signals=True)


if __name__ == "__main__":
    anyio.run(main)
