"""The promise of settling: whatever happens on the way, every entry gets its end exactly once."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.properties import searched
from tests.unit.resp import CLASSIC, XACKDEL
from tests.unit.settling import LEASE, NOW, Worker, book_answers

KINDS = {
    "acked": ("acked", "ack_owned"),
    "stored": ("complete_jobs",),
    "retried": ("retry_jobs",),
    "dead": ("dead_letter",),
}
TROUBLE = [
    "",
    "",
    "lost before it arrived",
    "lost after it was done",
    "lost in the middle",
    "ack_owned",
    "XACKDEL",
    "complete_jobs",
    "retry_jobs",
    "dead_letter",
    "events",
]


@searched
@given(
    rounds=st.lists(
        st.tuples(st.lists(st.sampled_from(sorted(KINDS)), max_size=6), st.sampled_from(TROUBLE)), max_size=12
    ),
    profile=st.sampled_from([CLASSIC, XACKDEL]),
    lease_is_certain=st.booleans(),
)
def test_whatever_happens_every_entry_gets_its_end_exactly_once(rounds, profile, lease_is_certain):
    total = sum(len(kinds) for kinds, _ in rounds)
    worker = Worker(profile, numbers=range(total))
    server = worker.server()
    waiting = iter(worker.entries)
    expected = {}
    now = NOW if lease_is_certain else NOW + LEASE
    for kinds, trouble in [*rounds, ([], ""), ([], "")]:
        for kind in kinds:
            each = next(waiting)
            worker.end(each, kind)
            expected[each.entry_id] = KINDS[kind]
        batch = worker.settlement.take()
        if batch is None:
            continue
        calls = worker.settlement.calls(batch, profile, now)
        server.refuses = {trouble}
        if trouble == "lost before it arrived":
            worker.settlement.put_back(batch)
        elif trouble == "lost after it was done":
            server.run(calls)
            worker.settlement.put_back(batch)
        elif trouble == "lost in the middle":
            server.run(calls[: len(calls) // 2])
            worker.settlement.put_back(batch)
        else:
            book_answers(calls, server.run(calls))
            worker.settlement.booked(batch)
            assert batch.lost == []
    assert worker.settlement.is_empty
    assert len(worker.book) == 0
    assert server.pending == set()
    assert len(server.ends) == total
    for kind, entry_id in server.ends:
        assert kind in expected[entry_id]
