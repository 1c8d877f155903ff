"""What may be a processor, and what a worker learns from it. Checked, never run."""

import functools
from typing import Any, TypedDict, assert_type

from chasquimq import Processor, aio, sync


class Email(TypedDict):
    to: str


def send(job: sync.Job[Email, int]) -> int:
    return len(job.data["to"])


async def send_async(job: aio.Job[Email, int]) -> int:
    return len(job.data["to"])


def send_in_thread(job: aio.Job[Email, int]) -> int:
    return len(job.data["to"])


def only_prints(job: sync.Job[Email, None]) -> None:
    print(job.data["to"])


def send_from(sender: str, job: sync.Job[Email, int]) -> int:
    return len(sender)


class Sender:
    def __call__(self, job: sync.Job[Email, int]) -> int:
        return 1

    def method(self, job: sync.Job[Email, int]) -> int:
        return 1

    async def coroutine_method(self, job: aio.Job[Email, int]) -> int:
        return 1


assert_type(sync.Worker("q", send), sync.Worker[Email, int])
assert_type(sync.Worker("q", only_prints), sync.Worker[Email, None])
assert_type(sync.Worker("q", Sender()), sync.Worker[Email, int])
assert_type(sync.Worker("q", Sender().method), sync.Worker[Email, int])
sync.Worker("q", functools.partial(send_from, "me"))
assert_type(aio.Worker("q", send_async), aio.Worker[Email, int])
assert_type(aio.Worker("q", send_in_thread), aio.Worker[Email, int])
assert_type(aio.Worker("q", Sender().coroutine_method), aio.Worker[Email, int])
sync.Worker[Email, str]("q", lambda job: job.data["to"])


# The name of the handler's type, for whoever hands handlers on.
def choose(handlers: dict[str, sync.Processor[Email, int]], name: str) -> sync.Worker[Email, int]:
    return sync.Worker("q", handlers[name])


choose({"send": send, "sender": Sender()}, "send")
either: list[aio.Processor[Email, int]] = [send_async, send_in_thread]
shared: Processor[Email, int] = send


def untyped(job: sync.Job[Any, Any]) -> Any:
    return job.data


assert_type(sync.Worker("q", untyped), sync.Worker[Any, Any])
