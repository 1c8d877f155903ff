"""Options, repeatable jobs, events, dead letters and the low-level classes. Checked, never run."""

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import chasquimq
from chasquimq import (
    AddOptions,
    AddResult,
    BackoffOptions,
    BackoffSpec,
    BulkJob,
    ConnectionOptions,
    ConsumerOpts,
    DlqEntry,
    JobProgress,
    JobsOptions,
    JobState,
    JobType,
    MissedFires,
    MissedFiresPolicy,
    NamedPayload,
    ProducerOpts,
    QueueEventsOptions,
    QueueOptions,
    RawJob,
    RepeatableMeta,
    RepeatableSpec,
    RepeatOptions,
    RepeatPattern,
    RetryOpts,
    SchedulerOpts,
    WaitForResultOptions,
    WorkerOptions,
    aio,
    events,
    sync,
)

LATER = datetime.now(UTC)
state: JobState = "waiting"
kind: JobType = "paused"
kind = state
progress: JobProgress = {"step": 1}
assert_type(chasquimq.engine_version(), str)
assert_type(chasquimq.encode_payload({"a": 1}), bytes)


def options() -> None:
    jobs = JobsOptions(delay=LATER, backoff=timedelta(seconds=1), repeat={"every": 5})
    assert_type(BackoffSpec.exponential(timedelta(seconds=1), jitter_ms=5), BackoffOptions)
    queue_options = QueueOptions(connection=ConnectionOptions(host="h", port=1), default_job_options=jobs)
    with sync.Queue[int, str]("q", opts=queue_options) as queue:
        queue.add("w", 1, opts=jobs, delay=5)
        queue.add("w", 1, opts={"delay": 5})
        repeat = RepeatOptions(pattern="* * * * *", tz="UTC", missed_fires=MissedFires(kind="fire-once"))
        assert_type(queue.add("w", 1, repeat=repeat), sync.Job[int, str])
        assert_type(queue.get_repeatable_jobs(), list[RepeatableMeta])
        assert_type(queue.get_repeatable_jobs(5)[0].next_fire_ms, int)
        assert_type(queue.remove_repeatable_by_key("k"), bool)
        assert_type(queue.remove("k"), int)
        queue.add_bulk([BulkJob("w", 1, jobs), {"name": "w", "data": 1}])
        letter = queue.peek_dlq()[0]
        assert_type(letter, DlqEntry)
        assert_type(letter.detail, str | None)
        assert_type(queue.is_closed, bool)

        def handle(job: sync.Job[int, str]) -> str:
            return "x"

        worker_options = WorkerOptions(concurrency=4, lease_ms=timedelta(seconds=9), ack="each")
        assert_type(sync.Worker("q", handle, opts=worker_options, events=False), sync.Worker[int, str])


def following() -> None:
    with sync.QueueEvents("q", opts=QueueEventsOptions(last_event_id="0")) as queue_events:
        for event in queue_events:
            assert_type(event, events.QueueEvent)
            if isinstance(event, events.Completed):
                assert_type(event.attempt, int)
            elif isinstance(event, events.RetryScheduled):
                assert_type(event.backoff_ms, int)

        @queue_events.on("failed")
        def failed(event: events.Failed, event_id: str) -> None:
            assert_type(event.failed_reason, str)


async def following_async() -> None:
    async with aio.QueueEvents("q") as queue_events:
        await queue_events.wait_until_ready()

        @queue_events.once("drained")
        async def drained(event_id: str) -> None: ...

        async for event in queue_events:
            assert_type(event.event_id, str)


async def waiting(queue: aio.Queue[int, str]) -> None:
    job = await queue.add("w", 1)
    assert_type(await job.wait_for_result(timedelta(seconds=1), opts=WaitForResultOptions(interval_ms=5)), str | None)
    assert_type(job.to_json(), dict[str, Any])
    assert_type(job.is_delayed(), bool)
    assert_type(job.queue, Any)


def low_level() -> None:
    def handle(job: RawJob) -> bytes | None:
        assert_type(job.payload, bytes)
        assert_type(job.attempt, int)
        return None

    with (
        sync.Producer("q", opts=ProducerOpts(max_delay_ms=0)) as producer,
        sync.Consumer("q", handle, opts=ConsumerOpts(retry=RetryOpts(delay_ms=5))) as consumer,
        sync.Scheduler("q", opts=SchedulerOpts(tick_ms=5)) as scheduler,
    ):
        assert_type(producer.add(b"x", opts=AddOptions(delay_ms=5)), AddResult)
        assert_type(producer.add_bulk([b"x", ("n", b"x"), NamedPayload("n", b"x")]), list[AddResult])
        spec = RepeatableSpec(
            job_name="n", pattern=RepeatPattern.every(5), missed_fires=MissedFiresPolicy.fire_all(max_catchup=3)
        )
        assert_type(producer.upsert_repeatable(spec), str)
        assert_type(producer.get_result("x"), bytes | None)
        assert_type(consumer.is_running(), bool)
        assert_type(scheduler.is_leader, bool)


async def low_level_async() -> None:
    async def handle(job: RawJob) -> bytes:
        return job.payload

    async with aio.Producer("q") as producer, aio.Consumer("q", handle), aio.Scheduler("q"):
        assert_type(await producer.add(b"x"), AddResult)
        assert_type(await producer.cancel("x"), bool)
