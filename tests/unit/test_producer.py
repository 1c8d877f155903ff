"""Every way an add travels, as the bytes that a server receives (docs/wire-format.md, sections 4 to 6)."""

from datetime import UTC, datetime, timedelta

import pytest

from chasquimq._core.keys import QueueKeys
from chasquimq._core.producer import ProducerSettings, Producing, producer_settings
from chasquimq._fast import decode_envelope, decode_member, decode_payload
from chasquimq.errors import (
    AuthenticationError,
    InvalidJobIdError,
    InvalidOptionError,
    InvalidOptionTypeError,
    NotSupportedError,
    PayloadEncodeError,
    PayloadTooLargeError,
    ServerReplyError,
)
from chasquimq.options import BackoffSpec, JobsOptions, QueueOptions
from tests.unit.clock import FakeClock
from tests.unit.resp import CLASSIC, NEWEST, XACKDEL, answer, command, commands, error, pairs, scripted

KEYS = QueueKeys("q")
PRODUCER_ID = "01447038-ef32-4d64-b8ac-c25a2e0efa91"
NOW = FakeClock().wall_ms()
PROFILES = pytest.mark.parametrize("profile", [CLASSIC, XACKDEL, NEWEST], ids=lambda p: p.version)


def producing(**options):
    settings = producer_settings(QueueOptions(**options))
    return Producing(KEYS, settings, now_ms=FakeClock().wall_ms, producer_id=PRODUCER_ID)


def added(producer, profile, name="w", data=None, **given):
    """The Call that adds one job, and the job."""
    job = producer.new_job(name, data, producer.options(given.pop("opts", None), given))
    return producer.add(job, profile), job


def at(offset_ms):
    return datetime.fromtimestamp((NOW + offset_ms) / 1000, UTC)


# -- immediate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [CLASSIC, XACKDEL], ids=lambda p: p.version)
def test_a_plain_add_is_one_xadd_that_trims_nothing(profile):
    call, job = added(producing(), profile, "welcome", {"to": "ada"})
    verb, key, star, field, envelope, *rest = command(call)
    assert (verb, key, star, field) == (b"XADD", KEYS.stream, b"*", b"d")
    assert rest == [b"n", b"welcome"]
    decoded = decode_envelope(envelope)
    assert (decoded.job_id, decoded.created_at_ms, decoded.attempt) == (job.job_id, NOW, 0)
    assert decode_payload(decoded.payload) == {"to": "ada"}
    assert (decoded.max_attempts, decoded.backoff) == (None, None)
    assert len(job.job_id) == 26
    assert call.eval_form is None
    assert not call.idempotent


def test_where_the_server_has_idmp_a_plain_add_is_safe_to_repeat():
    call, job = added(producing(), NEWEST, "welcome", 1)
    assert command(call)[:6] == [b"XADD", KEYS.stream, b"IDMP", PRODUCER_ID.encode(), job.job_id.encode(), b"*"]
    assert call.idempotent


@PROFILES
def test_an_empty_name_is_left_out(profile):
    assert command(added(producing(), profile, "")[0])[-2] == b"d"


@PROFILES
@pytest.mark.parametrize("delay", [0, 0.5, timedelta(microseconds=999), at(0), at(-60_000)])
def test_what_is_due_already_goes_straight_into_the_stream(profile, delay):
    assert command(added(producing(), profile, delay=delay)[0])[0] == b"XADD"


def test_the_envelope_carries_attempts_backoff_and_timestamp():
    given = {"attempts": 7, "backoff": BackoffSpec.exponential(100, multiplier=3.0), "timestamp": NOW - 5}
    envelope = pairs(command(added(producing(), CLASSIC, **given)[0])[3:])[b"d"]
    decoded = decode_envelope(envelope)
    assert (decoded.max_attempts, decoded.backoff) == (7, ("exponential", 100, None, 3.0, None))
    assert decoded.created_at_ms == NOW - 5


# -- with a caller's id ----------------------------------------------------------------------------------------


@PROFILES
def test_a_job_id_takes_the_marker_script_on_every_server(profile):
    call, job = added(producing(), profile, "w", [1], job_id="my-id")
    keys, (window, token, envelope, name) = scripted(command(call), "add_unique", profile)
    assert keys == [KEYS.stream, KEYS.dedup_marker("my-id")]
    assert (window, name, job.job_id) == (b"3600", b"w", "my-id")
    assert decode_envelope(envelope).job_id == "my-id"
    assert len(token) == 26
    assert call.idempotent


def test_each_add_has_a_token_of_its_own_and_its_repetition_has_the_same():
    call, _ = added(producing(), CLASSIC, job_id="a")
    other, _ = added(producing(), CLASSIC, job_id="a")
    assert scripted(command(call), "add_unique", CLASSIC)[1][1] != scripted(command(other), "add_unique", CLASSIC)[1][1]
    (evaluated,) = commands(call.eval_form(0))
    assert evaluated[0] == b"EVAL"
    assert evaluated[2:] == command(call)[2:]


@PROFILES
@pytest.mark.parametrize(("reply", "duplicate"), [(1, False), (0, True)])
def test_the_answer_says_whether_the_job_is_a_duplicate(profile, reply, duplicate):
    call, _ = added(producing(), profile, job_id="a")
    assert answer(call, reply) is duplicate
    call, _ = added(producing(), profile, job_id="a", delay=5)
    assert answer(call, reply) is duplicate


@PROFILES
def test_an_add_without_an_id_is_never_a_duplicate(profile):
    assert answer(added(producing(), profile)[0], b"1-1") is False
    assert answer(added(producing(), profile, delay=5)[0], NOW + 5) is False


# -- delayed ---------------------------------------------------------------------------------------------------


@PROFILES
def test_a_delay_is_counted_from_the_servers_clock(profile):
    call, job = added(producing(), profile, "発送", [1, 2], delay=60_000)
    keys, (delay, due, member) = scripted(command(call), "add_delayed", profile)
    assert keys == [KEYS.delayed, KEYS.wake]
    assert (delay, due) == (b"60000", b"0")
    name, envelope = decode_member(member)
    assert name.decode() == "発送"
    assert decode_envelope(envelope).job_id == job.job_id
    assert job.delay_ms == 60_000
    assert call.idempotent


@PROFILES
def test_an_instant_is_written_as_it_was_given(profile):
    call, job = added(producing(), profile, delay=at(60_000))
    _, (delay, due, _) = scripted(command(call), "add_delayed", profile)
    assert (delay, due) == (b"", b"%d" % (NOW + 60_000))
    assert job.delay_ms == 60_000


@PROFILES
@pytest.mark.parametrize(
    ("delay", "window", "lifetime"),
    [
        (60_000, None, 3660),
        (1_500, None, 3601),
        (300, None, 3601),
        (999, None, 3601),
        (2_000, None, 3602),
        (timedelta(days=30), None, 2_595_600),
        (60_000, 1, 61),
        (60_000, 10_500, 71),
        (60_000, 0, 61),
    ],
)
def test_the_marker_outlives_a_delayed_job_by_the_window(profile, delay, window, lifetime):
    call, _ = added(producing(dedup_window_ms=window), profile, job_id="d-1", delay=delay)
    keys, (_, _, member, seconds) = scripted(command(call), "add_delayed_unique", profile)
    assert keys == [KEYS.delayed, KEYS.wake, KEYS.dedup_marker("d-1"), KEYS.delayed_index("d-1")]
    assert seconds == b"%d" % lifetime
    assert decode_envelope(decode_member(member)[1]).job_id == "d-1"


@pytest.mark.parametrize(("window", "seconds"), [(None, 3600), (1, 1), (0, 1), (1_001, 2), (timedelta(days=1), 86_400)])
def test_the_window_of_an_immediate_job_is_whole_seconds_rounded_up(window, seconds):
    call, _ = added(producing(dedup_window_ms=window), CLASSIC, job_id="a")
    assert scripted(command(call), "add_unique", CLASSIC)[1][0] == b"%d" % seconds


@pytest.mark.parametrize("limit", [None, 1000, timedelta(seconds=1)])
def test_the_longest_delay_passes_and_one_millisecond_more_does_not(limit):
    longest = 2_592_000_000 if limit is None else 1000
    producer = producing(max_delay_ms=limit)
    for delay in (longest, at(longest)):
        added(producer, CLASSIC, delay=delay)
    for delay in (longest + 1, at(longest + 1)):
        with pytest.raises(InvalidOptionError, match="max_delay_ms"):
            added(producer, CLASSIC, delay=delay)


def test_a_limit_of_0_allows_any_delay():
    call, _ = added(producing(max_delay_ms=0), CLASSIC, delay=timedelta(days=3650))
    assert scripted(command(call), "add_delayed", CLASSIC)[1][0] == b"%d" % (3650 * 86_400_000)


# -- told in the events stream ---------------------------------------------------------------------------------


@PROFILES
def test_a_told_add_is_one_script_for_job_and_event(profile):
    call, job = added(producing(events=True), profile, "発送", [1], attempts=2)
    keys, (length, ts, producer_id, job_id, envelope, name) = scripted(command(call), "add_jobs", profile)
    assert keys == [KEYS.stream, KEYS.events]
    assert (length, ts, name.decode()) == (b"100000", b"%d" % NOW, "発送")
    assert (job_id.decode(), decode_envelope(envelope).job_id) == (job.job_id, job.job_id)
    assert decode_envelope(envelope).max_attempts == 2
    assert producer_id.decode() == (PRODUCER_ID if profile.has_idmp else "")
    assert call.idempotent is profile.has_idmp, "without IDMP a second sending would add a second job"
    assert not call.repeatable
    (evaluated,) = commands(call.eval_form(0))
    assert evaluated[2:] == command(call)[2:]


def test_the_answer_to_a_told_add_is_that_of_its_job():
    call, _ = added(producing(events=True), CLASSIC)
    assert answer(call, [b"1-1"]) is False
    with pytest.raises(ServerReplyError, match="WRONGTYPE"):
        answer(call, [error("WRONGTYPE x")])
    with pytest.raises(ServerReplyError, match="OOM"):
        answer(call, error("OOM x"))


@PROFILES
@pytest.mark.parametrize(
    ("given", "script", "event"),
    [
        ({"job_id": "a"}, "add_unique", [b"e", b"waiting", b"id", b"a", b"ts", b"%d" % NOW, b"n", b"w"]),
        (
            {"job_id": "a", "delay": 5, "name": ""},
            "add_delayed_unique",
            [b"e", b"delayed", b"id", b"a", b"ts", b"%d" % NOW, b"delay_ms", b"5"],
        ),
        ({"job_id": "a", "delay": at(60_000)}, "add_delayed_unique", [b"n", b"w", b"delay_ms", b"60000"]),
        ({"delay": 60_000}, "add_delayed", [b"n", b"w", b"delay_ms", b"60000"]),
    ],
    ids=["unique", "delayed unique", "instant", "delayed"],
)
def test_other_scripts_are_given_the_event_besides(profile, given, script, event):
    told, _ = added(producing(events=True), profile, **given)
    plain, _ = added(producing(), profile, **given)
    keys, arguments = scripted(command(told), script, profile)
    plain_keys, plain_arguments = scripted(command(plain), script, profile)
    assert keys == [*plain_keys, KEYS.events]
    assert arguments[len(plain_arguments)] == b"100000"
    assert arguments[-len(event) :] == event
    assert (told.idempotent, told.repeatable) == (plain.idempotent, plain.repeatable)


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"delay": -1}, InvalidOptionError),
        ({"delay": datetime(2026, 1, 1)}, InvalidOptionError),
        ({"delay": datetime(1960, 1, 1, tzinfo=UTC)}, InvalidOptionError),
        ({"delay": "5"}, InvalidOptionTypeError),
        ({"attempts": 0}, InvalidOptionError),
        ({"attempts": 2**32}, InvalidOptionError),
        ({"attempts": 1.5}, InvalidOptionTypeError),
        ({"backoff": "slow"}, InvalidOptionTypeError),
        ({"backoff": -1}, InvalidOptionError),
        ({"job_id": " "}, InvalidJobIdError),
        ({"job_id": 7}, InvalidJobIdError),
        ({"timestamp": -1}, InvalidOptionError),
        ({"parent": {"id": "1"}}, NotSupportedError),
        ({"name": "x" * 257}, InvalidOptionError),
        ({"name": None}, InvalidOptionTypeError),
        ({"data": {1, 2}}, PayloadEncodeError),
        ({"data": 2**64}, PayloadEncodeError),
        ({"opts": {"delays": 1}}, InvalidOptionTypeError),
    ],
)
def test_a_wrong_argument_is_refused_before_there_is_a_call(given, kind):
    with pytest.raises(kind):
        added(producing(), CLASSIC, **given)


@pytest.mark.parametrize("attempts", [1, 2**32 - 1])
def test_the_bounds_of_attempts_pass(attempts):
    call, _ = added(producing(), CLASSIC, attempts=attempts)
    assert decode_envelope(pairs(command(call)[3:])[b"d"]).max_attempts == attempts


LARGEST_BACKOFF = BackoffSpec.exponential(2**53, multiplier=2.0, max_delay_ms=2**53, jitter_ms=2**53)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"job_id": "a"},
        {"job_id": "発" * 100},
        {"attempts": 2**32 - 1, "backoff": 250},
        {"job_id": "a", "attempts": 2**32 - 1, "backoff": LARGEST_BACKOFF},
        {"job_id": "発" * 100, "attempts": 2**32 - 1, "backoff": LARGEST_BACKOFF, "delay": 1000},
    ],
)
@pytest.mark.parametrize("fill", [100, 70_000])
def test_the_size_limit_is_exact_whatever_stands_in_the_envelope(given, fill):
    def envelope_size(limit):
        producer = producing(max_payload_bytes=limit)
        return len(envelope_in(added(producer, CLASSIC, data=b"x" * fill, **given)[0], given))

    size = envelope_size(10**9)
    assert envelope_size(size) == size
    with pytest.raises(PayloadTooLargeError) as refused:
        envelope_size(size - 1)
    assert (refused.value.size, refused.value.limit) == (size, size - 1)


def envelope_in(call, given):
    if "delay" in given:
        return decode_member(scripted(command(call), "add_delayed_unique", CLASSIC)[1][2])[1]
    if "job_id" in given:
        return scripted(command(call), "add_unique", CLASSIC)[1][2]
    return pairs(command(call)[3:])[b"d"]


# -- options of the queue --------------------------------------------------------------------------------------


def test_defaults_of_the_queue_then_opts_then_keywords():
    producer = producing(default_job_options={"attempts": 2, "backoff": 100, "delay": 1000})
    opts = JobsOptions(attempts=3, backoff=200)
    assert producer.options(None, {}) == JobsOptions(attempts=2, backoff=100, delay=1000)
    assert producer.options(opts, {}) == JobsOptions(attempts=3, backoff=200, delay=1000)
    assert producer.options(opts, {"backoff": 300}) == JobsOptions(attempts=3, backoff=300, delay=1000)
    assert producer.options({"delay": 0}, {}).delay == 0


def test_without_defaults_and_options_there_is_nothing_to_check():
    assert producing().options(None, {}) is None


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("max_payload_bytes", 0, InvalidOptionError),
        ("max_payload_bytes", 1.5, InvalidOptionTypeError),
        ("max_delay_ms", -1, InvalidOptionError),
        ("dedup_window_ms", "1h", InvalidOptionTypeError),
        ("default_job_options", {"retries": 1}, InvalidOptionTypeError),
        ("default_job_options", 5, InvalidOptionTypeError),
    ],
)
def test_a_wrong_option_of_the_queue_is_refused(option, value, kind):
    with pytest.raises(kind):
        producing(**{option: value})


def test_the_defaults_of_a_queue():
    assert producer_settings(QueueOptions()) == ProducerSettings(1_048_576, 2_592_000_000, 3_600_000, None)


# -- answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("OOM command not allowed", ServerReplyError, "maxmemory"),
        ("READONLY You can't write", ServerReplyError, "primary"),
        ("NOPERM no rights", ServerReplyError, "ACL"),
        ("WRONGTYPE Operation", ServerReplyError, "Another program"),
        ("NOAUTH Authentication required.", AuthenticationError, "credentials"),
        ("", ServerReplyError, "queue.add"),
    ],
)
def test_an_error_reply_names_the_call_and_what_to_do(text, kind, said):
    call, _ = added(producing(), CLASSIC)
    with pytest.raises(kind, match=said) as raised:
        answer(call, error(text))
    assert "queue.add" in str(raised.value)
    if kind is ServerReplyError:
        assert raised.value.code == (text.split(" ")[0] or "ERR")


@PROFILES
def test_cancelling_is_never_repeated_blindly_and_finds_or_refuses(profile):
    call = producing().cancel("d-1", profile)
    keys, arguments = scripted(command(call), "cancel_delayed", profile)
    assert keys == [KEYS.delayed, KEYS.delayed_index("d-1"), KEYS.dedup_marker("d-1")]
    assert arguments == []
    assert not call.idempotent
    assert answer(call, 1) == 1
    with pytest.raises(NotSupportedError, match="'d-1'"):
        answer(call, 0)
    with pytest.raises(ServerReplyError, match=r"queue\.remove"):
        answer(call, error("WRONGTYPE x"))
    with pytest.raises(InvalidJobIdError):
        producing().cancel("", profile)
