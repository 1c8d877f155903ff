"""What is sent again when commands were turned away: which, where, in which order, and until when."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chasquimq._core.following import Pause, Send, follow, split_commands
from chasquimq._core.location import Location
from chasquimq._fast import pack_command
from chasquimq.address import Address, resolve_address
from chasquimq.errors import AuthenticationError, RedisConnectionError
from tests.unit.clock import FakeClock
from tests.unit.resp import commands, error

ASK = error("ASK 1 b:2")
MOVED = error("MOVED 1 b:2")
LATER = error("TRYAGAIN Multiple keys request during rehashing of slot")
DOWN = error("CLUSTERDOWN Hash slot not served")
READONLY = error("READONLY You can't write against a read only replica.")
NOSCRIPT = error("NOSCRIPT No matching script. Please use EVAL.")
OOM = error("OOM no")
B = Address(host="b", port=2)
ASKING = [b"ASKING"]


def words(count: int) -> bytes:
    return b"".join(pack_command([b"C", number]) for number in range(count))


class Trip:
    """One run of ``follow``, answered by the test; what it asked for is in ``steps``."""

    def __init__(self, *replies: Any, url: str = "redis://a:1", patience_ms: float = 5_000, **options: Any) -> None:
        self.location = Location(resolve_address(url), b"{chasqui:q}:stream")
        self.clock = FakeClock()
        self.replies = list(replies)
        self.pauses: list[float] = []
        self.sent: list[tuple[str, list[bytes]]] = []
        self._following = follow(
            self.location,
            0,
            words(len(replies)),
            self.replies,
            **{"eval_form": None, "may_repeat": False, **options},
            patience_ms=patience_ms,
            clock=self.clock,
            draw=lambda: 0.5,
        )

    def run(self, *answers: Any) -> "Trip":
        """Gives each ``Send`` the next list of answers (or error), or what a function says; pauses just pass."""
        left = list(answers)
        try:
            step = next(self._following)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.ms)
                    self.clock.advance(step.ms)
                    step = self._following.send([])
                    continue
                self._note(step)
                answer = left[0](step) if callable(left[0]) else left.pop(0)
                step = (self._following.throw if isinstance(answer, Exception) else self._following.send)(answer)
        except StopIteration:
            return self

    def _note(self, step: Send) -> None:
        asked = commands(step.request)
        assert len(asked) == step.replies
        if step.to is None:
            home = self.location.home
            self.sent.append(("home" if home is None else home.host, [b" ".join(command) for command in asked]))
            return
        assert asked[::2] == [ASKING] * (len(asked) // 2)
        self.sent.append((f"ask {step.to.host}", [b" ".join(command) for command in asked[1::2]]))


def test_nothing_to_do() -> None:
    trip = Trip(1, OOM, b"x").run()
    assert (trip.sent, trip.replies) == ([], [1, OOM, b"x"])


def test_moved_commands_are_sent_to_the_new_place_in_their_order_and_no_other() -> None:
    trip = Trip(0, MOVED, OOM, MOVED, 4).run(["one", "three"])
    assert trip.sent == [("b", [b"C 1", b"C 3"])]
    assert trip.replies == [0, "one", OOM, "three", 4]
    assert trip.pauses == []
    assert trip.location.home == B


def test_one_answer_with_moved_is_enough_to_know_where_all_belong() -> None:
    trip = Trip(ASK, LATER, MOVED, DOWN).run([0, 1, 2, 3])
    assert trip.sent == [("b", [b"C 0", b"C 1", b"C 2", b"C 3"])]
    assert trip.replies == [0, 1, 2, 3]


def test_the_last_of_several_moves_counts() -> None:
    trip = Trip(error("MOVED 1 c:3"), MOVED).run([0, 1])
    assert trip.sent == [("b", [b"C 0", b"C 1"])]


def test_a_node_that_is_asked_is_told_so_before_each_command_and_nobody_moves() -> None:
    trip = Trip(0, ASK, ASK).run([b"OK", "one", b"OK", "two"])
    assert trip.sent == [("ask b", [b"C 1", b"C 2"])]
    assert trip.replies == [0, "one", "two"]
    assert trip.location.home == resolve_address("redis://a:1")


def test_commands_for_different_places_keep_their_order() -> None:
    trip = Trip(ASK, LATER, ASK).run([b"OK", "zero"], ["one"], [b"OK", "two"])
    assert trip.sent == [("ask b", [b"C 0"]), ("a", [b"C 1"]), ("ask b", [b"C 2"])]
    assert trip.replies == ["zero", "one", "two"]
    assert len(trip.pauses) == 1


def test_what_is_to_be_tried_again_is_tried_again_with_growing_pauses() -> None:
    trip = Trip(LATER).run([LATER], [LATER], [LATER], [LATER], [LATER], [LATER], ["zero"])
    assert trip.replies == ["zero"]
    assert trip.pauses == [20, 40, 80, 160, 320, 400, 400]


def test_when_patience_is_over_the_answers_stay_what_they_are() -> None:
    trip = Trip(0, LATER, 2, patience_ms=1_000).run(lambda step: [LATER] * step.replies)
    assert trip.replies == [0, LATER, 2]
    assert 1_000 <= sum(trip.pauses) < 1_500


def test_without_patience_a_move_is_followed_all_the_same() -> None:
    assert Trip(MOVED, patience_ms=0).run(["zero"]).replies == ["zero"]
    assert Trip(ASK, patience_ms=0).run([b"OK", "zero"]).replies == ["zero"]
    assert Trip(LATER, patience_ms=0).run().replies == [LATER]


def test_nodes_that_send_us_back_and_forth_do_not_make_us_run() -> None:
    nodes = ["c:3", "b:2"]

    def elsewhere(step: Send) -> list[Any]:
        nodes.reverse()
        return [error(f"MOVED 1 {nodes[0]}")] * step.replies

    trip = Trip(MOVED, patience_ms=2_000).run(elsewhere)
    assert str(trip.replies[0]).startswith("MOVED")
    assert len(trip.sent) < 15


def test_a_node_that_is_asked_may_not_have_everything_yet() -> None:
    trip = Trip(ASK).run([b"OK", LATER], [ASK], [b"OK", "zero"])
    assert trip.sent == [("ask b", [b"C 0"]), ("a", [b"C 0"]), ("ask b", [b"C 0"])]
    assert trip.replies == ["zero"]
    assert len(trip.pauses) == 1


def test_a_move_that_ends_while_we_ask() -> None:
    trip = Trip(ASK).run([b"OK", MOVED], ["zero"])
    assert trip.sent == [("ask b", [b"C 0"]), ("b", [b"C 0"])]
    assert trip.replies == ["zero"]


@pytest.mark.parametrize("refusal", [READONLY, DOWN])
def test_a_server_that_does_not_serve_is_left_and_looked_for_after_a_pause(refusal: Any) -> None:
    trip = Trip(0, refusal, url="redis+cluster://a:1")
    trip.location.place(Address(host="x"))
    trip.run(["one"])
    assert trip.sent == [("home", [b"C 1"])]  # home is not known: it has to be found
    assert trip.replies == [0, "one"]
    assert len(trip.pauses) == 1
    assert trip.location.epoch > 0


def test_a_node_that_is_asked_and_does_not_serve_says_nothing_about_home() -> None:
    trip = Trip(ASK).run([b"OK", DOWN], ["zero"])
    assert trip.sent == [("ask b", [b"C 0"]), ("a", [b"C 0"])]
    assert trip.location.epoch == 0


# -- scripts -------------------------------------------------------------------------------------------------------


def eval_form(position: int) -> bytes:
    return pack_command([b"EVAL", position])


def test_scripts_that_the_server_lacks_are_sent_with_their_text_to_the_same_server() -> None:
    trip = Trip(0, NOSCRIPT, 2, NOSCRIPT, eval_form=eval_form).run(["one", "three"])
    assert trip.sent == [("a", [b"EVAL 1", b"EVAL 3"])]
    assert trip.replies == [0, "one", 2, "three"]
    assert trip.pauses == []


def test_a_script_that_is_not_known_at_the_new_place() -> None:
    trip = Trip(MOVED, eval_form=eval_form).run([NOSCRIPT], ["zero"])
    assert trip.sent == [("b", [b"C 0"]), ("b", [b"EVAL 0"])]
    assert trip.replies == ["zero"]


def test_a_script_that_is_not_known_where_it_is_asked_for() -> None:
    trip = Trip(ASK, eval_form=eval_form).run([b"OK", NOSCRIPT], [b"OK", "zero"])
    assert trip.sent == [("ask b", [b"C 0"]), ("ask b", [b"EVAL 0"])]


def test_a_script_that_moves_after_it_was_sent_with_its_text() -> None:
    trip = Trip(NOSCRIPT, eval_form=eval_form).run([MOVED], ["zero"])
    assert trip.sent == [("a", [b"EVAL 0"]), ("b", [b"EVAL 0"])]


def test_noscript_to_a_text_is_an_error_like_others() -> None:
    assert Trip(NOSCRIPT, eval_form=eval_form).run([NOSCRIPT]).replies == [NOSCRIPT]
    assert Trip(NOSCRIPT).run().replies == [NOSCRIPT]


# -- broken connections --------------------------------------------------------------------------------------------

UNSENT = RedisConnectionError("refused")


def lost() -> RedisConnectionError:
    return RedisConnectionError("It broke.", may_have_executed=True)


def test_a_new_place_that_cannot_be_reached_is_looked_for_again() -> None:
    trip = Trip(MOVED).run(RedisConnectionError("refused"), ["zero"])
    assert trip.sent == [("b", [b"C 0"]), ("home", [b"C 0"])]
    assert trip.replies == ["zero"]
    assert len(trip.pauses) == 1


def test_a_node_that_cannot_be_asked_sends_us_home() -> None:
    trip = Trip(ASK).run(RedisConnectionError("refused"), ["zero"])
    assert trip.sent == [("ask b", [b"C 0"]), ("a", [b"C 0"])]


@pytest.mark.parametrize(
    ("replies", "answers", "may_have_executed"),
    [
        ([MOVED], [RedisConnectionError("refused")], False),
        ([0, MOVED], [RedisConnectionError("refused")], True),  # the first one was executed before
        ([OOM, MOVED], [RedisConnectionError("refused")], True),  # or may have been, as far as the error knows
    ],
)
def test_when_nobody_can_be_reached_the_error_tells_the_truth(
    replies: list[Any], answers: list[Any], may_have_executed: bool
) -> None:
    with pytest.raises(RedisConnectionError) as caught:
        Trip(*replies, patience_ms=500).run(lambda _: answers[0])
    assert caught.value.may_have_executed is may_have_executed


def test_what_may_have_been_executed_is_not_sent_again_here() -> None:
    trip = Trip(MOVED)
    with pytest.raises(RedisConnectionError) as caught:
        trip.run(lost())
    assert caught.value.may_have_executed
    assert len(trip.sent) == 1


def test_wrong_credentials_do_not_get_better_by_waiting() -> None:
    trip = Trip(MOVED)
    with pytest.raises(AuthenticationError):
        trip.run(AuthenticationError("no"))
    assert trip.pauses == []


# -- splitting -----------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=5), max_size=8))
def test_a_request_is_split_into_its_commands(rows: list[list[bytes]]) -> None:
    packed = [pack_command(row) for row in rows]
    assert split_commands(b"".join(packed)) == packed


@given(st.lists(st.sampled_from(["done", "ask", "moved", "later", "script"]), min_size=1, max_size=12), st.randoms())
def test_whatever_happens_each_command_is_executed_exactly_once(fates: list[str], random: Any) -> None:
    """A model of two nodes: each command is turned away a few times in any way, and counted when it is executed."""
    answers = {"ask": ASK, "moved": MOVED, "later": LATER, "script": NOSCRIPT}
    executed = [0] * len(fates)
    turns = [random.randint(1, 3) if fate != "done" else 0 for fate in fates]
    with_text = [False] * len(fates)

    def answer(position: int, *, as_text: bool) -> Any:
        with_text[position] = with_text[position] or as_text
        if turns[position]:
            turns[position] -= 1
            fate = fates[position]
            return answers["later" if fate == "script" and with_text[position] else fate]
        executed[position] += 1
        return position

    def serve(step: Send) -> list[Any]:
        asked = commands(step.request)
        replies: list[Any] = []
        for command in asked:
            replies.append(b"OK" if command == ASKING else answer(int(command[1]), as_text=command[0] == b"EVAL"))
        return replies

    trip = Trip(
        *(answer(position, as_text=False) for position in range(len(fates))), eval_form=eval_form, patience_ms=60_000
    )
    trip.run(serve)
    assert trip.replies == list(range(len(fates)))
    assert executed == [1] * len(fates)
