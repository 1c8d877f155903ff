"""Entries as a read delivers them, made from what stands in the stream."""

from typing import Any

from chasquimq._fast import BackoffTuple, Entry, encode_envelope, encode_payload, encode_retry, parse_entry_list

CREATED_MS = 1_795_489_840_000


def envelope(
    job_id: str = "job-1",
    data: Any = None,
    *,
    attempt: int = 0,
    max_attempts: int | None = None,
    backoff: BackoffTuple | None = None,
    payload: bytes | None = None,
) -> bytes:
    return encode_envelope(
        job_id,
        encode_payload(data) if payload is None else payload,
        CREATED_MS,
        attempt,
        encode_retry(max_attempts, backoff),
    )


def parsed(
    entry_id: str, fields: list[bytes], *, deliveries: int = 0, idle_ms: int = 0, limit: int = 1_048_576
) -> Entry:
    """One entry with any fields at all."""
    (entry,) = parse_entry_list([[entry_id.encode(), fields, idle_ms, deliveries]], limit)
    return entry


def entry(
    number: int = 1,
    *,
    name: str = "send",
    deliveries: int = 0,
    job_id: str | None = None,
    **envelope_fields: Any,
) -> Entry:
    """The entry ``1-<number>`` with the job ``job-<number>``."""
    raw = envelope(f"job-{number}" if job_id is None else job_id, **envelope_fields)
    fields = [b"d", raw, *([b"n", name.encode()] if name else [])]
    return parsed(f"1-{number}", fields, deliveries=deliveries)
