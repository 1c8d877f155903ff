"""add_bulk: from any iterable of rows to a few large buffers, with the books on every row.

One pass, whatever mix of options the rows have: each row becomes exactly one command and so one reply. Rows are
read as the buffers are sent, so that a generator of a million rows needs the memory of a few buffers. It decides
what becomes of refused rows: if the first buffer holds one, nothing has been sent yet and nothing will be; later,
the good rows go on and the refused ones are reported at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import hiredis

from chasquimq._core.call import Call, Reply, reply_error
from chasquimq._core.producer import NewJob, Producing
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, Script
from chasquimq._fast import FrameBuffer
from chasquimq.errors import BulkAddError, ChasquiError, InvalidOptionTypeError, NotSupportedError
from chasquimq.options import BulkJob

__all__ = ["BulkAdd"]

ROWS_PER_BUFFER = 1000
BYTES_PER_BUFFER = 1_048_576

JobT = TypeVar("JobT")


class _Buffer:
    """What is needed to read the replies of one buffer."""

    __slots__ = ("first_row", "row_of_reply", "scripted")

    def __init__(self, first_row: int) -> None:
        self.first_row = first_row
        self.row_of_reply: list[int] = []
        self.scripted: dict[int, tuple[Script, list[bytes], list[Argument]]] = {}


class BulkAdd(Generic[JobT]):
    """One run of ``add_bulk``. ``jobs`` and ``added`` grow as buffers are confirmed."""

    def __init__(
        self,
        producing: Producing,
        rows: Iterable[Any],
        make_job: Callable[[NewJob, str, Any], JobT] | None,
        set_duplicate: Callable[[JobT], None],
    ) -> None:
        self._producing = producing
        self._rows = iter(_iterable(rows))
        self._make_job = make_job
        self._set_duplicate = set_duplicate
        self._has_defaults = producing.settings.defaults is not None
        self._read = 0
        self.jobs: list[JobT | None] = []
        self.errors: dict[int, Exception] = {}
        self.added = 0

    def calls(self, profile: ServerProfile) -> Iterator[Call[None]]:
        """One Call per buffer, built when it is asked for."""
        exhausted = False
        first = True
        while not exhausted:
            buffer, exhausted, request, commands = self._fill(profile)
            if first and self.errors:
                self.jobs = [None] * len(self.jobs)
                raise self.failure("Nothing was added.")
            first = False
            if commands:
                yield Call("queue.add_bulk", request, self._reader(buffer), commands, eval_form=_eval_form(buffer))

    def finish(self) -> None:
        """Raises BulkAddError when rows were refused."""
        if self.errors:
            raise self.failure(f"The other {self.added} rows are in the queue.")

    def failure(self, outcome: str) -> Exception:
        """The error for the refused rows."""
        row, error = next(iter(self.errors.items()))
        if isinstance(error, NotSupportedError):
            error.add_note(f"add_bulk: row {row}. {outcome}")
            return error
        more = f" (and {len(self.errors) - 1} more rows)" if len(self.errors) > 1 else ""
        failure = BulkAddError(
            f"add_bulk refused row {row}{more}: {error} {outcome}",
            errors=self.errors,
            jobs=self.jobs,
            added=self.added,
        )
        failure.__cause__ = error
        return failure

    def _fill(self, profile: ServerProfile) -> tuple[_Buffer, bool, bytes, int]:
        producing = self._producing
        frames = FrameBuffer()
        buffer = _Buffer(self._read)
        head = producing.bulk_head
        note_row = buffer.row_of_reply.append
        for row in self._rows:
            number = self._read
            self._read += 1
            try:
                name, data, opts = _split(row)
                options = producing.options(opts, {}) if opts is not None or self._has_defaults else None
                if options is not None and options.repeat is not None:
                    raise NotSupportedError("a row of add_bulk cannot repeat; call add(..., repeat=...) for it.")
                job = producing.new_job(name, data, options)
                scripted = None if options is None else producing.scripted(job, profile)
            except (ChasquiError, TypeError, ValueError) as error:
                self.errors[number] = error
                if self._make_job is not None:
                    self.jobs.append(None)
                continue
            if scripted is None:
                frames.job(head, job.job_id, job.payload, job.created_at_ms, job.name, job.retry)
            else:
                script, keys, arguments = scripted
                buffer.scripted[len(buffer.row_of_reply)] = scripted
                frames.raw(script.evalsha(keys, arguments))
            note_row(number)
            if self._make_job is not None:
                self.jobs.append(self._make_job(job, name, data))
            if len(buffer.row_of_reply) >= ROWS_PER_BUFFER or frames.size >= BYTES_PER_BUFFER:
                return buffer, False, frames.take(), len(buffer.row_of_reply)
        return buffer, True, frames.take(), len(buffer.row_of_reply)

    def _reader(self, buffer: _Buffer) -> Callable[[list[Reply]], None]:
        def parse(replies: list[Reply]) -> None:
            failed = 0
            for position, reply in enumerate(replies):
                if isinstance(reply, hiredis.ReplyError):
                    number = buffer.row_of_reply[position]
                    self.errors[number] = reply_error("queue.add_bulk", reply)
                    failed += 1
                    if self._make_job is not None:
                        self.jobs[number] = None
                elif reply == 0 and position in buffer.scripted and self._make_job is not None:
                    job = self.jobs[buffer.row_of_reply[position]]
                    if job is not None:
                        self._set_duplicate(job)
            self.added += len(replies) - failed

        return parse


def _eval_form(buffer: _Buffer) -> Callable[[int], bytes] | None:
    if not buffer.scripted:
        return None

    def eval_form(position: int) -> bytes:
        script, keys, arguments = buffer.scripted[position]
        return script.eval(keys, arguments)

    return eval_form


def _iterable(rows: Iterable[Any]) -> Iterable[Any]:
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise InvalidOptionTypeError(
            f"add_bulk takes an iterable of rows, not {type(rows).__name__}. A row is (name, data), "
            "(name, data, options), a mapping with these keys, or a BulkJob."
        )
    return rows


def _split(row: Any) -> tuple[str, Any, Any]:
    """The name, data and options of a row in any of its forms."""
    if isinstance(row, tuple | list):
        if len(row) == 2:
            return row[0], row[1], None
        if len(row) == 3:
            return row[0], row[1], row[2]
    elif isinstance(row, BulkJob):
        return row.name, row.data, row.opts
    elif isinstance(row, Mapping):
        if "name" in row and row.keys() <= {"name", "data", "opts"}:
            return row["name"], row.get("data"), row.get("opts")
        raise InvalidOptionTypeError(
            f"a mapping row has the keys 'name', 'data' and 'opts'; this one has {sorted(map(str, row))}."
        )
    raise InvalidOptionTypeError(
        f"a row is (name, data), (name, data, options), a mapping or a BulkJob; got {type(row).__name__}."
    )
