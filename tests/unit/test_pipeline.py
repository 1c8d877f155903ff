"""Several Calls in one write."""

import pytest

from chasquimq._core.call import Call, missing_scripts, single
from chasquimq._core.pipeline import Pipeline
from chasquimq._fast import pack_command
from chasquimq.errors import ServerReplyError
from tests.unit.resp import commands, error

NOSCRIPT = error("NOSCRIPT No matching script. Please use EVAL.")


def call(name, replies=1, *, scripted=False):
    request = b"".join(pack_command([name, b"%d" % number]) for number in range(replies))
    return Call(
        name.decode(),
        request,
        lambda answers: (name, answers),
        replies,
        eval_form=(lambda number: pack_command([b"EVAL", name, b"%d" % number])) if scripted else None,
    )


def test_requests_go_out_in_order_and_answers_come_back_to_their_calls():
    pipeline = Pipeline([call(b"A", 2), call(b"B"), call(b"C", 3)])
    assert [command[0] for command in commands(pipeline.request)] == [b"A", b"A", b"B", b"C", b"C", b"C"]
    assert pipeline.replies == 6
    assert pipeline.results([1, 2, 3, 4, 5, 6]) == [(b"A", [1, 2]), (b"B", [3]), (b"C", [4, 5, 6])]


def test_one_call_is_sent_as_it_is():
    only = call(b"A")
    assert Pipeline([only]).request is only.request


def test_only_the_commands_that_were_not_known_are_sent_again():
    pipeline = Pipeline([call(b"A", 2), call(b"B", 3, scripted=True), call(b"C", scripted=True)])
    positions, again = pipeline.missing([1, NOSCRIPT, 2, NOSCRIPT, error("OOM full"), NOSCRIPT])
    assert positions == [3, 5]
    assert commands(again) == [[b"EVAL", b"B", b"1"], [b"EVAL", b"C", b"0"]]


def test_when_all_scripts_are_known_nothing_is_sent_again():
    assert Pipeline([call(b"A", scripted=True)]).missing([1]) == ([], b"")


def test_noscript_to_a_command_that_is_no_script_is_an_error_like_others():
    # A user's own WAIT or an EVALSHA behind a proxy: there is nothing to repeat it with.
    assert missing_scripts(call(b"A"), [NOSCRIPT]) == []


def test_an_error_reply_is_raised_by_the_call_that_got_it():
    first = Call("first", b"", single("first", int))
    with pytest.raises(ServerReplyError, match="first: the server refused"):
        Pipeline([first]).results([error("ERR no")])
