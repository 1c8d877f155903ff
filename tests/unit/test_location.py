"""Where the server of a queue is: what is asked, what is believed, and what is old news."""

from typing import Any

import pytest
from redis.crc import key_slot as independent_key_slot

from chasquimq._core.location import CONFIRM_INTERVAL_MS, UNCONFIRMED_INTERVAL_MS, Finding, Location, key_slot
from chasquimq.address import Address, resolve_address
from chasquimq.errors import AuthenticationError, ChasquiError, RedisConnectionError, ServerReplyError
from tests.unit.resp import commands, error

KEY = b"{chasqui:q}:stream"  # slot 3825
SENTINEL_URL = "redis+sentinel://u:p@a:1,b:2,c:3/mine/4?sentinel_password=sp&client_name=me&discovery_timeout_ms=700"
CLUSTER_URL = "redis+cluster://u:p@a:1,b:2?connect_timeout_ms=9000&client_name=me"


def located(url: str, moves: list[int] | None = None) -> Location:
    noted: list[int] = [] if moves is None else moves
    return Location(resolve_address(url), KEY, lambda: noted.append(1))


def run(finding: Finding, answers: dict[str, Any]) -> tuple[Any, list[Address]]:
    """Answers each question by the host that is asked; what was found, or the error, and who was asked."""
    asked: list[Address] = []
    try:
        question = next(finding)
        while True:
            asked.append(question.to)
            answer = answers[question.to.host]
            question = finding.throw(answer) if isinstance(answer, ChasquiError) else finding.send([answer])
    except StopIteration as end:
        return end.value, asked
    except ChasquiError as failure:
        return failure, asked


def slots(*owners: tuple[int, int, list[tuple[bytes | None, int]]]) -> list[Any]:
    """An answer to CLUSTER SLOTS."""
    return [[first, last, *([host, port, b"id", []] for host, port in nodes)] for first, last, nodes in owners]


REFUSED = RedisConnectionError("Cannot connect to it: refused.")

# -- slots ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [b"123456789", KEY, b"", b"a{b}c", b"{}a", b"a{b", b"a{{b}}", b"{chasqui:}x}:stream", "{chasqui:ö}:s".encode()],
)
def test_slots_are_those_of_an_independent_client(key: bytes) -> None:
    assert key_slot(key) == independent_key_slot(key)


# -- a plain address -----------------------------------------------------------------------------------------------


def test_a_plain_address_is_where_it_says() -> None:
    moves: list[int] = []
    location = located("redis://h:1/2", moves)
    assert location.home == location.given
    assert not location.may_move
    location.lost(0)
    assert (location.home, location.epoch, moves) == (location.given, 0, [])


def test_a_server_that_is_a_replica_now_is_connected_to_afresh() -> None:
    """Its name may be about to lead to the new primary."""
    moves: list[int] = []
    location = located("redis://h:1", moves)
    location.refused(0)
    assert (location.home, location.epoch, moves) == (location.given, 1, [1])
    location.refused(0)  # another connection of the same age says so too
    assert location.epoch == 1


def test_a_plain_address_turns_out_to_be_a_node_of_a_cluster() -> None:
    moves: list[int] = []
    location = located("rediss://u:p@a:1?client_name=me", moves)
    location.moved(("b", 2), 0)
    home = location.home
    assert home is not None
    assert (home.host, home.port, home.username, home.password, home.client_name) == ("b", 2, "u", "p", "me")
    assert home.tls is not None
    assert (location.epoch, moves, location.may_move) == (1, [1], True)
    location.lost(1)
    assert location.home is None
    found, asked = run(location.find(), {"a": slots((0, 16_383, [(b"c", 3)]))})
    assert (found.host, found.port) == ("c", 3)
    assert [address.host for address in asked] == ["a"]  # the one that was lost is asked last


def test_a_unix_socket_may_lead_to_a_cluster_too() -> None:
    location = located("unix:///s")
    location.moved(("b", 2), 0)
    assert location.home == Address(host="b", port=2)
    location.lost(1)
    assert run(location.find(), {"b": slots((0, 16_383, [(b"b", 2)]))})[0] == Address(host="b", port=2)


# -- news and old news ---------------------------------------------------------------------------------------------


def test_only_the_first_of_those_that_were_sent_away_moves_everybody() -> None:
    moves: list[int] = []
    location = located("redis://a:1", moves)
    location.moved(("b", 2), 0)
    location.moved(("c", 3), 0)  # from a connection that was opened before the move
    location.lost(0)
    location.refused(0)
    assert location.home == Address(host="b", port=2)
    assert moves == [1]
    location.moved(("b", 2), 1)  # it is known already
    assert (location.epoch, moves) == (1, [1])


def test_a_host_that_is_left_out_is_that_of_the_node_that_answers() -> None:
    location = located("redis://a:1")
    location.moved(("", 2), 0)
    assert location.home == Address(host="a", port=2)
    assert location.address_of(("", 3)).host == "a"


def test_finding_the_same_server_again_moves_nobody() -> None:
    moves: list[int] = []
    location = located(CLUSTER_URL, moves)
    answer = {"a": slots((0, 16_383, [(b"a", 1)]))}
    run(location.find(), answer)
    assert (location.epoch, moves) == (0, [])
    location.lost(0)
    assert location.home is None
    run(location.find(), {**answer, "b": REFUSED})
    assert location.home is not None
    assert (location.epoch, moves) == (0, [])


# -- sentinels -----------------------------------------------------------------------------------------------------


def test_sentinels_are_asked_with_their_own_credentials_and_limits() -> None:
    location = located(SENTINEL_URL)
    assert location.home is None
    question = next(location.find())
    assert question.to == Address(
        host="a",
        port=1,
        password="sp",
        client_name="me",
        connect_timeout_ms=700,
        socket_timeout_ms=700,
        role="sentinel",
    )
    assert commands(question.request) == [[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"mine"]]


def test_what_a_sentinel_tells_is_used_only_if_it_is_a_primary() -> None:
    location = located(SENTINEL_URL)
    found, _ = run(location.find(), {"a": [b"10.0.0.1", b"6380"]})
    assert found == Address(
        host="10.0.0.1",
        port=6380,
        db=4,
        username="u",
        password="p",
        client_name="me",
        discovery_timeout_ms=700,
        role="primary",
    )
    assert location.home is found


@pytest.mark.parametrize("no", [REFUSED, None, error("IDONTKNOW"), error("NOPERM no")])
def test_the_next_sentinel_is_asked_and_the_one_that_knows_is_asked_first_from_then_on(no: Any) -> None:
    location = located(SENTINEL_URL)
    found, asked = run(location.find(), {"a": no, "b": [b"10.0.0.1", b"6380"]})
    assert found.host == "10.0.0.1"
    assert [address.host for address in asked] == ["a", "b"]
    _, asked = run(location.find(), {"b": [b"10.0.0.1", b"6380"]})
    assert [address.host for address in asked] == ["b"]


def test_a_sentinel_that_leads_astray_is_asked_last() -> None:
    location = located(SENTINEL_URL)
    run(location.find(), {"a": [b"old", b"1"]})
    location.lost(location.epoch)  # nobody there, or it says that it is a replica
    _, asked = run(location.find(), {"b": [b"new", b"1"]})
    assert [address.host for address in asked] == ["b"]
    assert location.epoch == 1


def test_when_no_sentinel_knows_the_error_says_what_each_of_them_said() -> None:
    location = located(SENTINEL_URL)
    failure, _ = run(location.find(), {"a": REFUSED, "b": None, "c": error("NOPERM no")})
    assert type(failure) is RedisConnectionError
    for part in ("'mine'", "refused", "b:2 knows no service of this name", "c:3 says NOPERM no", "/mine/4"):
        assert part in str(failure), part
    assert "sp" not in str(failure).replace("passes", "")


def test_when_no_sentinel_lets_us_ask_it_is_about_credentials() -> None:
    location = located(SENTINEL_URL)
    failure, _ = run(location.find(), dict.fromkeys("abc", AuthenticationError("refused the credentials.")))
    assert type(failure) is AuthenticationError
    assert "sentinel_password" in str(failure)


def test_sentinels_are_asked_again_now_and_then_by_one_at_a_time() -> None:
    moves: list[int] = []
    location = located(SENTINEL_URL, moves)
    assert location.is_watched
    assert not location.begins_to_doubt(0.0)  # nothing is known yet that could be doubted
    run(location.find(), {"a": [b"old", b"1"]})
    now = 50_000.0
    assert location.begins_to_doubt(now)
    assert not location.begins_to_doubt(now + CONFIRM_INTERVAL_MS - 1)
    assert location.begins_to_doubt(now + CONFIRM_INTERVAL_MS)
    location.stays_in_doubt(now)
    assert not location.begins_to_doubt(now + UNCONFIRMED_INTERVAL_MS - 1)
    run(location.find(), {"a": [b"new", b"1"]})
    assert (location.epoch, moves) == (1, [1])


# -- a Cluster -----------------------------------------------------------------------------------------------------


def test_the_nodes_of_a_cluster_are_asked_who_serves_the_slot() -> None:
    location = located(CLUSTER_URL)
    question = next(location.find())
    assert commands(question.request) == [[b"CLUSTER", b"SLOTS"]]
    assert (question.to.host, question.to.username, question.to.password) == ("a", "u", "p")
    assert question.to.connect_timeout_ms == 2_000
    told = slots((0, 3_824, [(b"x", 1)]), (3_825, 5_000, [(b"y", 2), (b"z", 3)]), (5_001, 16_383, [(b"w", 4)]))
    found, _ = run(location.find(), {"a": told})
    assert (found.host, found.port, found.username, found.client_name) == ("y", 2, "u", "me")
    assert (found.startup_nodes, found.role, found.connect_timeout_ms) == ((), "any", 9_000)


def test_all_nodes_that_were_named_can_be_asked_later() -> None:
    location = located("redis+cluster://a:1")
    run(location.find(), {"a": slots((0, 16_383, [(b"y", 2), (b"z", 3)]))})
    location.lost(0)
    found, asked = run(location.find(), {"z": slots((0, 16_383, [(b"z", 3), (b"y", 2)]))})
    assert [address.host for address in asked] == ["z"]  # neither y, which was lost, nor who had named it
    assert found.host == "z"
    assert location.epoch == 1


def test_a_node_that_leads_astray_is_asked_last() -> None:
    """It may be cut off from the others, and not know that another one serves the slot by now."""
    location = located("redis+cluster://a:1,b:2")
    run(location.find(), {"a": slots((0, 16_383, [(b"old", 1)]))})
    location.refused(0)
    found, asked = run(location.find(), {"b": slots((0, 16_383, [(b"new", 1)]))})
    assert [address.host for address in asked] == ["b"]
    assert found.host == "new"


def test_not_all_nodes_are_asked_at_once_but_all_in_the_end() -> None:
    hosts = "abcdefgh"
    location = located("redis+cluster://" + ",".join(hosts))
    failure, first = run(location.find(), dict.fromkeys(hosts, REFUSED))
    assert isinstance(failure, RedisConnectionError)
    _, second = run(location.find(), dict.fromkeys(hosts, REFUSED))
    assert "".join(address.host for address in first + second) == "abcdefghab"


@pytest.mark.parametrize("host", [None, b""])
def test_a_node_without_a_name_is_the_one_that_was_asked(host: bytes | None) -> None:
    found, _ = run(located("redis+cluster://a:1").find(), {"a": slots((0, 16_383, [(host, 7)]))})
    assert found == Address(host="a", port=7)


def test_a_slot_that_nobody_serves_is_told() -> None:
    location = located(CLUSTER_URL)
    told = slots((0, 3_824, [(b"x", 1)]), (3_826, 16_383, [(b"y", 1)]))
    failure, asked = run(location.find(), {"a": told, "b": told, "x": told, "y": slots((3_825, 3_825, [(b"?", 1)]))})
    assert type(failure) is RedisConnectionError
    assert "slot 3825" in str(failure)
    assert [address.host for address in asked] == ["a", "b"]


def test_a_user_who_may_not_ask_learns_it_by_being_sent_away() -> None:
    found, _ = run(located(CLUSTER_URL).find(), {"a": error("NOPERM User u has no permissions")})
    assert (found.host, found.port) == ("a", 1)


def test_a_lone_server_is_no_cluster() -> None:
    failure, _ = run(located(CLUSTER_URL).find(), {"a": error("ERR This instance has cluster support disabled")})
    assert isinstance(failure, ServerReplyError)
    assert "redis://" in str(failure)


def test_a_node_that_does_not_answer_the_question_is_passed_over() -> None:
    location = located(CLUSTER_URL)
    found, asked = run(location.find(), {"a": error("LOADING wait"), "b": slots((0, 16_383, [(b"b", 2)]))})
    assert [address.host for address in asked] == ["a", "b"]
    assert found.host == "b"


def test_a_plain_address_that_was_sent_away_once_takes_no_for_an_answer() -> None:
    location = located("redis://a:1")
    location.moved(("b", 2), 0)
    location.lost(1)
    no = error("ERR This instance has cluster support disabled")
    failure, _ = run(location.find(), {"a": no, "b": no})
    assert type(failure) is RedisConnectionError


def test_patience_is_for_those_that_may_find_another_server() -> None:
    assert located("redis+cluster://a?failover_timeout_ms=7000").patience_ms == 7_000
    assert located(SENTINEL_URL).patience_ms == 10_000
    assert located("redis://a?failover_timeout_ms=7000").patience_ms < 1_000
