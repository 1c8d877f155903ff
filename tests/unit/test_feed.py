"""Events that wait for an iterating reader: in order, bounded, and honest about what was lost."""

from __future__ import annotations

import pytest

from chasquimq._core import feed as module
from chasquimq._core.feed import CAPACITY, Feed
from chasquimq.events import Gap, Waiting


def event(number):
    return Waiting(event_id=f"{number}-0", job_id=str(number))


def taken(feed):
    found = []
    while (each := feed.take()) is not None:
        found.append(each)
    return found


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "CAPACITY", 3)
    return Feed()


def test_an_empty_feed_gives_nothing():
    feed = Feed()
    assert feed.take() is None
    assert len(feed) == 0


def test_events_come_out_in_order_and_once(small):
    for number in range(3):
        small.put(event(number))
    assert len(small) == 3
    assert taken(small) == [event(0), event(1), event(2)]
    assert small.take() is None


def test_the_oldest_are_lost_and_a_gap_stands_in_their_place(small):
    for number in range(1, 6):
        small.put(event(number))
    assert len(small) == 3
    assert small.take() == Gap(event_id="3-0", after="1-0")
    assert taken(small) == [event(3), event(4), event(5)]


def test_each_overflow_is_told(small):
    for number in range(4):
        small.put(event(number))
    assert isinstance(small.take(), Gap)
    assert small.take() == event(1)
    small.put(event(4))
    small.put(event(5))
    assert small.take() == Gap(event_id="3-0", after="2-0")
    assert taken(small) == [event(3), event(4), event(5)]


def test_an_event_without_any_loss_has_no_gap_before_it(small):
    for number in range(3):
        small.put(event(number))
        assert small.take() == event(number)
    assert small.take() is None


def test_the_real_capacity_holds_ten_thousand():
    feed = Feed()
    for number in range(CAPACITY):
        feed.put(event(number))
    assert CAPACITY == len(feed) == 10_000
    assert feed.take() == event(0)
