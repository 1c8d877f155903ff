"""add_bulk: from any iterable of rows to buffers of a few hundred commands, with the books on every row.

One pass, whatever mix of options the rows have: each row becomes exactly one command and so one reply. Plain rows are
framed by ``_fast``, one by one all the others. Where adds are told in the events stream, the rows between two that need
a script of their own share one. Rows are read as the buffers are sent, so that the server works on the first ones while
later ones are encoded, and a generator of a million rows needs the memory of a few buffers. It decides what becomes of
refused rows: if the first buffer holds one, nothing has been sent yet and nothing will be; later, the good rows go on
and the refused ones are reported at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import hiredis

from chasquimq._core.call import Call, Reply, reply_error
from chasquimq._core.producer import Producing, made_job
from chasquimq._core.producer_events import TOLD_JOB_OVERHEAD, told_job
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, Script
from chasquimq._fast import END, FULL, FrameBuffer, JobState
from chasquimq.errors import (
    BulkAddError,
    ChasquiError,
    InvalidOptionTypeError,
    NotSupportedError,
    RedisConnectionError,
)
from chasquimq.options import BulkJob

__all__ = ["BUFFERS_UNDER_WAY", "BulkAdd"]

ROWS_PER_BUFFER = 250
"""Few enough that a call of 1,000 rows overlaps with the server's work, enough to make the cost of a write small."""
BYTES_PER_BUFFER = 262_144
BUFFERS_UNDER_WAY = 4

JobT = TypeVar("JobT", bound=JobState)


class _Buffer:
    """What is needed to read the replies of one buffer, and the told rows that have not become a command yet."""

    __slots__ = ("rows", "rows_of_reply", "scripted", "told", "told_rows", "told_size")

    def __init__(self) -> None:
        self.rows = 0
        self.rows_of_reply: list[int | list[int]] = []
        """The number of its row, or the numbers of all the rows that one script adds."""
        self.scripted: dict[int, tuple[Script, list[bytes], list[Argument]]] = {}
        self.told: list[Argument] = []
        self.told_rows: list[int] = []
        self.told_size = 0

    def answers(self, replies: list[Reply]) -> Iterator[tuple[int, Reply]]:
        """The rows with their replies; where one script was refused whole, that is the reply of each of its rows."""
        for rows, reply in zip(self.rows_of_reply, replies, strict=True):
            if isinstance(rows, int):
                yield rows, reply
            else:
                yield from zip(rows, reply if isinstance(reply, list) else [reply] * len(rows), strict=True)


class BulkAdd(Generic[JobT]):
    """One run of ``add_bulk``. ``jobs`` and ``added`` grow as buffers are confirmed."""

    def __init__(self, producing: Producing, rows: Iterable[Any], job_class: type[JobT] | None, queue: Any) -> None:
        """Without a ``job_class`` no jobs are made; ``queue`` is what the jobs know as theirs."""
        self._producing = producing
        self._rows = iter(_iterable(rows))
        self._job_class = job_class
        self._queue = queue
        self._frames = FrameBuffer()
        self._has_defaults = producing.settings.defaults is not None
        self._tells = producing.settings.events
        self._read = 0
        self.jobs: list[JobT | None] = []
        self.errors: dict[int, Exception] = {}
        self.added = 0
        self._plain_rows = None
        if not (self._has_defaults or self._tells):
            self._plain_rows = producing.plain_rows(job_class, queue, self.jobs)

    def calls(self, profile: ServerProfile) -> Iterator[Call[None]]:
        """One Call per buffer, built when it is asked for."""
        exhausted = False
        first = True
        while not exhausted:
            buffer = _Buffer()
            exhausted = self._fill(buffer, profile)
            if first and self.errors:
                self.jobs = [None] * len(self.jobs)
                raise self.failure("Nothing was added.")
            first = False
            if commands := self._frames.commands:
                request = self._frames.take()
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

    def interrupted(self, error: RedisConnectionError) -> None:
        """Has the error say what can be said about the rows when the connection broke."""
        if self.added:
            error.may_have_executed = True  # whatever became of the rows that it is about
        error.add_note(
            f"add_bulk: {self.added} rows were confirmed; of the up to {BUFFERS_UNDER_WAY * ROWS_PER_BUFFER:,} rows "
            "after them some may be in the queue. Rows with a job_id can be added again safely."
        )

    def _fill(self, buffer: _Buffer, profile: ServerProfile) -> bool:
        """Fills the buffer; True when there are no more rows."""
        while True:
            row = self._frame_plain_rows(buffer)
            if row is END or row is FULL:
                self._frame_told_rows(buffer, profile)
                return row is END
            self._frame_row(row, buffer, profile)

    def _frame_plain_rows(self, buffer: _Buffer) -> Any:
        """The next row that is not plain, or FULL or END."""
        frames = self._frames
        if self._plain_rows is None:
            is_full = buffer.rows >= ROWS_PER_BUFFER or frames.size + buffer.told_size >= BYTES_PER_BUFFER
            return FULL if is_full else next(self._rows, END)
        before = frames.commands
        row = self._plain_rows.fill(self._rows, frames, ROWS_PER_BUFFER, BYTES_PER_BUFFER)
        number = self._read
        self._read += frames.commands - before
        buffer.rows = frames.commands
        buffer.rows_of_reply.extend(range(number, self._read))
        return row

    def _frame_row(self, row: Any, buffer: _Buffer, profile: ServerProfile) -> None:
        """Frames a row of any kind, or notes why it cannot be added."""
        producing, job_class = self._producing, self._job_class
        number = self._read
        self._read += 1
        try:
            name, data, opts = _split(row)
            options = producing.options(opts, {}) if opts is not None or self._has_defaults else None
            if options is not None and options.repeat is not None:
                raise NotSupportedError("a row of add_bulk cannot repeat; call add(..., repeat=...) for it.")
            new = producing.new_job(name, data, options)
            scripted = None if options is None else producing.scripted(new, profile)
        except (ChasquiError, TypeError, ValueError) as error:
            self.errors[number] = error
            if job_class is not None:
                self.jobs.append(None)
            return
        buffer.rows += 1
        if scripted is not None:
            self._frame_told_rows(buffer, profile)
            self._frame_script(scripted, buffer, number)
        elif self._tells:
            buffer.told += told_job(new)
            buffer.told_rows.append(number)
            buffer.told_size += len(new.payload) + len(new.name) + len(new.retry) + TOLD_JOB_OVERHEAD
        else:
            head = producing.bulk_head
            self._frames.job(head, new.job_id, new.payload, new.created_at_ms, new.name, new.retry)
            buffer.rows_of_reply.append(number)
        if job_class is not None:
            self.jobs.append(made_job(job_class, self._queue, new, name, data))

    def _frame_told_rows(self, buffer: _Buffer, profile: ServerProfile) -> None:
        """Makes one command of the told rows that have gathered, so that the next row comes behind them."""
        if buffer.told_rows:
            self._frame_script(self._producing.told_adds(buffer.told, profile), buffer, buffer.told_rows)
            buffer.told, buffer.told_rows, buffer.told_size = [], [], 0

    def _frame_script(
        self, scripted: tuple[Script, list[bytes], list[Argument]], buffer: _Buffer, rows: int | list[int]
    ) -> None:
        buffer.scripted[len(buffer.rows_of_reply)] = scripted
        self._frames.raw(self._producing.in_order(*scripted))
        buffer.rows_of_reply.append(rows)

    def _reader(self, buffer: _Buffer) -> Callable[[list[Reply]], None]:
        def parse(replies: list[Reply]) -> None:
            if not buffer.scripted and set(map(type, replies)) == {bytes}:
                self.added += len(replies)  # ids of entries only, as nearly always
                return
            for number, reply in buffer.answers(replies):
                if isinstance(reply, hiredis.ReplyError):
                    self.errors[number] = reply_error("queue.add_bulk", reply)
                    if self._job_class is not None:
                        self.jobs[number] = None
                    continue
                self.added += 1
                if reply == 0 and self._job_class is not None:  # of a script for a job with a caller's id
                    job = self.jobs[number]
                    if job is not None:
                        job.is_duplicate = True

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
