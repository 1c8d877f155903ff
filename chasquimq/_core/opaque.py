"""Opaque payloads: the engine for jobs whose payload is bytes that it never looks into.

A Producer, a Consumer and a Queue or Worker differ in one thing only: how a payload becomes the job's data and a return
value becomes bytes. That difference is here. It must never decode a payload or hold a decision of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chasquimq._core.call import Call, single
from chasquimq._core.keys import QueueKeys
from chasquimq._core.producer import NewJob, ProducerSettings, Producing
from chasquimq._core.repeat import RepeatSpec
from chasquimq._core.worker import WorkerCore
from chasquimq._dataclass import replace
from chasquimq._fast import JobState, mint_ulid, pack_command
from chasquimq.errors import PayloadEncodeError
from chasquimq.job import carried
from chasquimq.options import JobsOptions, check_job_id

__all__ = ["OpaqueCore", "OpaqueProducing", "RawJob", "as_bytes", "stored_bytes"]


def as_bytes(what: str, value: object) -> bytes:
    """``value`` as bytes. Anything that would need a codec is refused: a guess could not be taken back."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise PayloadEncodeError(
        f"{what} is {type(value).__name__}; payloads are opaque here, so bytes are expected. Encode it first, for "
        "example with chasquimq.encode_payload, which is what Queue and Worker do."
    )


class RawJob(JobState):
    """What the handler of a Consumer receives: the payload as it stood in the queue, and what is known about it."""

    __slots__ = ()

    id: str
    """The job's id: a ULID, or the ``job_id`` that its producer gave."""
    name: str
    """The dispatch name; may be empty."""
    deliveries: int
    """How often this entry was handed to a consumer before; more than 0 after one died or lost its lease."""

    @property
    def payload(self) -> bytes:
        """The payload, never decoded."""
        payload: bytes = self.data
        return payload

    @property
    def attempt(self) -> int:
        """Which run this is, 1 in the first."""
        return self.attempts_made

    @property
    def created_at_ms(self) -> int:
        """When the job was added, milliseconds since the epoch."""
        return self.timestamp

    @property
    def max_attempts(self) -> int | None:
        """The total of runs that the job itself allows; None: it leaves that to the consumer."""
        if self._entry is None:
            return None if self._opts is None else self._opts.attempts
        return self._entry.max_attempts

    @property
    def lease_lost(self) -> bool:
        """True when the job's lease could not be kept: another consumer may be running it too."""
        return self._entry is not None and self._entry.lost

    def __reduce__(self) -> tuple[Any, ...]:
        return carried(self, JobsOptions(attempts=self.max_attempts))

    def __repr__(self) -> str:
        # A payload may be private or huge; a log line names the job only.
        return f"<RawJob {self.id} {self.name!r} attempt={self.attempt}>"


class OpaqueCore(WorkerCore[RawJob]):
    """A worker's core that hands payloads on and takes results as they are."""

    _decode = bytes
    _encode = staticmethod(lambda result: as_bytes("the handler's return value", result))


class OpaqueProducing(Producing):
    """A producer's decisions for payloads that are bytes already."""

    def __init__(
        self,
        keys: QueueKeys,
        settings: ProducerSettings,
        *,
        now_ms: Callable[[], int],
        producer_id: str,
        to_options: Callable[[object], JobsOptions],
    ) -> None:
        """``to_options`` makes JobsOptions of the low-level options of one row."""
        super().__init__(keys, settings, now_ms=now_ms, producer_id=producer_id)
        self._to_options = to_options

    def options(self, opts: object, given: Mapping[str, Any]) -> JobsOptions | None:  # noqa: ARG002 - none are given
        """The options of one row of a bulk add."""
        return None if opts is None else self._to_options(opts)

    def new_job(self, name: str, data: object, options: JobsOptions | None) -> NewJob:
        """Checks everything; the payload stays as it is."""
        return self.new_opaque_job(self.encode_name(name), as_bytes("the payload", data), options)

    def plain_rows(self, *_arguments: Any) -> None:  # type: ignore[override]  # BulkAdd does without
        """None: the compiled loop over plain rows would encode their payloads."""

    def repeat_spec(self, name: str, data: object, options: JobsOptions) -> RepeatSpec:
        """The repeatable spec whose fires carry these bytes."""
        payload = as_bytes("the payload", data)
        self._check_size(NewJob(mint_ulid(), b"", payload, self._now_ms()))
        return replace(super().repeat_spec(name, None, options), payload=payload)


def stored_bytes(keys: QueueKeys, job_ids: list[str]) -> Call[list[bytes | None]]:
    """The stored results of jobs, in order; None where there is none."""
    names = [keys.result(check_job_id(job_id)) for job_id in job_ids]
    request = pack_command([b"MGET", *names])
    return Call("producer.get_results", request, single("producer.get_results", list), idempotent=True)
