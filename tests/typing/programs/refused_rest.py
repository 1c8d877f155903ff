"""More mistakes: each line that ends in ``# wrong`` must be refused by the type checkers, and no other line."""

from datetime import timedelta
from typing import TypedDict

from chasquimq import (
    AddOptions,
    JobState,
    MissedFires,
    Processor,
    QueueEventsOptions,
    RawJob,
    RepeatableSpec,
    RepeatPattern,
    WaitForResultOptions,
    aio,
    events,
    sync,
)


class Email(TypedDict):
    to: str


def send(job: sync.Job[Email, int]) -> int:
    return 1


async def send_async(job: aio.Job[Email, int]) -> int:
    return 1


def of_texts(job: sync.Job[str, int]) -> int:
    return len(job.data)


def processors() -> None:
    sync.Worker[Email, int]("q", of_texts)  # wrong
    sync.Worker("q", send_async)  # wrong
    aio.Worker("q", send)  # wrong
    sync.Worker("q", "module:function")  # wrong
    one: Processor[Email, str] = send  # wrong
    other: sync.Worker[Email, str] = sync.Worker("q", send)  # wrong
    print(one, other)


def jobs(job: sync.Job[Email, int]) -> None:
    job.data["form"]  # wrong
    print(job.attemptsMade)  # wrong
    text: str = job.wait_for_result()  # wrong
    job.wait_for_result(timeout=5)  # wrong
    job.wait_for_result(signal=True)  # wrong
    state: JobState = "wating"  # wrong
    WaitForResultOptions(timeout=5)  # wrong
    print(text, state)


def queues(queue: sync.Queue[Email, int], email: Email) -> None:
    queue.add_unique("w", email, jobid="x")  # wrong
    queue.add("w", email, repeat=5)  # wrong
    queue.add("w", email, attempts="3")  # wrong
    queue.add("w", email, 60_000)  # wrong
    print(queue.peek_dlq()[0].dlqId)  # wrong
    print(queue.get_repeatable_jobs()[0].payload)  # wrong
    MissedFires(kind="all")  # wrong
    with queue as scope:
        number: str = scope.replay_dlq()  # wrong
    print(number)


async def mixed_forms(queue: aio.Queue[Email, int], other: sync.Queue[Email, int], email: Email) -> None:
    with queue:  # wrong
        pass
    async with other:  # wrong
        pass
    await other.add("w", email)  # wrong


def following(queue_events: sync.QueueEvents) -> None:
    for event in queue_events:
        print(event.job_id)  # wrong
        if isinstance(event, events.Completed):
            print(event.failed_reason)  # wrong
    QueueEventsOptions(last_event_id=0)  # wrong
    sync.QueueEvents("q", blocking_timeout="10s")  # wrong


def low_level(producer: sync.Producer) -> None:
    producer.add("text")  # wrong
    producer.add(b"x", delay=5)  # wrong
    AddOptions(retry=timedelta(seconds=1))  # wrong
    RepeatPattern.every("1h")  # wrong
    RepeatableSpec(pattern=RepeatPattern.every(5))  # wrong

    def gives_text(job: RawJob) -> str:
        return "text"

    sync.Consumer("q", gives_text)  # wrong
