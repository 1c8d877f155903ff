"""Dead letters and stored results as a producer sees them: inspect, replay, read.

Replay looks at as many entries as it needs to find ``limit`` that can be decoded, so that undecodable ones at the
head never block it; each entry moves in one atomic step (docs/wire-format.md, dead-letter queue).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

from chasquimq._core.call import Call, single
from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, load_script
from chasquimq._fast import decode_envelope, decode_payload, pack_command, with_attempt
from chasquimq.errors import EnvelopeError
from chasquimq.options import check_job_id, whole_number

__all__ = ["DlqEntry", "peek", "replay", "stored_result"]

_PAGE = 100


class DlqEntry:
    """One dead letter (product page, DlqEntry). ``job_id`` and ``data`` are decoded when they are asked for."""

    __slots__ = ("detail", "dlq_id", "name", "payload", "reason", "source_id")

    def __init__(self, dlq_id: str, fields: dict[bytes, bytes]) -> None:
        self.dlq_id = dlq_id
        """Its id in the dead-letter stream; the part before the hyphen is when it died, ms since the epoch."""
        self.source_id = _text(fields.get(b"source_id", b""))
        """The id that the entry had in the queue's stream."""
        self.reason = _text(fields.get(b"reason", b""))
        """Why: ``retries_exhausted``, ``unrecoverable``, ``decode_failed``, ``malformed`` or ``oversize_payload``."""
        detail = fields.get(b"detail")
        self.detail: str | None = None if detail is None else _text(detail)
        """The error with the end of its traceback, or what is wrong with the entry; None if the writer gave none."""
        self.name = _text(fields.get(b"n", b""))
        """The dispatch name; may be empty."""
        self.payload = fields.get(b"d", b"")
        """The job's envelope as it stood in the stream."""

    @property
    def job_id(self) -> str | None:
        """The job's id, or None when the envelope cannot be decoded."""
        try:
            return decode_envelope(self.payload).job_id
        except EnvelopeError:
            return None

    @property
    def job_payload(self) -> bytes:
        """The job's payload as it was added, undecoded. Raises EnvelopeError when there is none to be found."""
        return decode_envelope(self.payload).payload

    @property
    def data(self) -> Any:
        """The job's data. Raises PayloadDecodeError when there is none to be decoded."""
        return decode_payload(self.job_payload)

    def __repr__(self) -> str:
        return f"<DlqEntry {self.dlq_id} {self.name!r} reason={self.reason!r} detail={self.detail!r:.80}>"


def peek(keys: QueueKeys, limit: int) -> Call[list[DlqEntry]]:
    """The oldest ``limit`` dead letters."""
    whole_number("limit", limit, minimum=0)
    # XRANGE with COUNT 0 answers nothing, as asked.
    request = pack_command([b"XRANGE", keys.dlq, b"-", b"+", b"COUNT", limit])
    return Call("queue.peek_dlq", request, single("queue.peek_dlq", _entries), idempotent=True)


def replay(keys: QueueKeys, profile: ServerProfile, limit: int) -> Generator[Call[Any], Any, int]:
    """Moves up to ``limit`` dead letters back into the stream; yields the Calls to run, returns how many moved."""
    whole_number("limit", limit, minimum=0)
    script = load_script("replay_dead_letters", profile)
    moved = 0
    start = b"-"
    while moved < limit:
        request = pack_command([b"XRANGE", keys.dlq, start, b"+", b"COUNT", _PAGE])
        page: list[DlqEntry] = yield Call(
            "queue.replay_dlq", request, single("queue.replay_dlq", _entries), idempotent=True
        )
        if not page:
            break
        start = b"(" + page[-1].dlq_id.encode()
        rows = list(_replayable(page))
        # An entry that another caller took meanwhile does not count; the next ones stand in for it.
        while rows and moved < limit:
            now, rows = rows[: limit - moved], rows[limit - moved :]
            moved += yield _replay_call(script, keys, [argument for row in now for argument in row])
        if len(page) < _PAGE:
            break
    return moved


def _replayable(page: list[DlqEntry]) -> Iterator[tuple[str, bytes, str]]:
    for entry in page:
        with contextlib.suppress(EnvelopeError):
            yield entry.dlq_id, with_attempt(entry.payload, 0), entry.name


def _replay_call(script: Any, keys: QueueKeys, arguments: list[Argument]) -> Call[int]:
    both = [keys.dlq, keys.stream]
    return Call(
        "queue.replay_dlq",
        script.evalsha(both, arguments),
        single("queue.replay_dlq", int),
        eval_form=lambda _: script.eval(both, arguments),
    )


def stored_result(keys: QueueKeys, job_id: str) -> Call[Any]:
    """The stored return value of a job, or None."""
    check_job_id(job_id)
    request = pack_command([b"GET", keys.result(job_id)])
    return Call(
        "queue.get_job_result",
        request,
        single("queue.get_job_result", lambda reply: None if reply is None else decode_payload(reply)),
        idempotent=True,
    )


def _entries(reply: list[Any] | None) -> list[DlqEntry]:
    # XRANGE with COUNT 0 answers nil, not an empty list.
    return [
        DlqEntry(entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True)))
        for entry_id, fields in reply or ()
    ]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
