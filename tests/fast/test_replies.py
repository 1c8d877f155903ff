"""Whatever the server sends, in whatever pieces it arrives: the entries are those of hiredis and ``parse_entries``."""

import itertools

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

STREAM = b"{chasqui:q}:stream"
LIMIT = 200


def bulk(text):
    return b"$%d\r\n%b\r\n" % (len(text), text)


def array(*items):
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def entry(entry_id=b"1-1", fields=(), columns=(5, 1)):
    numbers = [b":%d\r\n" % number for number in columns]
    return array(bulk(entry_id), array(*(bulk(part) for part in fields)), *numbers)


def reply_of(*entries, stream=STREAM, resp=3):
    head = b"%1\r\n" if resp == 3 else b"*1\r\n*2\r\n"
    return head + bulk(stream) + array(*entries)


def shown(parsed):
    names = [
        *("entry_id", "job_id", "payload", "name", "created_at_ms", "attempt", "max_attempts", "backoff", "raw"),
        *("deliveries", "idle_ms", "fault", "detail"),
    ]
    return [{name: getattr(each, name) for name in names} for each in parsed]


def read(reader, pieces):
    """All replies in these pieces."""
    replies = []
    for piece in pieces:
        reader.feed(piece, 0, len(piece))
        while (reply := reader.gets()) is not False:
            replies.append(reply)
    return replies


def cut(stream, places):
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


def check(fast, stream, places=()):
    """Every reply in ``stream`` as our reader gives it and as hiredis does."""
    reader = fast.replies.EntryReader(hiredis.Reader(), STREAM, LIMIT)
    expected = read(hiredis.Reader(), [stream])
    given_ = read(reader, cut(stream, places))
    assert len(given_) == len(expected)
    assert not reader.has_data()
    for mine, plain in zip(given_, expected, strict=True):
        if isinstance(plain, hiredis.ReplyError):
            assert (type(mine), str(mine)) == (type(plain), str(plain))
            continue
        try:
            wanted = fast.entries.parse_entries(plain, LIMIT)
        except ValueError:
            assert mine == plain
        else:
            assert shown(fast.entries.parse_entries(mine, LIMIT)) == shown(wanted)


def envelope(fast, payload=b"\x01"):
    return fast.envelope.encode_envelope("job-1", payload, 1795489905760, 2, b"\xc0")


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("columns", [(), (5, 1), (0, 0), (7,), (1, 2, 3), (-1, -5), (10**17, 10**18)])
def test_entries_in_every_form(fast, resp, columns):
    raw = envelope(fast)
    check(fast, reply_of(entry(b"1-1", [b"d", raw, b"n", b"mail"], columns), resp=resp))


def test_only_the_compiled_reader_parses_while_it_reads(fast):
    reader = fast.replies.EntryReader(hiredis.Reader(), STREAM, LIMIT)
    stream = reply_of(entry(fields=[b"d", envelope(fast)]), entry(fields=[b"d", envelope(fast)]))
    (reply,) = read(reader, [stream])
    assert (type(reply) is fast.entries.StreamReply) == (fast.implementation == "cython")
    assert [each.job_id for each in fast.entries.parse_entries(reply, LIMIT)] == ["job-1", "job-1"]


def test_every_cut_of_a_reply(fast):
    raw = envelope(fast)
    stream = reply_of(
        entry(b"1-1", [b"d", raw, b"n", b"mail"]), entry(b"1-2", [b"d", raw], ()), entry(b"2-0", [b"n", b"x"])
    )
    for place in range(len(stream)):
        check(fast, stream + stream, [place, place + 7])


def test_byte_by_byte(fast):
    stream = reply_of(entry(fields=[b"d", envelope(fast)])) + b"_\r\n" + reply_of(entry(fields=[b"d", b"\xc1"]), resp=2)
    check(fast, stream, range(len(stream)))


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"d"],
        [b"n", b"mail"],
        [b"d", b""],
        [b"d", b"\xc1"],
        [b"d", b"x" * 201],
        [b"d", b"first", b"d", b"second"],
        [b"n", b"\xff", b"d", b"\x01"],
        [b"other", b"1", b"d", b"\x01", b"n", b""],
        [part for number in range(40) for part in (b"f%d" % number, b"v")],
    ],
)
@pytest.mark.parametrize("resp", [2, 3])
def test_fields_of_all_kinds(fast, fields, resp):
    check(fast, reply_of(entry(b"1-1", fields), entry(b"1-2", [b"d", envelope(fast), b"n", b"mail"]), resp=resp))


@pytest.mark.parametrize(
    "stream",
    [
        b"_\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"%0\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"-NOGROUP No such key\r\n",
        b"$5\r\nhello\r\n",
        b"*2\r\n$3\r\n0-0\r\n*0\r\n",
        reply_of(),
        reply_of(stream=b"{chasqui:other}:stream"),
        reply_of(entry(fields=[b"d", b"1"]), stream=b"{chasqui:other}:stream"),
        b"%2\r\n" + bulk(STREAM) + b"*0\r\n" + bulk(b"other") + b"*0\r\n",
        b"%1\r\n" + bulk(STREAM) + b"*-1\r\n",
        b"%1\r\n" + bulk(STREAM) + b"_\r\n",
        reply_of(b"_\r\n"),
        reply_of(b"*-1\r\n"),
        reply_of(array(bulk(b"1-1"), b"_\r\n")),
        reply_of(array(bulk(b"1-1"), b"*-1\r\n", b":1\r\n", b":1\r\n")),
        reply_of(array(bulk(b"1-1"), b"%1\r\n" + bulk(b"d") + bulk(b"x"))),
        reply_of(array(bulk(b"1-1"), array(bulk(b"d"), b":5\r\n"))),
        reply_of(array(bulk(b"1-1"), array(bulk(b"d"), b"$-1\r\n"))),
        reply_of(array(bulk(b"1-1"), array(array(bulk(b"d"), bulk(b"x"))))),
        reply_of(array(bulk(b"1-1"))),
        reply_of(array(b":1\r\n", array())),
        reply_of(array(bulk(b"1-1"), array(), bulk(b"x"), bulk(b"y"))),
    ],
)
def test_what_is_not_plain_is_left_to_hiredis(fast, stream):
    following = reply_of(entry(fields=[b"d", envelope(fast)]))
    check(fast, stream)
    check(fast, stream + following + stream, [3, len(stream), len(stream) + 20])
    check(fast, following + stream + following, [len(following) + 1])


def test_garbage_is_refused_as_hiredis_refuses_it(fast):
    for garbage in (b"?what\r\n", b"*1\r\n*2\r\n$x\r\n", reply_of(b"?\r\n")):
        reader = fast.replies.EntryReader(hiredis.Reader(), STREAM, LIMIT)
        with pytest.raises(hiredis.ProtocolError):
            read(reader, [garbage])


def test_a_part_of_a_buffer_is_fed(fast):
    reader = fast.replies.EntryReader(hiredis.Reader(), STREAM, LIMIT)
    stream = reply_of(entry(fields=[b"d", envelope(fast)]))
    buffer = bytearray(b"before" + stream + b"behind")
    reader.feed(buffer, 6, len(stream))
    assert reader.has_data()
    assert len(fast.entries.parse_entries(reader.gets(), LIMIT)) == 1
    assert reader.gets() is False
    for offset, length in ((-1, 3), (5, len(buffer))):
        with pytest.raises(ValueError, match=r"buffer|negative"):
            reader.feed(buffer, offset, length)


def test_a_large_reply_leaves_nothing_behind(fast):
    reader = fast.replies.EntryReader(hiredis.Reader(), STREAM, 4_000_000)
    big = reply_of(
        *(entry(b"1-%d" % n, [b"d", envelope(fast, b"\xc6\x00\x03\x0d\x40" + b"x" * 200_000)]) for n in range(9))
    )
    for _ in range(2):
        (reply,) = read(reader, [big[start : start + 65_536] for start in range(0, len(big), 65_536)])
        assert [len(each.payload) for each in fast.entries.parse_entries(reply, 4_000_000)] == [200_005] * 9
        assert not reader.has_data()


TEXT = st.binary(max_size=12) | st.sampled_from([b"d", b"n", b"\r\n", b"*1\r\n"])
ENTRIES = st.lists(
    st.tuples(st.lists(TEXT, max_size=6), st.sampled_from([(), (1, 0), (99, 7)])).map(
        lambda row: entry(b"5-1", row[0], row[1])
    ),
    max_size=4,
)
REPLIES = st.tuples(ENTRIES, st.sampled_from([2, 3])).map(lambda row: reply_of(*row[0], resp=row[1]))
OTHERS = st.sampled_from([b"_\r\n", b"+OK\r\n", b"-ERR no\r\n", b":5\r\n", array(bulk(b"0-0"), array())])


@settings(deadline=None, max_examples=300)
@given(replies=st.lists(REPLIES | OTHERS, max_size=5), places=st.lists(st.integers(0, 2_000), max_size=8))
def test_any_replies_in_any_pieces(fast, replies, places):
    check(fast, b"".join(replies), places)


@settings(deadline=None, max_examples=300)
@given(
    stream=REPLIES,
    place=st.integers(0, 500),
    byte=st.binary(min_size=1, max_size=3),
    places=st.lists(st.integers(0, 500), max_size=4),
)
def test_a_damaged_reply_is_what_hiredis_makes_of_it(fast, stream, place, byte, places):
    place %= len(stream)
    damaged = stream[:place] + byte + stream[place + len(byte) :]
    plain, reader = hiredis.Reader(), fast.replies.EntryReader(hiredis.Reader(), STREAM, LIMIT)
    for piece in cut(damaged, places):
        try:
            expected = read(plain, [piece])
        except (hiredis.ProtocolError, TypeError) as error:  # TypeError: a map whose key is a list
            with pytest.raises(type(error)):
                read(reader, [piece])
            return
        found = read(reader, [piece])
        assert len(found) == len(expected)
        for mine, wanted in zip(found, expected, strict=True):
            if type(mine) is fast.entries.StreamReply:
                assert shown(mine.entries) == shown(fast.entries.parse_entries(wanted, LIMIT))
            elif not isinstance(mine, hiredis.ReplyError):
                assert repr(mine) == repr(wanted)  # error replies within lists have no equality
