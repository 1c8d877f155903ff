"""Who is called at which event."""

import threading

import pytest

from chasquimq._core.listeners import WORKER_EVENTS, Listeners
from chasquimq.errors import InvalidOptionError, InvalidOptionTypeError


@pytest.fixture
def listeners():
    return Listeners(WORKER_EVENTS)


def test_listeners_are_called_in_the_order_of_their_registration(listeners):
    calls = [print, repr, print]
    for call in calls:
        assert listeners.add("active", call, once=False) is call
    assert listeners.take("active") == calls
    assert listeners.take("active") == calls
    assert listeners.take("failed") == []


def test_nobody_listens_until_somebody_does(listeners):
    assert "active" not in listeners.listened
    listeners.add("active", print, once=False)
    assert "active" in listeners.listened
    listeners.remove("active", print)
    assert "active" not in listeners.listened


def test_once_is_once(listeners):
    listeners.add("active", print, once=True)
    listeners.add("active", repr, once=False)
    assert listeners.take("active") == [print, repr]
    assert listeners.take("active") == [repr]
    listeners.add("ready", print, once=True)
    listeners.take("ready")
    assert "ready" not in listeners.listened


def test_without_a_listener_it_is_a_decorator_that_leaves_the_function_alone(listeners):
    @listeners.add("completed", None, once=False)
    def listener(job, result, prev):
        return job, result, prev

    assert listeners.take("completed") == [listener]
    assert listener(1, 2, 3) == (1, 2, 3)


def test_one_registration_is_taken_back_at_a_time(listeners):
    listeners.add("active", print, once=False)
    listeners.add("active", print, once=True)
    listeners.remove("active", print)
    assert listeners.take("active") == [print]
    assert listeners.take("active") == []
    listeners.remove("active", print)


def test_a_bound_method_is_found_again(listeners):
    class Counter:
        def count(self):
            pass

    counter = Counter()
    listeners.add("active", counter.count, once=False)
    listeners.remove("active", counter.count)
    assert "active" not in listeners.listened


@pytest.mark.parametrize("act", [lambda e, x: x.add(e, print, once=False), lambda e, x: x.remove(e, print)])
def test_an_unknown_event_is_refused_with_the_known_ones(listeners, act):
    with pytest.raises(InvalidOptionError, match=r"'complete'.*completed"):
        act("complete", listeners)


@pytest.mark.parametrize("wrong", [5, "print", [print]])
def test_a_listener_is_a_function(listeners, wrong):
    with pytest.raises(InvalidOptionTypeError, match="listener"):
        listeners.add("active", wrong, once=False)


def test_a_listener_for_one_time_is_taken_by_one_thread_only(listeners):
    taken = []
    start = threading.Barrier(8)

    def take():
        start.wait()
        taken.extend(listeners.take("active"))

    for _ in range(20):
        listeners.add("active", print, once=True)
        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert taken == [print] * 20
