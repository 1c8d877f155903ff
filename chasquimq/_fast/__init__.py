"""The hot path: ids, MessagePack, envelopes, stream entries, RESP requests, backoff. Bytes and numbers only.

Chooses between the compiled modules and their pure-Python twins: all of the one or all of the other, never a
mix. The twins run when a compiled module is missing or ``CHASQUIMQ_PURE=1`` is set; type checkers always read
them. Nothing here may do I/O or import more of chasquimq than its errors.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Literal

_COMPILED = (
    "backoff",
    "clock",
    "entries",
    "envelope",
    "frames",
    "job_state",
    "ledger",
    "payload",
    "producing",
    "replies",
    "running",
    "ulid",
)


def _compiled_modules_load() -> bool:
    if os.environ.get("CHASQUIMQ_PURE") == "1":
        return False
    try:
        for name in _COMPILED:
            import_module(f"chasquimq._fast.{name}")
    except ImportError:
        return False
    return True


IMPLEMENTATION: Literal["cython", "python"]

if not TYPE_CHECKING and _compiled_modules_load():
    from chasquimq._fast.backoff import BackoffTuple, backoff_ms
    from chasquimq._fast.clock import monotonic_ms, wall_ms
    from chasquimq._fast.entries import Entry, parse_entries, parse_entry_list
    from chasquimq._fast.envelope import (
        Envelope,
        decode_envelope,
        decode_member,
        encode_envelope,
        encode_member,
        encode_retry,
        with_attempt,
    )
    from chasquimq._fast.frames import FrameBuffer, JobHead, event_head, frame_job, pack_command
    from chasquimq._fast.job_state import JobState
    from chasquimq._fast.ledger import sort_ends, strike, take_in
    from chasquimq._fast.payload import decode_payload, encode_payload
    from chasquimq._fast.producing import END, FULL, PlainJobs, PlainRows, new_job
    from chasquimq._fast.replies import EntryReader
    from chasquimq._fast.running import Runs, end_job
    from chasquimq._fast.ulid import mint_ulid, mint_ulids, ulid_timestamp_ms

    IMPLEMENTATION = "cython"
else:
    from chasquimq._fast._pure.backoff import BackoffTuple, backoff_ms
    from chasquimq._fast._pure.clock import monotonic_ms, wall_ms
    from chasquimq._fast._pure.entries import Entry, parse_entries, parse_entry_list
    from chasquimq._fast._pure.envelope import (
        Envelope,
        decode_envelope,
        decode_member,
        encode_envelope,
        encode_member,
        encode_retry,
        with_attempt,
    )
    from chasquimq._fast._pure.frames import FrameBuffer, JobHead, event_head, frame_job, pack_command
    from chasquimq._fast._pure.job_state import JobState
    from chasquimq._fast._pure.ledger import sort_ends, strike, take_in
    from chasquimq._fast._pure.payload import decode_payload, encode_payload
    from chasquimq._fast._pure.producing import END, FULL, PlainJobs, PlainRows, new_job
    from chasquimq._fast._pure.replies import EntryReader
    from chasquimq._fast._pure.running import Runs, end_job
    from chasquimq._fast._pure.ulid import mint_ulid, mint_ulids, ulid_timestamp_ms

    IMPLEMENTATION = "python"

__all__ = [
    "END",
    "FULL",
    "IMPLEMENTATION",
    "BackoffTuple",
    "Entry",
    "EntryReader",
    "Envelope",
    "FrameBuffer",
    "JobHead",
    "JobState",
    "PlainJobs",
    "PlainRows",
    "Runs",
    "backoff_ms",
    "decode_envelope",
    "decode_member",
    "decode_payload",
    "encode_envelope",
    "encode_member",
    "encode_payload",
    "encode_retry",
    "end_job",
    "event_head",
    "frame_job",
    "mint_ulid",
    "mint_ulids",
    "monotonic_ms",
    "new_job",
    "pack_command",
    "parse_entries",
    "parse_entry_list",
    "sort_ends",
    "strike",
    "take_in",
    "ulid_timestamp_ms",
    "wall_ms",
    "with_attempt",
]
