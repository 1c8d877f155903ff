"""Ids rise strictly and are never minted twice: not in a millisecond, in threads, or after a fork."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
FORM = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LAST_RANDOM = "Z" * 16


def number_in(ulid):
    number = 0
    for character in ulid:
        number = number * 32 + ALPHABET.index(character)
    return number


def constant_source(fast, byte):
    return fast.ulid.UlidSource(lambda size: bytes([byte]) * size)


def test_form_and_time(fast):
    before = time.time_ns() // 1_000_000
    ulid = fast.ulid.mint_ulid()
    after = time.time_ns() // 1_000_000
    assert FORM.fullmatch(ulid)
    assert ulid.isascii()
    # The sequence may run ahead of the clock only when 80 bits overflow.
    assert before <= fast.ulid.ulid_timestamp_ms(ulid) <= after


def test_ids_rise_strictly(fast):
    ulids = [fast.ulid.mint_ulid() for _ in range(3000)]
    ulids += fast.ulid.mint_ulids(3000)
    ulids.append(fast.ulid.mint_ulid())
    assert ulids == sorted(set(ulids))


@pytest.mark.parametrize("count", [0, 1, 100])
def test_many_at_once(fast, count):
    ulids = fast.ulid.mint_ulids(count)
    assert len(set(ulids)) == count
    assert all(FORM.fullmatch(ulid) for ulid in ulids)


def test_a_negative_count_is_refused(fast):
    with pytest.raises(ValueError, match="-1"):
        fast.ulid.mint_ulids(-1)


@given(ms=st.integers(0, 2**48 - 1), random=st.binary(min_size=10, max_size=10))
@settings(derandomize=True, deadline=None, database=None, max_examples=300)
def test_the_bits_are_time_then_random(twins, ms, random):
    for fast in twins:
        ulid = fast.ulid.UlidSource(lambda size: random * (size // 10)).mint(ms)
        assert number_in(ulid) == ms << 80 | int.from_bytes(random, "big")
        assert fast.ulid.ulid_timestamp_ms(ulid) == ms


def test_within_a_millisecond_the_random_part_counts_up(fast):
    source = constant_source(fast, 0x42)
    first, second, third = (number_in(source.mint(1000)) for _ in range(3))
    assert (second - first, third - second) == (1, 1)


def test_the_low_word_carries_into_the_high_one(fast):
    source = fast.ulid.UlidSource(lambda size: (b"\x00\x07" + b"\xff" * 8) * (size // 10))
    first, second = (number_in(source.mint(1000)) for _ in range(2))
    assert second - first == 1


def test_a_clock_set_back_keeps_the_last_millisecond(fast):
    source = constant_source(fast, 0x42)
    first = source.mint(1000)
    second = source.mint(400)
    assert fast.ulid.ulid_timestamp_ms(second) == 1000
    assert number_in(second) == number_in(first) + 1


def test_an_exhausted_millisecond_borrows_the_next(fast):
    source = constant_source(fast, 0xFF)
    assert source.mint(1000).endswith(LAST_RANDOM)
    second = source.mint(1000)
    assert fast.ulid.ulid_timestamp_ms(second) == 1001
    assert second.endswith(LAST_RANDOM)
    assert fast.ulid.ulid_timestamp_ms(source.mint(1000)) == 1002


def test_every_millisecond_draws_fresh_bits(fast):
    drawn = []

    def random_bytes(size):
        drawn.append(bytes((len(drawn) + index) % 251 for index in range(size)))
        return drawn[-1]

    source = fast.ulid.UlidSource(random_bytes)
    parts = [number_in(source.mint(ms)) & (1 << 80) - 1 for ms in range(1, 500)]
    pool = b"".join(drawn)
    assert parts == [int.from_bytes(pool[start : start + 10], "big") for start in range(0, 4990, 10)]
    assert len(drawn) < 10


def test_a_short_random_source_is_refused(fast):
    with pytest.raises(ValueError, match="random source"):
        fast.ulid.UlidSource(lambda size: b"xy").mint(1)


def test_threads_never_share_an_id(fast):
    minted: list[list[str]] = []

    def mint():
        minted.append([fast.ulid.mint_ulid() for _ in range(2000)] + fast.ulid.mint_ulids(500))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=mint) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert all(ulids == sorted(ulids) for ulids in minted)
    assert len({ulid for ulids in minted for ulid in ulids}) == 8 * 2500


FORK = """
import os, sys
from importlib import import_module
mint_ulids = import_module(sys.argv[1]).mint_ulids
mint_ulids(1)
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.write(write_end, "".join(mint_ulids(200)).encode())
    os._exit(0)
os.close(write_end)
ours = mint_ulids(200)
os.wait()
data = open(read_end).read()
theirs = [data[start : start + 26] for start in range(0, len(data), 26)]
assert len(theirs) == 200
print(len({ulid[10:] for ulid in ours} & {ulid[10:] for ulid in theirs}))
"""


def test_a_forked_child_mints_other_ids(fast):
    # Compared without the time: parent and child would draw the same random bits also in later milliseconds.
    result = subprocess.run(
        [sys.executable, "-c", FORK, f"{fast.package}.ulid"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 25,
        "0" * 27,
        "0" * 25 + "U",
        "0" * 25 + "I",
        "0" * 25 + "l",
        "0" * 25 + "é",
        "8" + "0" * 25,
        "0" * 25 + " ",
    ],
)
def test_no_ulid(fast, text):
    with pytest.raises(ValueError, match="ULID"):
        fast.ulid.ulid_timestamp_ms(text)


@pytest.mark.parametrize("wrong", [None, 5, b"0" * 26])
def test_no_text(fast, wrong):
    with pytest.raises(TypeError):
        fast.ulid.ulid_timestamp_ms(wrong)


@pytest.mark.parametrize(
    ("ulid", "ms"), [("0" * 26, 0), ("7" + "Z" * 25, 2**48 - 1), ("01ARYZ6S41TSV4RRFFQ69G5FAV", 1469918176385)]
)
def test_times(fast, ulid, ms):
    assert fast.ulid.ulid_timestamp_ms(ulid) == ms
