"""How much a worker reads, and in which words."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chasquimq._core.keys import GROUP, QueueKeys
from chasquimq._core.reading import GATHERING_MS, MAX_COUNT, MAX_PREFETCH, PREFETCH_MS, Intake, Reading
from chasquimq.errors import ServerReplyError
from tests.unit.entries import envelope
from tests.unit.properties import searched
from tests.unit.resp import CLASSIC, NEWEST, XACKDEL, answer, command, commands, error, scripted

KEYS = QueueKeys("q")


def paced(concurrency, jobs_per_ms):
    """An intake that has measured this pace for a second, and the time and number of ends it has seen."""
    intake = Intake(concurrency)
    for step in range(50):
        intake.wanted(concurrency, int(step * 20 * jobs_per_ms), step * 20.0)
    return intake, int(980 * jobs_per_ms), 980.0


# -- how many --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concurrency", "held", "wants"),
    [(1, 0, 1), (1, 1, 0), (100, 0, 100), (100, 40, 60), (100, 99, 1), (100, 100, 0), (100, 150, 0), (5_000, 0, 512)],
)
def test_a_new_worker_asks_for_what_it_can_start(concurrency, held, wants):
    assert Intake(concurrency).wanted(held, 0, 0.0) == wants


def test_a_worker_of_slow_handlers_prefetches_nothing():
    intake, ends, now = paced(10, 0.01)
    assert intake.prefetch == 0
    assert intake.wanted(10, ends, now) == 0
    assert intake.wanted(9, ends, now) == 1


def test_a_fast_worker_prefetches_a_few_milliseconds_of_its_pace():
    intake, ends, now = paced(1, 20.0)
    assert intake.prefetch == pytest.approx(20 * PREFETCH_MS, abs=2)
    assert intake.wanted(0, ends, now) == 1 + intake.prefetch


def test_the_prefetch_is_bounded_however_fast_the_handlers_are():
    intake, ends, now = paced(1, 10_000.0)
    assert intake.prefetch == MAX_PREFETCH
    assert intake.wanted(0, ends, now) == MAX_COUNT


def test_the_prefetch_shrinks_when_handlers_become_slow():
    intake, ends, now = paced(1, 20.0)
    before = intake.prefetch
    for step in range(1, 20):
        intake.wanted(1, ends, now + step * 20)
    assert before > 100
    assert intake.prefetch == 0


def test_a_moment_too_short_to_measure_changes_no_pace():
    intake, ends, now = paced(1, 20.0)
    before = intake.prefetch
    intake.wanted(1, ends + 10_000, now + 0.5)
    assert intake.prefetch == before


@pytest.mark.parametrize(
    ("pace", "expected"),
    [(0.0, 0), (0.45, 0), (0.55, GATHERING_MS), (1, GATHERING_MS), (15, GATHERING_MS), (17, 0), (300, 0)],
)
def test_ends_gather_where_that_makes_writes_fewer(pace, expected):
    intake, _, _ = paced(100, pace)
    assert intake.gathering_ms == expected


def test_the_prefetch_is_refilled_in_large_reads_and_idle_handlers_at_once():
    intake, ends, now = paced(4, 20.0)
    limit = 4 + intake.prefetch
    assert intake.wanted(limit - 1, ends, now) == 0
    assert intake.wanted(limit - limit // 4, ends, now) == 0
    assert intake.wanted(limit - limit // 4 - 1, ends, now) >= limit // 4
    assert intake.wanted(3, ends, now) == limit - 3


@searched
@given(
    concurrency=st.integers(1, 2_000),
    steps=st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 5_000), st.floats(0, 1_000)), max_size=30),
)
def test_it_never_asks_for_more_than_it_may_hold_and_always_for_idle_handlers(concurrency, steps):
    intake = Intake(concurrency)
    ends, now = 0, 0.0
    for held, more_ends, elapsed in steps:
        ends, now = ends + more_ends, now + elapsed
        wants = intake.wanted(held, ends, now)
        assert 0 <= wants <= MAX_COUNT
        assert held + wants <= max(held, concurrency + MAX_PREFETCH)
        if held < concurrency:
            assert wants >= min(concurrency - held, MAX_COUNT)


# -- in which words --------------------------------------------------------------------------------------------


def reading(lease_ms=30_000, block_ms=5_000, limit=1_048_576):
    return Reading(KEYS, GROUP, b"c-1", lease_ms=lease_ms, block_ms=block_ms, max_payload_bytes=limit)


def test_where_the_server_can_one_read_also_takes_over_idle_entries():
    call = reading().read(7, NEWEST)
    assert command(call) == [
        *[b"XREADGROUP", b"GROUP", b"default", b"c-1", b"COUNT", b"7", b"BLOCK", b"5000"],
        *[b"CLAIM", b"30000", b"STREAMS", KEYS.stream, b">"],
    ]
    assert call.blocks_ms == 5_000
    assert not call.idempotent


@pytest.mark.parametrize("profile", [CLASSIC, XACKDEL], ids=lambda p: p.version)
def test_elsewhere_a_read_ends_in_time_for_the_next_look_at_idle_entries(profile):
    sent = command(reading().read(7, profile))
    assert b"CLAIM" not in sent
    assert sent[sent.index(b"BLOCK") + 1] == b"2000"


def test_a_read_that_shall_not_wait_does_not():
    call = reading().read(1, NEWEST, block=False)
    assert b"BLOCK" not in command(call)
    assert call.blocks_ms == 0


@pytest.mark.parametrize(
    ("lease", "block", "newest", "classic"),
    [
        (30_000, 5_000, 5_000, 2_000),
        (30_000, 60_000, 10_000, 2_000),
        (30_000, 1, 1, 1),
        (300, 5_000, 100, 100),
        (100, 5_000, 33, 33),
    ],
)
def test_a_read_waits_for_a_third_of_the_lease_at_most_and_never_for_ever(lease, block, newest, classic):
    # BLOCK 0 would be for ever.
    for profile, expected in ((NEWEST, newest), (CLASSIC, classic)):
        sent = command(reading(lease, block).read(1, profile))
        assert sent[sent.index(b"BLOCK") + 1] == b"%d" % expected


def stream_reply(*rows):
    return [[KEYS.stream, [list(row) for row in rows]]]


def test_a_reply_becomes_entries_with_their_earlier_deliveries():
    call = reading(limit=100).read(2, NEWEST)
    raw = envelope("a", 1)
    first, second, third = answer(
        call,
        stream_reply(
            (b"1-1", [b"d", raw, b"n", b"w"], 0, 0),
            (b"1-2", [b"x", b"y"], 31_000, 2),
            (b"1-3", [b"d", b"x" * 101], 0, 0),
        ),
    )
    assert (first.entry_id, first.job_id, first.name, first.deliveries, first.fault) == (b"1-1", "a", "w", 0, None)
    assert (second.fault, second.deliveries) == ("malformed", 2)
    assert third.fault == "oversize_payload"


def test_nothing_in_time_is_no_entries_and_an_error_is_raised():
    assert answer(reading().read(1, NEWEST), None) == []
    with pytest.raises(ServerReplyError) as raised:
        answer(reading().read(1, NEWEST), error("NOGROUP No such key"))
    assert raised.value.code == "NOGROUP"


@pytest.mark.parametrize("profile", [CLASSIC, NEWEST], ids=lambda p: p.version)
def test_the_group_is_created_by_a_script_that_a_full_server_runs(profile):
    call = reading().create_group(profile)
    assert scripted(command(call), "create_group", profile) == ([KEYS.stream], [b"default"])
    assert call.idempotent
    assert [answer(call, reply) for reply in (1, 0)] == [1, 0]
    with pytest.raises(ServerReplyError, match="WRONGTYPE"):
        answer(call, error("WRONGTYPE x"))


# -- taking over beside the read -------------------------------------------------------------------------------


def test_idle_entries_are_looked_for_at_once_and_then_now_and_again():
    reader = reading()
    assert reader.is_claim_due(0.0)
    reader.claim(5, CLASSIC, 0.0)
    assert not reader.is_claim_due(1_999.0)
    assert reader.is_claim_due(2_000.0)


def test_of_a_short_lease_a_third_is_waited():
    reader = reading(lease_ms=300)
    reader.claim(5, CLASSIC, 0.0)
    assert [reader.is_claim_due(at) for at in (99.0, 100.0)] == [False, True]


def test_the_look_goes_on_where_it_ended():
    reader = reading()
    cursors = itertools.cycle([b"5-0", b"0-0"])
    starts = []
    for _ in range(4):
        call = reader.claim(5, XACKDEL, 0.0)
        keys, (group, consumer, idle, count, start) = scripted(command(call), "claim_idle", XACKDEL)
        assert (keys, group, consumer, idle, count) == ([KEYS.stream], b"default", b"c-1", b"30000", b"5")
        starts.append(start)
        assert answer(call, [next(cursors), []]) == []
    assert starts == [b"0-0", b"5-0", b"0-0", b"5-0"]
    assert commands(call.eval_form(0))[0][2:] == command(call)[2:]
    assert not call.idempotent


def test_entries_that_were_taken_over_say_how_often_they_were_delivered():
    call = reading().claim(5, CLASSIC, 0.0)
    (taken,) = answer(call, [b"0-0", [[b"1-1", [b"d", envelope("a")], 30_000, 1]]])
    assert (taken.job_id, taken.deliveries, taken.idle_ms) == ("a", 1, 30_000)
    with pytest.raises(ServerReplyError, match=r"worker\.claim"):
        answer(reading().claim(5, CLASSIC, 0.0), error("NOGROUP x"))
