"""replay_dead_letters: each letter moves once, whoever asks for it."""

import pytest
import redis


def letters(place, count):
    return [place.client.xadd(place.keys.dlq, {"d": b"%d" % number, "n": "w"}) for number in range(count)]


def replay(place, *rows):
    flat = [part for row in rows for part in row]
    return place.run("replay_dead_letters", [place.keys.dlq, place.keys.stream], *flat)


def test_letters_move_in_order_with_their_new_envelopes(place):
    first, second, third = letters(place, 3)
    assert replay(place, (first, b"new-1", b"w"), (third, b"new-3", b"")) == 2
    assert place.stream() == [{b"d": b"new-1", b"n": b"w"}, {b"d": b"new-3"}]
    assert [entry_id for entry_id, _ in place.client.xrange(place.keys.dlq)] == [second]


def test_sent_twice_or_by_two_at_once_a_letter_moves_once(place):
    (only,) = letters(place, 1)
    assert [replay(place, (only, b"e", b"w")), replay(place, (only, b"e", b"w"))] == [1, 0]
    assert len(place.stream()) == 1


def test_a_letter_that_is_gone_is_passed_over(place):
    (there,) = letters(place, 1)
    assert replay(place, (b"1-1", b"a", b"w"), (there, b"b", b"w"), (there, b"b", b"w")) == 1
    assert [fields[b"d"] for fields in place.stream()] == [b"b"]


def test_nothing_to_replay_is_nothing(place):
    assert replay(place) == 0


def test_a_full_server_refuses_whole_and_keeps_the_letters(place):
    ids = letters(place, 3)
    with place.full(), pytest.raises(redis.exceptions.OutOfMemoryError):
        replay(place, *[(entry_id, b"e", b"w") for entry_id in ids])
    assert (len(place.dlq()), place.stream()) == (3, [])


def test_another_programs_key_in_the_way_loses_no_letter(place):
    (only,) = letters(place, 1)
    place.client.set(place.keys.stream, "not ours", ex=100)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        replay(place, (only, b"e", b"w"))
    assert len(place.dlq()) == 1
