"""renew_leases, claim_idle, release_consumer: whose an entry is, and that none gets lost between two owners."""

import pytest
import redis

from chasquimq._core.keys import HANDED_BACK
from tests.lua.conftest import GROUP, XACKDEL

LEASE = 30_000
DAY = 86_400_000


def renew(place, *ids, consumer="me"):
    return place.run("renew_leases", [place.keys.stream], GROUP, consumer, *ids)


def claim(place, consumer="me", count=100, start="0-0", idle=LEASE):
    return place.run("claim_idle", [place.keys.stream], GROUP, consumer, idle, count, start)


def release(place, *staying, consumer="me", started=()):
    arguments = [GROUP, consumer, HANDED_BACK, DAY, len(staying), *staying, *started]
    return place.run("release_consumer", [place.keys.stream], *arguments)


# -- renewing --------------------------------------------------------------------------------------------------


def test_a_renewed_lease_begins_anew_and_is_no_delivery(place):
    place.group()
    first, second = place.delivered(2)
    place.make_idle(20_000, "me", first, second)
    assert renew(place, first, second) == [1, 1]
    for entry_id in (first, second):
        assert place.idle_ms(entry_id) < 20_000
    assert place.pending() == {first: ("me", 1), second: ("me", 1)}
    assert renew(place, first, second) == [1, 1]


def test_renewing_never_takes_an_entry_from_another_consumer(place):
    place.group()
    (mine,) = place.delivered()
    (theirs,) = place.delivered(consumer="other")
    place.make_idle(DAY, "other", theirs)
    assert renew(place, theirs, mine) == [0, 1]
    assert place.pending() == {mine: ("me", 1), theirs: ("other", 1)}
    assert place.idle_ms(theirs) >= DAY


@pytest.mark.parametrize("gone", ["acked", "never there", "not delivered"])
def test_what_is_not_pending_is_lost_and_stays_as_it_is(place, gone):
    place.group()
    (entry_id,) = place.delivered()
    if gone == "acked":
        place.client.xack(place.keys.stream, GROUP, entry_id)
    elif gone == "never there":
        entry_id = b"1-1"
    else:
        entry_id = place.client.xadd(place.keys.stream, {"d": "1"})
    before = place.pending()
    assert renew(place, entry_id) == [0]
    assert place.pending() == before


def test_an_entry_that_was_deleted_under_its_worker_is_lost(place):
    place.group()
    kept, deleted = place.delivered(2)
    place.client.xdel(place.keys.stream, deleted)
    assert renew(place, kept, deleted) == [1, 0]


def test_a_renewal_without_the_group_says_so(place):
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        renew(place, b"1-1")


def test_as_many_as_one_call_renews(place):
    place.group()
    ids = place.delivered(250)
    assert renew(place, *ids) == [1] * 250


def test_leases_are_renewed_on_a_full_server(place):
    place.group()
    (entry_id,) = place.delivered()
    place.make_idle(20_000, "me", entry_id)
    with place.full():
        assert renew(place, entry_id) == [1]


# -- taking over -----------------------------------------------------------------------------------------------


def test_idle_entries_are_taken_over_with_their_earlier_deliveries(place):
    place.group()
    once, twice = place.delivered(2, consumer="other", d="x", n="w")
    place.client.xclaim(place.keys.stream, GROUP, "third", 0, [twice])
    place.make_idle(LEASE, "dead", once, twice)
    cursor, entries = claim(place)
    assert cursor == b"0-0"
    assert entries == [[once, [b"d", b"x", b"n", b"w"], LEASE, 1], [twice, [b"d", b"x", b"n", b"w"], LEASE, 2]]
    assert place.pending() == {once: ("me", 2), twice: ("me", 3)}


@pytest.mark.parametrize("place", ["xackdel on redis-8.6"], indirect=True)  # the others' reads cannot take over
def test_a_taken_over_entry_counts_like_one_that_a_read_takes_over(place):
    place.group()
    by_script, by_read = place.delivered(2, consumer="dead")
    place.make_idle(LEASE, "dead", by_script)
    _, ((_, _, _, deliveries),) = claim(place)
    place.make_idle(LEASE, "dead", by_read)
    command = ["XREADGROUP", "GROUP", GROUP, "me", "COUNT", 1, "CLAIM", LEASE, "STREAMS", place.keys.stream, ">"]
    # Past redis-py's own reading of the reply, which knows nothing of the last two elements.
    connection = place.client.connection_pool.get_connection()
    try:
        connection.send_command(*command)
        ((entry_id, _, _, by_reading),) = dict(connection.read_response())[place.keys.stream]
    finally:
        place.client.connection_pool.release(connection)
    assert (entry_id, by_reading) == (by_read, deliveries)


def test_what_is_still_leased_is_left_alone(place):
    place.group()
    (entry_id,) = place.delivered(consumer="other")
    place.make_idle(LEASE // 2, "other", entry_id)
    assert claim(place) == [b"0-0", []]
    assert place.pending() == {entry_id: ("other", 1)}


def test_claiming_twice_claims_once(place):
    place.group()
    (entry_id,) = place.delivered(consumer="other")
    place.make_idle(LEASE, "other", entry_id)
    assert len(claim(place)[1]) == 1
    assert claim(place, consumer="another") == [b"0-0", []]
    assert place.pending() == {entry_id: ("me", 2)}


def test_no_more_than_asked_for_and_then_on_from_there(place):
    place.group()
    ids = place.delivered(5, consumer="dead")
    place.make_idle(LEASE, "dead", *ids)
    cursor, first = claim(place, count=2)
    assert [row[0] for row in first] == ids[:2]
    assert cursor != b"0-0"
    cursor, second = claim(place, count=100, start=cursor)
    assert [row[0] for row in second] == ids[2:]
    assert cursor == b"0-0"


def test_a_deleted_entry_is_not_taken_over(place):
    place.group()
    deleted, kept = place.delivered(2, consumer="dead")
    place.make_idle(LEASE, "dead", deleted, kept)
    place.client.xdel(place.keys.stream, deleted)
    assert [row[0] for row in claim(place)[1]] == [kept]
    assert set(place.pending()) == {kept}


def test_taking_over_without_the_group_says_so(place):
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        claim(place)


def test_entries_are_taken_over_on_a_full_server(place):
    # Reads go on there, and what a dead worker held must be drained too.
    place.group()
    (entry_id,) = place.delivered(consumer="dead")
    place.make_idle(LEASE, "dead", entry_id)
    with place.full():
        assert [row[0] for row in claim(place)[1]] == [entry_id]


# -- handing back ----------------------------------------------------------------------------------------------


def test_a_leaving_consumer_hands_back_everything_and_is_gone(place):
    place.group()
    ids = place.delivered(3)
    assert release(place) == [3, 0]
    assert {owner for owner, _ in place.pending().values()} == {HANDED_BACK.decode()}
    assert set(place.pending()) == set(ids)
    assert "me" not in place.consumers()
    assert release(place) == [0, 0]


def test_what_still_runs_stays_and_so_does_its_consumer(place):
    place.group()
    first, running, last = place.delivered(3)
    assert release(place, running) == [2, 1]
    owners = {entry_id: owner for entry_id, (owner, _) in place.pending().items()}
    assert owners == {first: "handed-back", running: "me", last: "handed-back"}
    assert "me" in place.consumers()
    assert release(place, running) == [0, 1]


def test_an_entry_that_did_not_start_was_not_delivered(place):
    place.group()
    fresh, redelivered = place.delivered(2, consumer="dead")
    place.client.xclaim(place.keys.stream, GROUP, "me", 0, [fresh], justid=True)
    place.client.xclaim(place.keys.stream, GROUP, "me", 0, [redelivered])
    assert release(place) == [2, 0]
    assert {count for entry_id, (_, count) in place.pending().items() if entry_id == fresh} == {0}
    assert {count for entry_id, (_, count) in place.pending().items() if entry_id == redelivered} == {1}


def test_a_run_that_was_ended_before_its_time_was_a_delivery(place):
    place.group()
    started, waiting, running = place.delivered(3)
    assert release(place, running, started=[started]) == [2, 1]
    assert place.pending() == {started: ("handed-back", 1), waiting: ("handed-back", 0), running: ("me", 1)}
    assert release(place, started=[running, started]) == [1, 0]
    assert place.pending()[running] == ("handed-back", 1)


@pytest.mark.parametrize("earlier", [0, 2])
def test_whoever_reads_next_takes_it_at_once_and_counts_right(place, earlier):
    place.group()
    (entry_id,) = place.delivered()
    for _ in range(earlier):
        place.client.xclaim(place.keys.stream, GROUP, "me", 0, [entry_id])
    release(place)
    ((taken, _, _, deliveries),) = claim(place, consumer="next")[1]
    assert (taken, deliveries) == (entry_id, earlier)


def test_more_entries_than_one_page(place):
    place.group()
    ids = place.delivered(250)
    staying = [ids[0], ids[120], ids[249]]
    handed_back, left = release(place, *staying)
    assert handed_back == 247
    assert left > 0
    assert [entry_id for entry_id, (owner, _) in place.pending().items() if owner == "me"] == staying
    assert release(place) == [3, 0]


def test_entries_of_others_are_not_touched(place):
    place.group()
    (theirs,) = place.delivered(consumer="other")
    place.delivered()
    release(place)
    assert place.pending()[theirs] == ("other", 1)


def test_a_consumer_that_never_read_leaves_in_peace(place):
    place.group()
    assert release(place) == [0, 0]


def test_an_entry_that_was_deleted_is_not_counted_for_ever(place):
    place.group()
    (deleted,) = place.delivered()
    place.client.xdel(place.keys.stream, deleted)
    release(place)
    assert place.pending().get(deleted, ("", 0))[0] != "me"
    assert "me" not in place.consumers()


def test_handing_back_works_on_a_full_server(place):
    place.group()
    place.delivered(2)
    with place.full():
        assert release(place) == [2, 0]


def test_handing_back_without_the_group_says_so(place):
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        release(place)


def test_the_forms_differ_in_nothing_but_the_command(place):
    assert place.profile.has_xackdel is (place.profile == XACKDEL)


# -- burying the dead ------------------------------------------------------------------------------------------


def reap(place, idle=0):
    return place.run("reap_consumers", [place.keys.stream], GROUP, "me", HANDED_BACK, idle)


def consumers(place):
    return {consumer["name"] for consumer in place.client.xinfo_consumers(place.keys.stream, GROUP)}


def test_names_that_nobody_reads_as_any_more_go_and_those_with_entries_stay(place):
    place.group()
    for name in ("me", HANDED_BACK, "dead", "alive"):
        place.client.xgroup_createconsumer(place.keys.stream, GROUP, name)
    place.delivered(consumer="owner")
    assert reap(place, idle=DAY) == 0, "they have all been seen lately"
    assert reap(place) == 2
    assert consumers(place) == {b"me", HANDED_BACK, b"owner"}
    assert reap(place) == 0


def test_without_a_group_there_is_nobody_to_bury(place):
    assert reap(place) == 0
