"""add_bulk: one pass over any mix of rows, and the books on every one of them."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chasquimq._core.bulk import BYTES_PER_BUFFER, ROWS_PER_BUFFER, BulkAdd
from chasquimq._core.keys import QueueKeys
from chasquimq._core.producer import Producing, producer_settings
from chasquimq._fast import JobState, decode_envelope, decode_member
from chasquimq.errors import (
    BulkAddError,
    InvalidOptionTypeError,
    NotSupportedError,
    PayloadTooLargeError,
    RedisConnectionError,
    ServerReplyError,
)
from chasquimq.options import BulkJob, JobsOptions, QueueOptions
from tests.unit.clock import FakeClock
from tests.unit.properties import searched
from tests.unit.resp import CLASSIC, NEWEST, answer, commands, error, pairs, script_of, scripted

KEYS = QueueKeys("q")
QUEUE = object()
SCRIPTS = ["add_unique", "add_delayed", "add_delayed_unique"]
REFUSED_ROW = ("w", object())


def bulk(rows, *, returns_jobs=True, **options):
    producing = Producing(KEYS, producer_settings(QueueOptions(**options)), now_ms=FakeClock().wall_ms, producer_id="p")
    return BulkAdd(producing, rows, JobState if returns_jobs else None, QUEUE)


def run(adding, profile=CLASSIC, reply=lambda command: b"1-1"):
    """Runs all buffers against a server that answers each command by ``reply``; returns their commands."""
    buffers = []
    for call in adding.calls(profile):
        sent = commands(call.request)
        assert call.replies == len(sent)
        buffers.append(sent)
        answer(call, *map(reply, sent))
    return buffers


def job_id_of(command):
    """The id in whatever command adds a job."""
    kind = script_of(command, CLASSIC, SCRIPTS)
    if kind == "XADD":
        return decode_envelope(pairs(command[3:])[b"d"]).job_id
    arguments = scripted(command, kind, CLASSIC)[1]
    return decode_envelope(arguments[2] if kind == "add_unique" else decode_member(arguments[2])[1]).job_id


def test_every_form_of_a_row_is_one_command_in_its_place():
    rows = [
        ("a", 1),
        ["b", 2],
        ("c", 3, {"delay": 500}),
        ("d", 4, JobsOptions(job_id="x")),
        {"name": "e", "data": 5},
        {"name": "f", "data": 6, "opts": {"attempts": 2}},
        {"name": "g"},
        BulkJob("h", 8),
        BulkJob("i", 9, {"delay": 5, "job_id": "y"}),
        ("j", 10, None),
    ]
    adding = bulk(rows)
    (sent,) = run(adding)
    kinds = [script_of(command, CLASSIC, SCRIPTS) for command in sent]
    assert kinds == [
        "XADD",
        "XADD",
        "add_delayed",
        "add_unique",
        "XADD",
        "XADD",
        "XADD",
        "XADD",
        "add_delayed_unique",
        "XADD",
    ]
    assert [job.name for job in adding.jobs] == list("abcdefghij")
    assert [job_id_of(command) for command in sent] == [job.id for job in adding.jobs]
    assert (adding.jobs[6].data, adding.added) == (None, 10)
    adding.finish()


def test_a_buffer_never_uses_idmp_which_remembers_too_few_ids_for_it():
    (sent,) = run(bulk([("a", 1)]), NEWEST)
    assert sent[0][:3] == [b"XADD", KEYS.stream, b"*"]


def test_default_options_of_the_queue_hold_for_every_row():
    (sent,) = run(bulk([("a", 1), ("b", 2, {"delay": 0})], default_job_options={"delay": 1000}))
    assert [script_of(command, CLASSIC, SCRIPTS) for command in sent] == ["add_delayed", "XADD"]


@pytest.mark.parametrize("total", [0, 1, 249, 250, 251, 1000, 1130])
@pytest.mark.parametrize("options", [None, {"attempts": 3}])
def test_buffers_hold_a_few_hundred_rows(total, options):
    adding = bulk([("a", number) for number in range(total)], default_job_options=options)
    sizes = [len(sent) for sent in run(adding)]
    assert sizes == [ROWS_PER_BUFFER] * (total // ROWS_PER_BUFFER) + [total % ROWS_PER_BUFFER] * (total % 250 > 0)
    assert (adding.added, len(adding.jobs)) == (total, total)
    adding.finish()


def test_plain_rows_and_others_share_the_buffers_in_their_order():
    rows = [("a", number, {"delay": 5}) if number % 3 == 0 else ("a", number) for number in range(700)]
    adding = bulk(rows)
    buffers = run(adding)
    assert [len(sent) for sent in buffers] == [250, 250, 200]
    assert [job_id_of(command) for sent in buffers for command in sent] == [job.id for job in adding.jobs]
    assert [job.data for job in adding.jobs] == list(range(700))
    assert [job.delay for job in adding.jobs[:4]] == [5, 0, 0, 5]
    assert all(job.queue is QUEUE for job in adding.jobs)


def test_a_buffer_is_full_with_the_row_that_reaches_its_size():
    half = BYTES_PER_BUFFER // 2
    sizes = [len(sent) for sent in run(bulk([("a", b"x" * half)] * 5, max_payload_bytes=2 * half))]
    assert sizes == [2, 2, 1]


def test_rows_are_read_as_buffers_are_asked_for():
    read = []

    def rows():
        for number in itertools.count():
            read.append(number)
            yield ("a", number)

    calls = bulk(rows()).calls(CLASSIC)
    assert read == []
    next(calls)
    assert len(read) == ROWS_PER_BUFFER
    next(calls)
    assert len(read) == 2 * ROWS_PER_BUFFER


def test_an_error_of_the_callers_iterable_is_the_callers():
    def rows():
        yield ("a", 1)
        raise LookupError("the file ends here")

    with pytest.raises(LookupError, match="the file ends"):
        run(bulk(rows()))


# -- refused rows ----------------------------------------------------------------------------------------------


def test_a_refused_row_in_the_first_buffer_means_that_nothing_is_sent():
    adding = bulk([("a", 1), REFUSED_ROW, ("", None), ("w", 1, {"delay": -1})])
    with pytest.raises(BulkAddError, match=r"row 1 \(and 1 more rows\).*Nothing was added") as refused:
        run(adding)
    assert set(refused.value.errors) == {1, 3}
    assert (refused.value.jobs, refused.value.added) == ([None] * 4, 0)
    assert refused.value.__cause__ is refused.value.errors[1]


def test_a_refused_row_further_on_does_not_stop_the_others():
    rows = [("a", number) for number in range(250)] + [("b", 1), REFUSED_ROW, ("c", 1)] + [("d", 1)] * 250
    adding = bulk(rows)
    assert [len(sent) for sent in run(adding)] == [250, 250, 2]
    with pytest.raises(BulkAddError, match=r"refused row 251: .*The other 502 rows are in the queue") as refused:
        adding.finish()
    assert set(refused.value.errors) == {251}
    assert refused.value.added == 502
    assert [number for number, job in enumerate(refused.value.jobs) if job is None] == [251]
    assert refused.value.jobs[252].name == "c"


def test_a_last_buffer_of_refused_rows_only_sends_nothing():
    adding = bulk([("a", number) for number in range(250)] + [REFUSED_ROW] * 3)
    assert [len(sent) for sent in run(adding)] == [250]
    with pytest.raises(BulkAddError, match=r"row 250 \(and 2 more rows\)"):
        adding.finish()


@pytest.mark.parametrize("option", [{"parent": {"id": "1"}}, {"repeat": {"every": 1000}}])
def test_an_option_that_is_not_supported_keeps_its_own_error(option):
    adding = bulk([("a", 1, option)])
    with pytest.raises(NotSupportedError) as refused:
        run(adding)
    assert refused.value.__notes__ == ["add_bulk: row 0. Nothing was added."]


@pytest.mark.parametrize(
    "row",
    [
        "ab",
        b"ab",
        None,
        5,
        (),
        ("a",),
        ("a", 1, {}, 4),
        {"data": 1},
        {},
        {"name": "a", "payload": 1},
        {"name": "a", 5: 1},
        ("a", 1, 5),
        ("a", 1, {"retries": 1}),
        (None, 1),
        ([], 1),
        ({}, 1),
        ("x" * 257, 1),
        ("\ud800", 1),
        ("a", "\ud800"),
        ("a", 2**70),
        ("a", 1, {"attempts": "3"}),
        ("a", 1, {"backoff": {"delay": 1}}),
        ("a", 1, {"job_id": ""}),
        BulkJob(None, 1),
        BulkJob("a", 1, 5),
    ],
)
def test_a_weird_row_is_one_error_and_not_the_end_of_the_others(row):
    rows = [("ok", 1)] * 250 + [row, ("ok", 2)]
    adding = bulk(rows)
    assert sum(len(sent) for sent in run(adding)) == 251
    assert list(adding.errors) == [250]
    with pytest.raises(BulkAddError, match="row 250"):
        adding.finish()


@pytest.mark.parametrize("rows", [None, 5, "abc", b"abc", {"name": "a"}])
def test_what_is_not_an_iterable_of_rows_is_refused_at_once(rows):
    with pytest.raises(InvalidOptionTypeError, match="iterable of rows"):
        bulk(rows)


def test_a_row_is_refused_when_its_envelope_is_longer_than_the_limit_and_no_byte_earlier():
    (sent,) = run(bulk([("a", 1), ("a", b"x" * 100)]))
    longest = len(pairs(sent[1][3:])[b"d"])
    assert len(run(bulk([("a", 1), ("a", b"x" * 100)], max_payload_bytes=longest))[0]) == 2
    adding = bulk([("a", 1), ("a", b"x" * 100)], max_payload_bytes=longest - 1)
    with pytest.raises(BulkAddError) as refused:
        run(adding)
    error = refused.value.errors[1]
    assert isinstance(error, PayloadTooLargeError)
    assert (error.size, error.limit) == (longest, longest - 1)


# -- rows that are told in the events stream -------------------------------------------------------------------


def told_ids(command):
    """The ids of the jobs that one command adds and tells."""
    _, arguments = scripted(command, "add_jobs", CLASSIC)
    return [job_id.decode() for job_id in arguments[3::3]]


def added_by(command):
    kind = script_of(command, CLASSIC, [*SCRIPTS, "add_jobs"])
    return told_ids(command) if kind == "add_jobs" else [job_id_of(command)]


def answer_told(command, outcome=b"1-1"):
    if script_of(command, CLASSIC, [*SCRIPTS, "add_jobs"]) == "add_jobs":
        return [outcome] * len(told_ids(command))
    return 1


def test_told_rows_that_follow_one_another_are_one_command_and_the_order_is_kept():
    rows = [("a", 1), ("b", 2, {"attempts": 2}), ("c", 3, {"delay": 5}), ("d", 4, {"job_id": "x"}), ("e", 5), ("f", 6)]
    adding = bulk(rows, events=True)
    (sent,) = run(adding, reply=answer_told)
    kinds = [script_of(command, CLASSIC, [*SCRIPTS, "add_jobs"]) for command in sent]
    assert kinds == ["add_jobs", "add_delayed", "add_unique", "add_jobs"]
    assert [job_id for command in sent for job_id in added_by(command)] == [job.id for job in adding.jobs]
    assert adding.added == 6
    adding.finish()


@pytest.mark.parametrize("returns_jobs", [True, False])
@pytest.mark.parametrize("options", [None, {"delay": 5}], ids=["plain", "mixed"])
def test_told_rows_are_counted_as_rows_and_not_as_commands(options, returns_jobs):
    rows = [("a", number) if number % 50 else ("a", number, options) for number in range(600)]
    adding = bulk(rows, events=True, returns_jobs=returns_jobs)
    sizes = [sum(len(added_by(command)) for command in sent) for sent in run(adding, reply=answer_told)]
    assert sizes == [250, 250, 100]
    assert adding.added == 600
    adding.finish()


def test_a_buffer_of_told_rows_is_full_with_the_row_that_reaches_its_size():
    half = BYTES_PER_BUFFER // 2
    buffers = run(bulk([("a", b"x" * half)] * 5, max_payload_bytes=2 * half, events=True), reply=answer_told)
    assert [len(told_ids(sent[0])) for sent in buffers] == [2, 2, 1]
    assert [len(sent) for sent in buffers] == [1, 1, 1]


def test_told_rows_never_use_idmp_either():
    (sent,) = run(bulk([("a", 1)], events=True), NEWEST, reply=lambda _: [b"1-1"])
    assert scripted(sent[0], "add_jobs", NEWEST)[1][2] == b""


def test_a_refused_row_among_told_ones_is_reported_alone_and_a_refused_script_for_all_of_its_rows():
    adding = bulk([("a", 1), ("b", 2), ("c", 3, {"delay": 5}), ("d", 4), ("e", 5)], events=True)
    replies = iter([[b"1-1", error("WRONGTYPE x")], 1_795_489_845_005, error("OOM x")])
    run(adding, reply=lambda _: next(replies))
    with pytest.raises(BulkAddError, match="row 1") as refused:
        adding.finish()
    assert {number: failure.code for number, failure in refused.value.errors.items()} == {
        1: "WRONGTYPE",
        3: "OOM",
        4: "OOM",
    }
    assert (refused.value.added, [job is None for job in refused.value.jobs]) == (2, [False, True, False, True, True])


def test_a_told_script_that_the_server_does_not_know_is_sent_again_whole():
    adding = bulk([("a", 1), ("b", 2), ("c", 3, {"delay": 5})], events=True)
    (call,) = adding.calls(CLASSIC)
    told, delayed = commands(call.request)
    for position, command in enumerate((told, delayed)):
        (again,) = commands(call.eval_form(position))
        assert again[0] == b"EVAL"
        assert again[2:] == command[2:]


# -- answers ---------------------------------------------------------------------------------------------------


def test_an_error_reply_is_the_error_of_its_row():
    adding = bulk([("a", 1), ("b", 2, {"job_id": "x"}), ("c", 3)])
    replies = iter([b"1-1", error("OOM used memory"), b"1-2"])
    run(adding, reply=lambda _: next(replies))
    with pytest.raises(BulkAddError, match="row 1") as refused:
        adding.finish()
    assert isinstance(refused.value.errors[1], ServerReplyError)
    assert refused.value.errors[1].code == "OOM"
    assert refused.value.added == 2
    assert [job and job.name for job in refused.value.jobs] == ["a", None, "c"]


def test_a_duplicate_is_marked_and_nothing_else_is():
    rows = [("a", 1), ("b", 1, {"job_id": "x"}), ("c", 1, {"job_id": "x", "delay": 5}), ("d", 1, {"delay": 5})]
    adding = bulk(rows)
    replies = iter([b"1-1", 0, 0, 1_795_489_845_005])
    run(adding, reply=lambda _: next(replies))
    assert [job.is_duplicate for job in adding.jobs] == [False, True, True, False]
    adding.finish()


def test_a_script_that_the_server_does_not_know_is_sent_again_alone():
    adding = bulk([("a", 1), ("b", 2, {"job_id": "x"}), ("c", 3), ("d", 4, {"delay": 5})])
    (call,) = adding.calls(CLASSIC)
    sent = commands(call.request)
    for position in (1, 3):
        (again,) = commands(call.eval_form(position))
        assert again[0] == b"EVAL"
        assert again[2:] == sent[position][2:]


def test_a_script_travels_by_its_text_once_so_that_its_row_keeps_its_place_on_any_server():
    adding = bulk([("a", number, {"job_id": f"x{number}"}) for number in range(300)])
    verbs = [command[0] for sent in run(adding) for command in sent]
    assert verbs == [b"EVAL"] + [b"EVALSHA"] * 299


def test_a_buffer_without_scripts_has_nothing_to_send_again():
    (call,) = bulk([("a", 1)]).calls(CLASSIC)
    assert call.eval_form is None


def test_without_jobs_only_numbers_are_kept():
    adding = bulk([("a", 1), ("b", 2, {"job_id": "x"})] * 1000, returns_jobs=False)
    run(adding, reply=lambda command: 0 if command[0] in (b"EVAL", b"EVALSHA") else b"1-1")
    adding.finish()
    assert (adding.jobs, adding.added) == ([], 2000)


def test_after_a_broken_connection_the_note_counts_what_was_confirmed():
    adding = bulk([("a", number) for number in range(600)])
    calls = adding.calls(CLASSIC)
    answer(next(calls), *[b"1-1"] * 250)
    next(calls)
    error = RedisConnectionError("gone")
    adding.interrupted(error)
    assert error.__notes__[0].startswith("add_bulk: 250 rows were confirmed; of the up to 1,000 rows after them")
    assert error.may_have_executed
    assert not error.safe_to_repeat


def test_when_nothing_was_confirmed_the_error_speaks_for_itself():
    adding = bulk([("a", number) for number in range(600)])
    next(adding.calls(CLASSIC))
    for was_sent in (False, True):
        error = RedisConnectionError("gone", may_have_executed=was_sent)
        adding.interrupted(error)
        assert error.may_have_executed is was_sent


# -- the books -------------------------------------------------------------------------------------------------

KINDS = {
    "plain": lambda number: ("a", number),
    "unique": lambda number: ("a", number, {"job_id": f"id-{number}"}),
    "delayed": lambda number: ("a", number, {"delay": 1000}),
    "refused": lambda _: REFUSED_ROW,
    "big": lambda _: ("a", b"x" * 100_000),
}
OUTCOMES = ["added", "duplicate", "error"]


@settings(searched, max_examples=40)
@given(
    kinds=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(OUTCOMES)), max_size=40),
    returns_jobs=st.booleans(),
    events=st.booleans(),
)
def test_the_books_agree_with_a_simple_model(kinds, returns_jobs, events):
    # A first buffer without refusals, so that every row after it is judged alone.
    kinds = [("plain", "added")] * ROWS_PER_BUFFER + kinds
    rows = (KINDS[kind](number) for number, (kind, _) in enumerate(kinds))
    adding = bulk(rows, returns_jobs=returns_jobs, events=events)
    sent_rows = iter([number for number, (kind, _) in enumerate(kinds) if kind != "refused"])

    def reply_to_row():
        kind, outcome = kinds[next(sent_rows)]
        if outcome == "error":
            return error("OOM full")
        return int(outcome == "added") if kind == "unique" else b"1-1"

    def reply(command):
        if script_of(command, CLASSIC, [*SCRIPTS, "add_jobs"]) == "add_jobs":
            return [reply_to_row() for _ in told_ids(command)]
        return reply_to_row()

    run(adding, reply=reply)
    refused = {number for number, (kind, outcome) in enumerate(kinds) if kind == "refused" or outcome == "error"}
    assert set(adding.errors) == refused
    assert adding.added == len(kinds) - len(refused)
    if returns_jobs:
        assert {number for number, job in enumerate(adding.jobs) if job is None} == refused
        duplicates = {number for number, job in enumerate(adding.jobs) if job is not None and job.is_duplicate}
        assert duplicates == {number for number, row in enumerate(kinds) if row == ("unique", "duplicate")}
    else:
        assert adding.jobs == []
