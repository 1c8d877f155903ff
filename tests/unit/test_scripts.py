"""Scripts as a server gets them."""

import hashlib

import pytest

from chasquimq._core.scripts import load_script
from tests.unit.resp import CLASSIC, NEWEST, XACKDEL, commands

FORMS = pytest.mark.parametrize("profile", [CLASSIC, XACKDEL, NEWEST], ids=lambda p: p.version)


@FORMS
def test_a_script_is_sent_by_its_digest_and_when_that_is_unknown_by_its_text(profile):
    script = load_script("ack_owned", profile)
    (by_digest,) = commands(script.evalsha([b"k"], [b"a", "é", 5]))
    (by_text,) = commands(script.eval([b"k"], [b"a", "é", 5]))
    assert by_digest == [
        b"EVALSHA",
        hashlib.sha1(by_text[1], usedforsecurity=False).hexdigest().encode(),
        b"1",
        b"k",
        b"a",
        "é".encode(),
        b"5",
    ]
    assert by_text[0] == b"EVAL"
    assert by_text[2:] == by_digest[2:]


@FORMS
def test_includes_are_put_in_and_comments_left_out(profile):
    text = load_script("retry_jobs", profile).text.decode()
    assert text.startswith("#!lua flags=allow-oom\n")
    for function in ("ack_and_delete_all", "owns", "server_now_ms", "wake_promoter", "write_event"):
        assert text.count(f"local function {function}(") == 1
    assert "--" not in text
    assert "@include" not in text


def test_the_form_follows_the_servers_ability():
    assert b"XACKDEL" in load_script("ack_owned", XACKDEL).text
    assert b"XACKDEL" not in load_script("ack_owned", CLASSIC).text
    assert load_script("ack_owned", CLASSIC).sha1 != load_script("ack_owned", XACKDEL).sha1
    assert load_script("add_unique", CLASSIC).sha1 == load_script("add_unique", NEWEST).sha1


def test_a_script_is_put_together_once():
    assert load_script("ack_owned", XACKDEL) is load_script("ack_owned", NEWEST)


def test_a_script_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        load_script("no_such_script", CLASSIC)
