"""Dead letters and results: what a producer may look at and send back."""

import pytest

from chasquimq._core.dead_letters import DlqEntry, peek, replay, stored_result
from chasquimq._core.keys import QueueKeys
from chasquimq._fast import decode_envelope
from chasquimq.errors import (
    InvalidJobIdError,
    InvalidOptionError,
    InvalidOptionTypeError,
    PayloadDecodeError,
    ServerReplyError,
)
from tests.unit.entries import envelope
from tests.unit.resp import CLASSIC, answer, command, commands, error, scripted

KEYS = QueueKeys("q")


def letter(number, raw=None, name="w", **fields):
    raw = envelope(f"job-{number}", number, attempt=2) if raw is None else raw
    flat = [b"d", raw, b"n", name.encode(), b"source_id", b"9-9", b"reason", b"unrecoverable"]
    for field, value in fields.items():
        flat += [field.encode(), value]
    return [b"%d-0" % number, flat]


class Dlq:
    """A dead-letter queue to page over: holds what it was given, and moves what it is told to."""

    def __init__(self, letters, *, taken_by_others=()):
        self.letters = {row[0]: row for row in letters}
        self.taken_by_others = set(taken_by_others)
        self.moved = []
        self.pages = []

    def run(self, steps):
        """Runs a replay to its end."""
        try:
            call = next(steps)
            while True:
                call = steps.send(answer(call, self._reply(command(call))))
        except StopIteration as end:
            return end.value

    def _reply(self, sent):
        if sent[0] == b"XRANGE":
            verb, key, start, end, _, count = sent
            assert (verb, key, end) == (b"XRANGE", KEYS.dlq, b"+")
            after = self._number(start[1:]) if start.startswith(b"(") else -1
            page = [row for row in self.letters.values() if self._number(row[0]) > after][: int(count)]
            self.pages.append([row[0] for row in page])
            return page
        keys, arguments = scripted(sent, "replay_dead_letters", CLASSIC)
        assert keys == [KEYS.dlq, KEYS.stream]
        moved = 0
        for dlq_id, raw, name in zip(arguments[::3], arguments[1::3], arguments[2::3], strict=True):
            if dlq_id not in self.taken_by_others and self.letters.pop(dlq_id, None):
                self.moved.append((dlq_id, raw, name))
                moved += 1
        return moved

    @staticmethod
    def _number(dlq_id):
        return int(dlq_id.split(b"-")[0])


# -- peek ------------------------------------------------------------------------------------------------------


def test_peek_asks_for_the_oldest_and_may_be_repeated():
    call = peek(KEYS, 20)
    assert command(call) == [b"XRANGE", KEYS.dlq, b"-", b"+", b"COUNT", b"20"]
    assert call.idempotent


def test_a_dead_letter_shows_what_is_known_of_it():
    (entry,) = answer(peek(KEYS, 1), [letter(7, detail=b"boom", future=b"?")])
    assert (entry.dlq_id, entry.source_id, entry.reason) == ("7-0", "9-9", "unrecoverable")
    assert (entry.name, entry.detail, entry.job_id, entry.data) == ("w", "boom", "job-7", 7)
    assert decode_envelope(entry.payload).attempt == 2
    assert "boom" in repr(entry)


@pytest.mark.parametrize("raw", [b"", b"\xc1\xc1", b"not msgpack", envelope(payload=b"\xc1")])
def test_what_cannot_be_decoded_can_still_be_looked_at(raw):
    (entry,) = answer(peek(KEYS, 1), [letter(1, raw=raw)])
    assert entry.payload == raw
    assert entry.job_id == ("job-1" if raw.startswith(b"\x94") else None)
    with pytest.raises(PayloadDecodeError):
        _ = entry.data
    repr(entry)


def test_an_entry_of_another_program_has_empty_fields():
    (entry,) = answer(peek(KEYS, 1), [[b"1-0", [b"\xff", b"\xff", b"n", b"\xff\xfe"]]])
    assert (entry.source_id, entry.reason, entry.detail, entry.payload) == ("", "", None, b"")
    assert entry.name == "\ufffd\ufffd"
    assert entry.job_id is None


def test_a_repr_shows_no_data():
    secret = DlqEntry("1-0", {b"d": envelope(data="secret")})
    assert "secret" not in repr(secret)


@pytest.mark.parametrize("act", [lambda n: peek(KEYS, n), lambda n: next(replay(KEYS, CLASSIC, n))])
@pytest.mark.parametrize(
    ("wrong", "kind"), [(-1, InvalidOptionError), (1.0, InvalidOptionTypeError), (True, InvalidOptionTypeError)]
)
def test_a_limit_is_a_whole_number_from_0(act, wrong, kind):
    with pytest.raises(kind, match="limit"):
        act(wrong)


def test_peek_tells_the_servers_error():
    with pytest.raises(ServerReplyError, match="peek_dlq"):
        answer(peek(KEYS, 1), error("WRONGTYPE x"))


# -- replay ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "limit", "moves"), [(0, 5, 0), (3, 0, 0), (3, 2, 2), (3, 100, 3), (250, 230, 230)])
def test_replay_moves_the_oldest_up_to_the_limit(there, limit, moves):
    dlq = Dlq([letter(number) for number in range(1, there + 1)])
    assert dlq.run(replay(KEYS, CLASSIC, limit)) == moves
    assert [row[0] for row in dlq.moved] == [b"%d-0" % number for number in range(1, moves + 1)]
    assert len(dlq.letters) == there - moves


def test_a_replayed_job_starts_anew_with_its_own_retry_settings():
    raw = envelope("r", 5, attempt=9, max_attempts=3, backoff=("fixed", 10, None, None, 0))
    dlq = Dlq([letter(1, raw=raw, name="n"), letter(2, name="")])
    dlq.run(replay(KEYS, CLASSIC, 5))
    (_, moved, name), (_, _, no_name) = dlq.moved
    decoded = decode_envelope(moved)
    assert (decoded.job_id, decoded.attempt, decoded.max_attempts) == ("r", 0, 3)
    assert decoded.backoff == ("fixed", 10, None, None, 0)
    assert (name, no_name) == (b"n", b"")


def test_undecodable_letters_at_the_head_stand_in_nobodys_way():
    rows = [letter(number, raw=b"\xc1") for number in range(1, 251)] + [letter(251), letter(252), letter(253)]
    dlq = Dlq(rows)
    assert dlq.run(replay(KEYS, CLASSIC, 2)) == 2
    assert [row[0] for row in dlq.moved] == [b"251-0", b"252-0"]
    assert len(dlq.letters) == 251
    assert [len(page) for page in dlq.pages] == [100, 100, 53]


def test_what_another_caller_took_first_does_not_count_and_the_next_ones_are_tried():
    dlq = Dlq([letter(number) for number in range(1, 6)], taken_by_others={b"1-0", b"2-0"})
    assert dlq.run(replay(KEYS, CLASSIC, 2)) == 2
    assert [row[0] for row in dlq.moved] == [b"3-0", b"4-0"]


def test_a_queue_of_undecodable_letters_ends():
    dlq = Dlq([letter(number, raw=b"") for number in range(1, 301)])
    assert dlq.run(replay(KEYS, CLASSIC, 10)) == 0
    assert dlq.moved == []


def test_moving_is_never_repeated_blindly_and_has_its_text_for_noscript():
    steps = replay(KEYS, CLASSIC, 1)
    page = next(steps)
    assert page.idempotent
    call = steps.send(answer(page, [letter(1)]))
    assert not call.idempotent
    (again,) = commands(call.eval_form(0))
    assert again[2:] == command(call)[2:]


def test_an_error_in_the_middle_of_a_replay_is_told():
    steps = replay(KEYS, CLASSIC, 1)
    call = steps.send(answer(next(steps), [letter(1)]))
    with pytest.raises(ServerReplyError, match="replay_dlq") as told:
        answer(call, error("OOM full"))
    assert told.value.code == "OOM"


# -- results ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "value"), [(None, None), (b"\xc2", False), (b"\xa0", ""), (b"\x81\xa2ok\xc3", {"ok": True})]
)
def test_a_result_is_read_by_its_job_id(stored, value):
    call = stored_result(KEYS, "a")
    assert command(call) == [b"GET", KEYS.result("a")]
    assert call.idempotent
    assert answer(call, stored) == value


def test_a_result_that_is_not_ours_is_a_payload_error():
    with pytest.raises(PayloadDecodeError):
        answer(stored_result(KEYS, "a"), b"\xc1")
    with pytest.raises(InvalidJobIdError):
        stored_result(KEYS, " ")
