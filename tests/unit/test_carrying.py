"""What goes to another process: jobs and options as values; nothing that is connected."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from chasquimq import BackoffSpec, InvalidOptionTypeError, JobsOptions, aio, sync
from chasquimq._core.opaque import RawJob

URL = "redis://user:secret@127.0.0.1:1/0"
CONNECTED: list[Callable[[], Any]] = [
    lambda: sync.Queue[Any, Any]("q", connection=URL),
    lambda: aio.Queue[Any, Any]("q", connection=URL),
    lambda: sync.Worker[Any, Any]("q", print, connection=URL),
    lambda: aio.Worker[Any, Any]("q", print, connection=URL),
    lambda: sync.QueueEvents("q", connection=URL),
    lambda: aio.QueueEvents("q", connection=URL),
    lambda: sync.Scheduler("q", connection=URL),
    lambda: aio.Scheduler("q", connection=URL),
    lambda: sync.Producer("q", connection=URL),
    lambda: aio.Producer("q", connection=URL),
    lambda: sync.Consumer("q", print, connection=URL),
    lambda: aio.Consumer("q", print, connection=URL),
]


@pytest.mark.parametrize("make", CONNECTED)
@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_is_connected_says_what_to_carry_instead(make: Callable[[], Any], carry: Callable[[Any], Any]) -> None:
    connected = make()
    with pytest.raises(InvalidOptionTypeError, match="Pass the queue's name and the connection's URL") as refused:
        carry(connected)
    assert isinstance(refused.value, TypeError)
    assert type(connected).__name__ in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("kind", [sync.Job, aio.Job])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_job_is_carried_as_a_value(kind: Any, protocol: int) -> None:
    job = kind("id", "name", {"data": [1, 2]}, 5)
    job.queue = sync.Queue[Any, Any]("q", connection=URL)
    job.attempts_made, job.deliveries, job.delay, job.is_duplicate = 2, 1, 7, True
    job.progress, job.returnvalue, job.failed_reason, job.processed_on = 50, "value", "reason", 6
    job._opts = JobsOptions(attempts=3, backoff=BackoffSpec.exponential(5))
    found = pickle.loads(pickle.dumps(job, protocol))  # noqa: S301 - our own
    assert type(found) is kind
    assert found.to_json() == job.to_json()
    assert (found.deliveries, found.is_duplicate, found.opts) == (1, True, job.opts)
    assert found.queue is None
    assert not found.lease_lost


def test_a_raw_job_is_carried_with_what_it_says_of_itself() -> None:
    job = RawJob()
    job.id, job.name, job.data, job.timestamp, job.attempts_made, job.deliveries = "id", "name", b"bytes", 5, 2, 1
    job._opts = JobsOptions(attempts=3)
    found = pickle.loads(pickle.dumps(job))  # noqa: S301 - our own
    assert (found.id, found.name, found.payload, found.created_at_ms) == ("id", "name", b"bytes", 5)
    assert (found.attempt, found.deliveries, found.max_attempts) == (2, 1, 3)
