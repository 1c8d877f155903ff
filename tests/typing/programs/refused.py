"""A user's mistakes: each line that ends in ``# wrong`` must be refused by the type checkers, and no other line."""

from typing import TypedDict

from chasquimq import BackoffOptions, JobsOptions, aio, sync


class Email(TypedDict):
    to: str


def send(job: sync.Job[Email, int]) -> int:
    return 1


async def send_async(job: aio.Job[Email, int]) -> int:
    return 1


def takes_nothing() -> int:
    return 1


def synchronous(queue: sync.Queue[Email, int], email: Email) -> None:
    queue.add("w", {"too": "ada"})  # wrong
    queue.add(7, email)  # wrong
    queue.add("w", email, atempts=3)  # wrong
    queue.add("w", email, delay="soon")  # wrong
    print(queue.add("w", email).data["from"])  # wrong
    queue.add_bulk(5)  # wrong
    JobsOptions(delai=5)  # wrong
    BackoffOptions(type="linear")  # wrong
    sync.Worker("emails", takes_nothing)  # wrong
    sync.Worker("emails", send, concurency=3)  # wrong
    sync.Worker("emails", send, ack="sometimes")  # wrong
    result: str = queue.get_job_result("x") or ""  # wrong
    print(result)


async def asynchronous(queue: aio.Queue[Email, int], email: Email) -> None:
    job = queue.add("w", email)
    print(job.id)  # wrong
    print((await queue.add("w", email)).nothing)  # wrong
    aio.Worker("emails", takes_nothing)  # wrong
    aio.Worker("emails", send_async, lease=3)  # wrong
