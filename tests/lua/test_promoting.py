"""promote_due and release_lock: due jobs move once, malformed ones stand in nobody's way, one holder leads."""

import pytest
import redis

from chasquimq._fast import encode_member
from tests.unit.entries import envelope

FUTURE = 2**52


def promote(place, holder="me", batch=256):
    keys = place.keys
    into = [keys.delayed, keys.stream, keys.dlq, keys.promoter_lock]
    return place.run("promote_due", into, holder, 5, batch, 1000)


def release(place, holder="me"):
    return place.run("release_lock", [place.keys.promoter_lock], holder)


def member(number, name="w"):
    return encode_member(name.encode(), envelope(f"job-{number}"))


def schedule(place, *members, due=1):
    place.client.zadd(place.keys.delayed, {each: due + number for number, each in enumerate(members)})


# -- what moves ------------------------------------------------------------------------------------------------


def test_due_jobs_move_in_the_order_of_their_time_and_others_stay(place):
    schedule(place, member(1), member(2, name=""), member(3, name="発送"))
    schedule(place, member(4), due=FUTURE)
    before = place.now_ms()
    leads, now, next_due, set_aside, *job_ids = promote(place)
    assert before <= now <= place.now_ms()
    assert (leads, next_due, set_aside) == (1, FUTURE, 0)
    assert job_ids == [b"job-1", b"job-2", b"job-3"]
    assert place.stream() == [
        {b"d": envelope("job-1"), b"n": b"w"},
        {b"d": envelope("job-2")},
        {b"d": envelope("job-3"), b"n": "発送".encode()},
    ]
    assert place.delayed() == {member(4): FUTURE}


def test_promoting_twice_moves_once(place):
    schedule(place, member(1))
    promote(place)
    assert promote(place)[2:] == [-1, 0]
    assert len(place.stream()) == 1


def test_nothing_waiting_is_said_with_a_minus_one(place):
    assert promote(place)[2:] == [-1, 0]


def test_a_job_that_is_due_this_millisecond_moves(place):
    schedule(place, member(1), due=place.now_ms())
    assert promote(place)[4:] == [b"job-1"]


def test_no_more_than_a_batch_moves_and_the_next_is_due_at_once(place):
    schedule(place, *[member(number) for number in range(10)])
    _, now, next_due, *rest = promote(place, batch=4)
    assert next_due <= now
    assert rest[1:] == [b"job-0", b"job-1", b"job-2", b"job-3"]
    assert [len(promote(place, batch=4)[4:]) for _ in range(3)] == [4, 2, 0]
    assert len(place.stream()) == 10


def test_a_full_batch_of_the_real_size_fits_into_an_answer(place):
    schedule(place, *[member(number) for number in range(300)])
    assert len(promote(place)) == 4 + 256


def test_a_due_time_between_two_milliseconds_is_never_promised_too_early(place):
    place.client.execute_command("ZADD", place.keys.delayed, "4102444800000.25", member(1))
    assert promote(place)[2] == 4_102_444_800_001


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (envelope("a"), b"a"),
        (envelope("x" * 31), b"x" * 31),
        (envelope("x" * 32), b"x" * 32),
        (envelope("é" * 100), "é".encode() * 100),
        (envelope("r", max_attempts=3), b"r"),
        (envelope("x" * 300), b""),
        (b"\x83\xa2id\xa1a\xa7payload\xc4\x00", b""),
        (b"\x93\xc4\x01a\xc4\x01\x01\x05", b""),
        (b"\xc1", b""),
        (b"\x94", b""),
        (b"\x94\xd9", b""),
    ],
)
def test_the_id_is_shown_where_the_envelope_shows_it_at_once(place, raw, shown):
    schedule(place, encode_member(b"w", raw))
    assert promote(place)[4:] == [shown]
    assert place.stream() == [{b"d": raw, b"n": b"w"}]


# -- malformed members -----------------------------------------------------------------------------------------

MALFORMED = [
    b"",
    b"x",
    b"\1\0\0",
    b"\0\0\0\0",
    b"\1\0\0\0w",
    b"\x05\0\0\0w",
    b"\xff\xff\xff\xff" + b"x" * 50,
    b"\0\0\0\x80" + b"x" * 50,
]


@pytest.mark.parametrize("broken", MALFORMED)
def test_a_member_without_an_envelope_is_set_aside_where_a_person_finds_it(place, broken):
    schedule(place, member(1), broken, member(2))
    _, _, next_due, set_aside, *job_ids = promote(place)
    assert (next_due, set_aside, job_ids) == (-1, 1, [b"job-1", b"job-2"])
    assert place.dlq() == [
        {
            b"d": broken,
            b"source_id": b"0-0",
            b"reason": b"malformed",
            b"detail": b"delayed member without an envelope",
        }
    ]
    assert place.delayed() == {}


def test_malformed_members_count_as_part_of_the_batch(place):
    schedule(place, *MALFORMED, member(1))
    assert promote(place, batch=len(MALFORMED))[3:] == [len(MALFORMED)]
    assert promote(place)[3:] == [0, b"job-1"]


# -- who leads -------------------------------------------------------------------------------------------------


def test_the_leader_holds_the_lock_for_its_time_and_extends_it(place):
    promote(place)
    assert place.client.get(place.keys.promoter_lock) == b"me"
    assert 0 < place.client.pttl(place.keys.promoter_lock) <= 5_000
    place.client.pexpire(place.keys.promoter_lock, 100_000)
    promote(place)
    assert place.client.pttl(place.keys.promoter_lock) <= 5_000


def test_others_move_nothing_and_learn_how_long_the_lock_lasts(place):
    promote(place, holder="leader")
    schedule(place, member(1))
    leads, now, left = promote(place)
    assert leads == 0
    assert now <= place.now_ms()
    assert 0 < left <= 5_000
    assert place.stream() == []
    assert promote(place, holder="leader")[4:] == [b"job-1"]


def test_a_lock_is_given_up_by_its_holder_only(place):
    promote(place, holder="leader")
    assert release(place) == 0
    assert place.client.get(place.keys.promoter_lock) == b"leader"
    assert [release(place, "leader"), release(place, "leader")] == [1, 0]
    assert promote(place)[0] == 1


# -- trouble ---------------------------------------------------------------------------------------------------


def test_promoting_works_on_a_full_server(place):
    schedule(place, member(1), b"x")
    with place.full():
        assert promote(place)[3:] == [1, b"job-1"]
        assert release(place) == 1
    assert (len(place.stream()), len(place.dlq()), place.delayed()) == (1, 1, {})


def test_another_programs_key_in_the_way_loses_no_job(place):
    schedule(place, member(1))
    place.client.set(place.keys.stream, "not ours", ex=100)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        promote(place)
    assert list(place.delayed()) == [member(1)]
    place.client.delete(place.keys.stream)
    promote(place)
    assert len(place.stream()) == 1


def test_a_malformed_member_that_cannot_be_put_aside_rests_and_the_others_go_on(place):
    schedule(place, b"x", member(1))
    place.client.set(place.keys.dlq, "not ours", ex=100)
    assert promote(place)[3:] == [1, b"job-1"]
    assert list(place.delayed()) == [b"x"]
    assert promote(place)[3:] == [0]
