"""A run starts with everything known about its entry and ends with its times; the owner hears of the rest."""

from collections import deque
from types import SimpleNamespace

import pytest

NOW = 5_000.0
WALL = 1795489905760


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now, self.wall = NOW, WALL

    def monotonic_ms(self):
        return self.now

    def wall_ms(self):
        return self.wall


class Owner:
    """Writes down what it is asked."""

    def __init__(self):
        self.asked = []

    def doubted(self, entry):
        self.asked.append(("doubted", entry))

    def undecodable(self, job, error):
        self.asked.append(("undecodable", job, type(error).__name__))

    def tell_active(self, job):
        self.asked.append(("active", job))

    def complete_in_full(self, job, entry):
        self.asked.append(("in full", job.returnvalue, entry))


def worker(fast, *, clock=None, decode=None, events=True, keeps_values=False, listened=None):
    class Job(fast.job_state.JobState):
        __slots__ = ()

    made = SimpleNamespace(
        owner=Owner(),
        clock=clock or Clock(),
        listened=set() if listened is None else listened,
        starts=deque() if events else None,
        ends=deque(),
        Job=Job,
    )
    made.runs = fast.running.Runs(
        made.owner,
        Job,
        clock=made.clock,
        decode=decode or fast.payload.decode_payload,
        listened=made.listened,
        started=made.starts,
        completed=made.ends,
        keeps_values=keeps_values,
    )
    return made


def leased(fast, **fields):
    entry = fast.entries.Entry(b"1-1", "j-1", fields.pop("payload", b"\x01"), **fields)
    entry.lease_until = NOW + 1_000
    return entry


def test_a_start_knows_its_entry(fast):
    made = worker(fast)
    entry = leased(fast, name="mail", created_at_ms=7, attempt=2, deliveries=3, payload=b"\x81\xa1a\xc3")
    job = made.runs.start(entry)
    assert type(job) is made.Job
    assert (job.id, job.name, job.data, job.timestamp) == ("j-1", "mail", {"a": True}, 7)
    assert (job.attempts_made, job.deliveries) == (3, 3)
    assert job.processed_on == entry.started_on == WALL
    assert job._progress_sink is made.owner
    assert job._entry is entry
    assert job._started_ms == NOW
    assert list(made.starts) == [entry]
    assert made.owner.asked == []


@pytest.mark.parametrize("reason", ["lost", "over"])
def test_a_lease_in_doubt_is_not_started(fast, reason):
    made = worker(fast)
    entry = leased(fast)
    if reason == "lost":
        entry.lost = True
    else:
        made.clock.now = entry.lease_until
    assert made.runs.start(entry) is None
    assert made.owner.asked == [("doubted", entry)]
    assert not made.starts
    made.clock.now = NOW
    entry.lost = False
    assert made.runs.start(entry) is not None


def test_data_that_cannot_be_decoded_is_the_owners(fast):
    made = worker(fast)
    assert made.runs.start(leased(fast, payload=b"\xc1")) is None
    ((what, job, error),) = made.owner.asked
    assert (what, job.id, error) == ("undecodable", "j-1", "PayloadDecodeError")
    assert len(made.starts) == 1


def test_a_decoder_of_the_owners_is_used(fast):
    made = worker(fast, decode=lambda payload: ("mine", payload))
    assert made.runs.start(leased(fast)).data == ("mine", b"\x01")
    refusing = worker(fast, decode=lambda _: int("x"))
    assert refusing.runs.start(leased(fast)) is None
    assert refusing.owner.asked[0][0] == "undecodable"


def test_another_error_of_a_decoder_is_not_swallowed(fast):
    made = worker(fast, decode=lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        made.runs.start(leased(fast))


def test_a_plain_end_is_noted_with_its_times(fast):
    made = worker(fast)
    entry = leased(fast)
    job = made.runs.start(entry)
    made.clock.now += 2.5
    made.runs.complete(job, {"ok": True})
    assert job.returnvalue == {"ok": True}
    assert (entry.duration_us, entry.finished_on, job.finished_on) == (2_500, WALL + 2, WALL + 2)
    assert list(made.ends) == [entry]
    assert made.owner.asked == []


def test_time_that_runs_backwards_is_no_duration(fast):
    made = worker(fast)
    job = made.runs.start(leased(fast))
    made.clock.now -= 10
    made.runs.complete(job, None)
    assert (job._entry.duration_us, job.finished_on) == (0, WALL)


@pytest.mark.parametrize(
    ("keeps", "listened", "value", "in_full"),
    [
        (True, [], None, False),
        (True, [], 0, True),
        (False, [], 1, False),
        (False, ["completed"], None, True),
        (False, ["active"], 1, False),
    ],
)
def test_a_value_to_keep_and_a_listener_are_the_owners(fast, keeps, listened, value, in_full):
    made = worker(fast, keeps_values=keeps)
    entry = leased(fast)
    job = made.runs.start(entry)
    made.listened.update(listened)
    made.runs.complete(job, value)
    assert made.owner.asked == ([("in full", value, entry)] if in_full else [])
    assert list(made.ends) == ([] if in_full else [entry])


def test_listeners_that_come_and_go_are_seen(fast):
    made = worker(fast)
    made.runs.start(leased(fast))
    made.listened.add("active")
    job = made.runs.start(leased(fast))
    made.listened.clear()
    made.runs.start(leased(fast))
    assert made.owner.asked == [("active", job)]


def test_without_events_no_start_is_noted(fast):
    made = worker(fast, events=False)
    assert made.runs.start(leased(fast)) is not None


def test_all_ends_are_counted(fast):
    made = worker(fast, keeps_values=True)
    assert made.runs.ended == 0
    for value in (None, 1):
        made.runs.complete(made.runs.start(leased(fast)), value)
    made.runs.count_end()
    assert made.runs.ended == 3


def test_the_systems_clock_is_the_systems_clock(fast):
    made = worker(
        fast, clock=SimpleNamespace(wall_ms=fast.clock.wall_ms, monotonic_ms=fast.clock.monotonic_ms), events=False
    )
    entry = leased(fast)
    entry.lease_until = fast.clock.monotonic_ms() + 60_000
    earliest = fast.clock.wall_ms()
    job = made.runs.start(entry)
    made.runs.complete(job, None)
    assert earliest <= job.processed_on <= job.finished_on <= fast.clock.wall_ms()
    entry.lease_until = fast.clock.monotonic_ms()
    assert made.runs.start(entry) is None
