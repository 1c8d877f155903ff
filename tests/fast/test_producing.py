"""Plain jobs become the XADDs that a FrameBuffer makes of them one by one; everything else comes back untouched."""

import itertools
from datetime import UTC, datetime
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chasquimq._fast import IMPLEMENTATION

STREAM = b"{chasqui:q}:stream"
NOW = 1795489905760
ROOMY = 1_000_000
NAMES = {"send": b"send", "": b"", "grüßen": "grüßen".encode(), "x" * 200: b"x" * 200}
QUEUE = object()


class Number(IntEnum):
    ONE = 1


class Name(str):
    __slots__ = ()


def plain_rows(fast, *, jobs=None, job_class=None, limit=ROOMY, names=NAMES, producer=None):
    head = fast.frames.JobHead(STREAM, producer)
    clock = itertools.count(NOW)
    return fast.producing.PlainRows(
        head, names, limit, lambda: next(clock), job_class, QUEUE, [] if jobs is None else jobs
    )


def filled(fast, rows, *, most=ROOMY, most_bytes=ROOMY, **options):
    """The bytes that the rows become, and what ``fill`` returned."""
    frames = fast.frames.FrameBuffer()
    stopped = plain_rows(fast, **options).fill(iter(rows), frames, most, most_bytes)
    return frames.take(), stopped


def framed(fast, jobs, rows, producer=None):
    """The same rows by the way of single jobs."""
    head = fast.frames.JobHead(STREAM, producer)
    frames = fast.frames.FrameBuffer()
    for number, (job, (name, data)) in enumerate(zip(jobs, rows, strict=True)):
        frames.job(head, job.id, fast.payload.encode_payload(data), NOW + number, NAMES[name], b"")
    return frames.take()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.tuples(st.sampled_from(sorted(NAMES)), VALUES | st.binary(min_size=400, max_size=3000)), max_size=12)


@settings(deadline=None)
@given(rows=ROWS, producer=st.sampled_from([None, b"p"]))
def test_rows_become_what_single_jobs_become(fast, rows, producer):
    jobs = []
    request, stopped = filled(fast, rows, jobs=jobs, job_class=fast.job_state.JobState, producer=producer)
    if stopped is fast.producing.END:
        assert request == framed(fast, jobs, rows, producer)
    else:  # whole numbers beyond 63 bits are the twin's
        assert any(stopped is row for row in rows)


def test_jobs_are_what_add_would_return(fast):
    jobs = []
    rows = [("send", {"n": 1}), ("", None)]
    filled(fast, rows, jobs=jobs, job_class=fast.job_state.JobState)
    assert [(job.name, job.data, job.timestamp) for job in jobs] == [("send", {"n": 1}, NOW), ("", None, NOW + 1)]
    assert jobs[0].data is rows[0][1]
    assert jobs[0].id < jobs[1].id
    assert all(job.queue is QUEUE and not job.is_duplicate and job.attempts_made == 0 for job in jobs)


def test_jobs_are_of_the_class_that_was_given(fast):
    class Mine(fast.job_state.JobState):
        def __init__(self):
            raise AssertionError("a job is made without its constructor")

    jobs = []
    filled(fast, [("send", 1)], jobs=jobs, job_class=Mine)
    assert type(jobs[0]) is Mine
    one = fast.producing.new_job(Mine, QUEUE, "id", "name", [1], 5)
    assert (type(one), one.id, one.name, one.data, one.timestamp, one.queue) == (Mine, "id", "name", [1], 5, QUEUE)


def test_without_a_class_no_jobs_are_made(fast):
    jobs = []
    request, stopped = filled(fast, [("send", 1)] * 3, jobs=jobs)
    assert stopped is fast.producing.END
    assert (request.count(b"XADD"), jobs) == (3, [])


OTHER_JOBS = [
    (b"send", 1),
    (Name("send"), 1),
    (["send"], 1),
    ("unknown", 1),
    ("\ud800", 1),
    ("send", object()),
    ("send", {"a": [1, {2, 3}]}),
    ("send", "\ud800"),
    ("send", 2**70),
]


@pytest.mark.parametrize(
    "row",
    [
        None,
        7,
        "ab",
        (),
        ("send",),
        ("send", 1, None),
        ["send", 1],
        {"name": "send"},
        *OTHER_JOBS,
    ],
    ids=repr,
)
def test_any_other_row_comes_back_and_nothing_of_it_is_written(fast, row):
    jobs = []
    rows = iter([("send", 1), row, ("send", 2)])
    frames = fast.frames.FrameBuffer()
    plain = plain_rows(fast, jobs=jobs, job_class=fast.job_state.JobState)
    assert plain.fill(rows, frames, ROOMY, ROOMY) is row
    assert (frames.commands, len(jobs)) == (1, 1)
    assert plain.fill(rows, frames, ROOMY, ROOMY) is fast.producing.END
    assert (frames.commands, [job.data for job in jobs]) == (2, [1, 2])
    assert frames.take() == framed_later(fast, jobs)


def framed_later(fast, jobs):
    head = fast.frames.JobHead(STREAM, None)
    frames = fast.frames.FrameBuffer()
    for job in jobs:
        frames.job(head, job.id, fast.payload.encode_payload(job.data), job.timestamp, NAMES[job.name], b"")
    return frames.take()


@pytest.mark.parametrize("data", [Number.ONE, datetime(2026, 1, 1, tzinfo=UTC), 2**63, bytearray(b"x")], ids=repr)
def test_what_the_twins_encode_alone_is_framed_or_comes_back_and_never_differs(fast, data):
    jobs = []
    row = ("send", data)
    request, stopped = filled(fast, [row], jobs=jobs, job_class=fast.job_state.JobState)
    assert stopped is row or request == framed(fast, jobs, [row])


def test_a_row_comes_back_when_its_envelope_exceeds_the_limit(fast):
    row = ("send", b"x" * 1000)
    request, _ = filled(fast, [row])
    envelope = int(request.split(b"$1\r\nd\r\n$")[1].split(b"\r\n")[0])
    assert filled(fast, [row], limit=envelope) != (b"", row)
    assert filled(fast, [row], limit=envelope - 1) == (b"", row)


def test_a_full_buffer_takes_no_row_from_the_iterator(fast):
    rows = iter([("send", number) for number in range(5)])
    frames = fast.frames.FrameBuffer()
    plain = plain_rows(fast)
    assert plain.fill(rows, frames, 2, ROOMY) is fast.producing.FULL
    assert plain.fill(rows, frames, 2, ROOMY) is fast.producing.FULL
    assert plain.fill(rows, frames, ROOMY, frames.size) is fast.producing.FULL
    assert plain.fill(rows, frames, ROOMY, frames.size + 1) is fast.producing.FULL
    assert frames.commands == 3
    assert list(rows) == [("send", 3), ("send", 4)]


def test_an_error_of_the_iterator_is_its_own(fast):
    def rows():
        yield "send", 1
        raise LookupError("no more rows")

    frames = fast.frames.FrameBuffer()
    with pytest.raises(LookupError, match="no more rows"):
        plain_rows(fast).fill(rows(), frames, ROOMY, ROOMY)
    assert frames.commands == 1


def plain_jobs(fast, *, producer=None, limit=ROOMY):
    return fast.producing.PlainJobs(fast.frames.JobHead(STREAM, producer), NAMES, limit, lambda: NOW)


@settings(deadline=None)
@given(name=st.sampled_from(sorted(NAMES)), data=VALUES, producer=st.sampled_from([None, b"p"]))
def test_one_job_becomes_what_a_row_becomes(fast, name, data, producer):
    made = plain_jobs(fast, producer=producer).make(fast.job_state.JobState, QUEUE, name, data)
    if made is None:  # whole numbers beyond 63 bits are the twin's
        assert filled(fast, [(name, data)])[1] is not fast.producing.END
        return
    request, job = made
    assert request == framed(fast, [job], [(name, data)], producer)
    assert type(job) is fast.job_state.JobState
    assert (job.name, job.timestamp, job.queue, job.is_duplicate) == (name, NOW, QUEUE, False)
    assert job.data is data


@pytest.mark.parametrize(("name", "data"), OTHER_JOBS, ids=repr)
def test_any_other_job_is_not_made(fast, name, data):
    assert plain_jobs(fast).make(fast.job_state.JobState, QUEUE, name, data) is None


def test_a_job_is_not_made_when_its_envelope_exceeds_the_limit(fast):
    job_class, data = fast.job_state.JobState, b"x" * 1000
    request, _ = plain_jobs(fast).make(job_class, QUEUE, "send", data)
    envelope = int(request.split(b"$1\r\nd\r\n$")[1].split(b"\r\n")[0])
    assert plain_jobs(fast, limit=envelope).make(job_class, QUEUE, "send", data) is not None
    assert plain_jobs(fast, limit=envelope - 1).make(job_class, QUEUE, "send", data) is None


@pytest.mark.skipif(IMPLEMENTATION == "python", reason="a twin takes whatever has attributes")
def test_a_class_that_is_no_job_is_refused_and_leaves_the_buffer_alone():
    from chasquimq._fast import FrameBuffer, JobHead, PlainRows

    frames = FrameBuffer()
    plain = PlainRows(JobHead(STREAM, None), NAMES, ROOMY, lambda: NOW, dict, QUEUE, [])
    with pytest.raises(TypeError):
        plain.fill(iter([("send", 1)]), frames, ROOMY, ROOMY)
    assert frames.commands == 0
