"""Answers that turn a command away, told apart from all others."""

from typing import Any

import pytest

from chasquimq._core.redirect import Redirect, Turn, redirect_of
from tests.unit.resp import error


@pytest.mark.parametrize(
    ("text", "redirect"),
    [
        ("MOVED 3999 127.0.0.1:6381", Redirect(Turn.MOVED, ("127.0.0.1", 6381))),
        ("MOVED 3999 redis-2.example:6381", Redirect(Turn.MOVED, ("redis-2.example", 6381))),
        ("MOVED 3999 ::1:6381", Redirect(Turn.MOVED, ("::1", 6381))),
        ("MOVED 3999 [::1]:6381", Redirect(Turn.MOVED, ("::1", 6381))),
        ("MOVED 3999 :6381", Redirect(Turn.MOVED, ("", 6381))),
        ("ASK 3999 127.0.0.1:6381", Redirect(Turn.ASK, ("127.0.0.1", 6381))),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Redirect(Turn.LATER)),
        ("CLUSTERDOWN Hash slot not served", Redirect(Turn.ELSEWHERE)),
        ("READONLY You can't write against a read only replica.", Redirect(Turn.ELSEWHERE)),
        ("MASTERDOWN Link with MASTER is down", Redirect(Turn.ELSEWHERE)),
        ("LOADING Redis is loading the dataset in memory", Redirect(Turn.ELSEWHERE)),
        ("NOREPLICAS Not enough good replicas to write.", Redirect(Turn.ELSEWHERE)),
        (
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            Redirect(Turn.ELSEWHERE),
        ),
        ("UNBLOCKED the stream key no longer exists", Redirect(Turn.LATER)),
    ],
)
def test_what_turns_a_command_away(text: str, redirect: Redirect) -> None:
    assert redirect_of(error(text)) == redirect


@pytest.mark.parametrize(
    "reply",
    [
        b"MOVED 3999 127.0.0.1:6381",
        None,
        1,
        [error("MOVED 3999 127.0.0.1:6381")],
        error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        error("MOVED"),
        error("MOVED 1 nowhere"),
        error("ERR MOVED 3999 127.0.0.1:6381"),
        error("OOM command not allowed when used memory > 'maxmemory'."),
        error("NOSCRIPT No matching script. Please use EVAL."),
        error("ERR Script attempted to access a non local key in a cluster node script: 1, on @user_script:1."),
        error(""),
    ],
)
def test_what_does_not(reply: Any) -> None:
    assert redirect_of(reply) is None


def test_a_script_that_was_stopped_half_way_is_run_again_only_if_it_may_be() -> None:
    text = "ERR Script attempted to access a non local key in a cluster node script: 1, on @user_script:1."
    assert redirect_of(error(text), may_repeat=True) == Redirect(Turn.LATER)
