"""A user's program: every type is known without one annotation too many. Checked, never run."""

from typing import TypedDict, assert_type

from chasquimq import BackoffSpec, DlqEntry, JobsOptions, aio, sync
from chasquimq.errors import ChasquiError, RedisConnectionError


class Email(TypedDict):
    to: str


class Receipt(TypedDict):
    id: int


def send(job: sync.Job[Email, Receipt]) -> Receipt:
    assert_type(job.data, Email)
    assert_type(job.data["to"], str)
    assert_type(job.attempts_made, int)
    job.update_progress(50)
    return {"id": 1}


async def send_async(job: aio.Job[Email, Receipt]) -> Receipt:
    await job.update_progress({"step": 1})
    return {"id": 1}


def synchronous() -> None:
    queue = sync.Queue[Email, Receipt]("emails", connection={"host": "localhost"})
    with queue, sync.Worker("emails", send, concurrency=4, store_results=True) as worker:
        assert_type(worker, sync.Worker[Email, Receipt])
        job = queue.add("welcome", {"to": "ada"}, attempts=3, backoff=BackoffSpec.exponential(100))
        assert_type(job, sync.Job[Email, Receipt])
        assert_type(job.wait_for_result(timeout_ms=100), Receipt | None)
        assert_type(queue.get_job_result(job.id), Receipt | None)
        assert_type(
            queue.add_bulk([("w", {"to": "ada"}), ("w", {"to": "bob"}, JobsOptions(delay=5))]),
            list[sync.Job[Email, Receipt]],
        )
        assert_type(queue.add_bulk((("w", n) for n in range(3)), return_jobs=False), int)
        assert_type(queue.peek_dlq(), list[DlqEntry])
        assert_type(queue.replay_dlq(limit=3), int)

        @worker.on("completed")
        def told(job: sync.Job[Email, Receipt], result: Receipt, prev: str) -> None: ...

        worker.off("completed", told)


async def asynchronous() -> None:
    async with (
        aio.Queue[Email, Receipt]("emails") as queue,
        aio.Worker("emails", send_async) as worker,
    ):
        assert_type(worker, aio.Worker[Email, Receipt])
        job = await queue.add("welcome", {"to": "ada"})
        assert_type(job, aio.Job[Email, Receipt])
        assert_type(await job.wait_for_result(), Receipt | None)
        assert_type(await queue.add_bulk([("w", {"to": "ada"})], return_jobs=False), int)
        await worker.run()


def errors() -> None:
    try:
        sync.Queue[object, object]("q").add("w", None)
    except RedisConnectionError as error:
        assert_type(error.may_have_executed, bool)
    except ChasquiError:
        pass
