"""The table of keys."""

import pytest

from chasquimq._core.keys import QueueKeys
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError


def test_every_key_of_a_queue_has_its_documented_name():
    keys = QueueKeys("発送 1")
    tag = "{chasqui:発送 1}:".encode()
    made = {
        keys.stream: b"stream",
        keys.delayed: b"delayed",
        keys.dlq: b"dlq",
        keys.events: b"events",
        keys.repeat: b"repeat",
        keys.promoter_lock: b"promoter:lock",
        keys.scheduler_lock: b"scheduler:lock",
        keys.dedup_marker("a:b"): b"dlid:a:b",
        keys.delayed_index("a:b"): b"didx:a:b",
        keys.result("é"): "result:é".encode(),
        keys.repeat_spec("tick::every:1"): b"repeat:spec:tick::every:1",
        keys.wake: b"wake",
        keys.scheduler_wake: b"wake:scheduler",
    }
    assert {key.removeprefix(tag) for key in made} == set(made.values())
    for key, kind in made.items():
        assert key == tag + kind


def test_a_name_is_used_verbatim():
    assert QueueKeys("a}b:{c}").stream == b"{chasqui:a}b:{c}}:stream"
    assert QueueKeys(" a ").name == " a "


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_queue_name_is_refused(blank):
    with pytest.raises(InvalidOptionError, match="blank"):
        QueueKeys(blank)


def test_a_queue_name_has_up_to_1024_bytes():
    QueueKeys("é" * 512)
    with pytest.raises(InvalidOptionError, match="1025 bytes"):
        QueueKeys("é" * 512 + "x")


@pytest.mark.parametrize("wrong", [None, 5, b"q"])
def test_a_queue_name_is_a_text(wrong):
    with pytest.raises(InvalidOptionTypeError, match="queue name"):
        QueueKeys(wrong)


def test_a_queue_name_that_is_not_utf_8_is_refused():
    with pytest.raises(InvalidOptionError, match="UTF-8"):
        QueueKeys("\udfff")
