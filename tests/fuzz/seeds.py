"""Inputs to begin with: what the reference implementation wrote, and one of each form that is accepted or refused.

A fuzzer finds its way from here faster than from nothing; ``test_replay`` gives each of them, and what it makes of
them, to its target in every run of the suite. They are made, not stored: a changed format of inputs changes them too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from tests.fuzz.source import packed

_VECTORS = Path(__file__).parents[1] / "vectors"
REGRESSIONS = Path(__file__).with_name("regressions")
TOKENS = (
    *(b"*1\r\n", b"*-1\r\n", b"$-1\r\n", b"$999999999\r\n", b"%1\r\n", b"_\r\n", b"\r\n", b":0\r\n", b"-ERR x\r\n"),
    # Headers of MessagePack that announce much, times, NaN, nesting.
    *(
        b"\xdd\xff\xff\xff\xff",
        b"\xdc\x7f\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
    ),
    *(b"\xd6\xff\x00\x00\x00\x01", b"\xd7\xff" + b"\xff" * 8, b"\xc7\x0c\xff" + b"\x7f" * 12),
    *(b"\xcb\x7f\xf8" + b"\0" * 6, b"\x91" * 70, b"\x81\x01" * 70, b"\x90", b"\x80", b"\xc0", b"\xc1"),
    *(b"\xff", b"\x00", b"}", b"{", b"\n", b"\xed\xa0\x80"),
    *(b"9" * 30, b"-1", b"1e308", b"NaN", b"*/5", b"L", b"#", b"W", b"@", b":", b"%00", b"%s", b"[::1]", b"?ssl=1"),
)


def seeds(target: str) -> list[bytes]:
    """The seeds of a target, then its regressions."""
    return [*_MAKERS[target](), *(path.read_bytes() for path in sorted(REGRESSIONS.glob(f"{target}/*")))]


def mutations(target: str, count: int, seed: int = 0) -> Iterator[bytes]:
    """Inputs near the seeds: bytes changed, cut out, doubled, or replaced by something known to be awkward."""
    chance = random.Random(f"{target} {seed}")
    known = seeds(target)
    for _ in range(count):
        data = bytearray(chance.choice(known)[:4_096])
        for _ in range(chance.randint(1, 4)):
            start = chance.randint(0, len(data))
            end = min(len(data), start + chance.choice([0, 1, 2, 9, 40]))
            kind = chance.randrange(5)
            if kind == 0:
                data[start:end] = chance.randbytes(end - start or 1)
            elif kind == 1:
                del data[start:end]
            elif kind == 2:
                data[start:start] = data[start:end]
            elif kind == 3:
                data[start:end] = chance.choice(TOKENS)
            else:
                other = chance.choice(known)
                data[start:end] = other[chance.randint(0, len(other)) :][:200]
        yield bytes(data)


def _vectors() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((_VECTORS / "vectors.json").read_text())["vectors"]
    return vectors


def _fields() -> Iterator[dict[str, str]]:
    """The fields of every stream entry in the vectors."""
    for vector in _vectors():
        if vector["kind"] == "events":
            continue
        yield from map(dict, vector.get("entries", [vector["fields"]] if "fields" in vector else []))


def _envelopes() -> list[bytes]:
    backoff = {"kind": "exponential", "delay_ms": 1, "max_delay_ms": None, "multiplier": 1.5, "jitter_ms": 4}
    as_map = {"id": "j", "payload": b"\x01", "created_at_ms": 1, "attempt": 2, "retry": [None, backoff], "x": [1]}
    return [
        *(bytes.fromhex(fields["d"]) for fields in _fields() if fields.get("d")),
        msgpack.packb(as_map),
        msgpack.packb([b"j", [1, 2, 255], 2**64 - 1]),
        msgpack.packb(["j", {"inline": [1.5, None]}, 1, 2**32 - 1, {"max_attempts": 3, "backoff": None}]),
        msgpack.packb({key.encode(): value for key, value in as_map.items()}),
        msgpack.packb(["j" * 40, b"x" * 300, 1, 0, [5, ["fixed", 2**64 - 1, None, None, None]]]) + b"more",
        b"\xde\x00\x03\xa2id\xa1j\xa7payload\xc4\x00\xadcreated_at_ms\x00",
        b"",
    ]


def _members() -> list[bytes]:
    return [
        *(bytes.fromhex(vector["member"]) for vector in _vectors() if vector["kind"] == "delayed_member"),
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff" + _envelopes()[0],
        b"\x03\x00\x00",
    ]


def _payloads() -> list[bytes]:
    return [
        *(msgpack.packb(value) for value in ({"to": "ada", "n": [1, -1, 2.5, None, True, b"x"]}, "x" * 40, [[[]]], {})),
        msgpack.packb({1: {2: {3: [2**64 - 1, -(2**63), 128, -33]}}, b"k": "é"}),
        msgpack.packb([msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 5), {msgpack.ExtType(1, b""): 1}]),
        b"\x91" * 63 + b"\x01",
        b"\x91" * 512 + b"\x01",
        b"\xdc\x00\x02\x01\xde\x00\x01\xd9\x01x\xca\x00\x00\x00\x00",
    ]


def _specs() -> list[bytes]:
    every = ["key", "name", {"Every": [1_000]}, b"\xc4\x01\x01", 5, 1, 2**53, 0]
    in_words = {"key": "k", "job_name": "n", "pattern": {"Cron": {"expression": "*/5 * * * * *", "tz": "Asia/Tokyo"}}}
    return [
        *(bytes.fromhex(vector["spec"]) for vector in _vectors() if vector["kind"] == "repeat_spec"),
        msgpack.packb(every),
        msgpack.packb([*every[:2], {"Cron": ["0 2 L * *", None]}, b"\x81\xa1a\x01", *every[4:], "FireOnce"]),
        msgpack.packb([*every, {"FireAll": [100]}, [3, ["exponential", 1, 2, 1.5, 4]]]),
        msgpack.packb({**in_words, "payload": b"\xc4\x00", "missed_fires": {"FireAll": {"max_catchup": 2}}}),
        msgpack.packb({**in_words, "payload": b"\x01", "retry": {"max_attempts": 2, "backoff": {"kind": "fixed"}}}),
    ]


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _entry(*fields: bytes, columns: bytes = b":5\r\n:1\r\n") -> bytes:
    count = 2 + columns.count(b"\n")
    return b"*%d\r\n" % count + _bulk(b"1-1") + b"*%d\r\n" % len(fields) + b"".join(map(_bulk, fields)) + columns


def _replies() -> list[bytes]:
    job = _envelopes()[0]
    rows = _entry(b"d", job, b"n", b"mail"), _entry(b"d", job, columns=b""), _entry(b"n", b"\xff", b"d", b"\xc1")
    listed = b"*3\r\n" + b"".join(rows)
    key = _bulk(b"{chasqui:q}:stream")
    streams = b"%1\r\n" + key + listed, b"*1\r\n*2\r\n" + key + listed
    odd = (
        b"_\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"-NOGROUP x\r\n",
        b"*2\r\n$3\r\n0-0\r\n*1\r\n_\r\n",
        b"(12345678901234567890\r\n",
    )
    return [
        *streams,
        listed,
        streams[0] + b"_\r\n" + streams[1],
        *odd,
        b",1.5\r\n",
        b"#t\r\n",
        b"=5\r\ntxt:a\r\n",
        b"~1\r\n:1\r\n",
    ]


def _crons() -> list[bytes]:
    rows = json.loads((_VECTORS / "cron.json").read_text())["rows"]
    return [
        packed(number % 8, *([1, row["tz"]] if row["tz"] else [0])) + row["expression"].encode()
        for number, row in enumerate(rows)
    ]


def _events() -> list[bytes]:
    values = "1795489905760", "-5", "٣", "1_0", "9" * 5_000, " 7 ", "[1, {}]", "[" * 2_000, "NaN", ""
    names = range(12)
    return [
        packed(kind, *(part for name in names for part in (1, name, value))) for kind in range(9) for value in values
    ]


def _urls() -> list[bytes]:
    rests = (
        *(
            "localhost:6379/0",
            "[::1]:6379/15?client_name=x",
            "h",
            "h:0",
            "h:99999",
            "h:x/1",
            "/path?db=1",
            "a,b:2,c/m/3",
        ),
        *(
            "h/%2F?ssl_cert_reqs=none",
            "h?socket_timeout=5",
            "h/0#f",
            "[::1/0",
            "h/-1",
            "h?db=x&db=1",
            "a:1,b:2?password=p",
        ),
    )
    return [
        packed(scheme, user, password, 1) + rest.encode()
        for number, rest in enumerate(rests)
        for scheme, user, password in [(number % 15, "", ""), ((number * 2) % 8, "user", "p@:/#?[%")]
    ]


def _cut_replies() -> list[bytes]:
    places = bytes([0, 7, 0, 90, 0, 33, 1, 3])
    return [packed(cuts) + places[: 2 * cuts] + reply for cuts in (0, 4) for reply in _replies()]


def _requests() -> list[bytes]:
    steps = b"".join(packed(kind, "job-1", "payload", 200, 5, "name", 2) for kind in range(5))
    return [packed("stream", producer, 5) + steps for producer in range(3)]


def _redirects() -> list[bytes]:
    texts = (
        *("MOVED 3999 127.0.0.1:6381", "ASK 1 ::1:7", "MOVED 1 :99999", "MOVED 1 [::1]:x", "NOSCRIPT x", "READONLY"),
        *("UNBLOCKED instance state changed", "ERR non local key in a cluster node", f"MOVED 1 h:{'9' * 5_000}", ""),
    )
    return [text.encode() for text in texts]


def _data() -> list[bytes]:
    of_each_kind = [bytes([kind, 3, 5, 97, 98, 99, 0, 1, 2, 3, 250, 13]) for kind in range(24)]
    return [*of_each_kind, bytes([17, 2, 200]), bytes([6, 255, 255, 7, 0])]


def _dead_letters() -> list[bytes]:
    rest = (1, "name", 2, "retries_exhausted", 3, "Traceback …", 4, "1-1")
    return [packed(0, each, *rest) for each in (*_envelopes(), b"\xc1")]


def _options() -> list[bytes]:
    """A valid pattern or interval, and any value for one option."""
    bases = (0, 6, 0), (1, 3, 60)
    values = [(kind, value) for kind in range(8) for value in range(8)]
    return [packed(2, *base, option, *value) for base in bases for option in range(7) for value in values]


_MAKERS = {
    "replies": _cut_replies,
    "entries": _replies,
    "requests": _requests,
    "redirect": _redirects,
    "envelope": _envelopes,
    "member": _members,
    "payload": _payloads,
    "data": _data,
    "dead_letter": _dead_letters,
    "spec": _specs,
    "cron": _crons,
    "options": _options,
    "url": _urls,
    "event": _events,
}
