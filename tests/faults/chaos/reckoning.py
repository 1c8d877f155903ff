"""Holds the two books of a chaos run against each other: what the processes wrote down, and what the server did.

``reckon`` counts and judges; it looks at files only, so that a run can be judged again, and a forged one too.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.faults.chaos.journal import Journal

WAITING_S = 5.0
"""How long an entry may have been in a worker's hands before its start."""
Row = dict[str, Any]
EXPECTED_ERRORS = ("RedisConnectionError", "RedisTimeoutError", "ServerReplyError", "LeaseLostError")
WHOLE_MS = 0.002
"""Due times are whole milliseconds of another clock than the ledger's."""


@dataclass
class Reckoning:
    """The ledger of a run, and everything that should not stand in it."""

    numbers: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(f"{name:22}{count:9,}" for name, count in self.numbers.items())


@dataclass
class _Jobs:
    """What the processes wrote down of their jobs, by token or id."""

    delays: dict[str, int] = field(default_factory=dict)
    """Of every token that a producer was about to add."""
    asked_at: dict[str, float] = field(default_factory=dict)
    confirmed: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    starts: defaultdict[str, list[tuple[float, int, bool]]] = field(default_factory=lambda: defaultdict(list))
    ends: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    odd_errors: list[str] = field(default_factory=list)
    lost_leases: int = 0
    seen: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Event ids by reader, in the order of its processes."""
    gaps: Counter[str] = field(default_factory=Counter)


def reckon(folder: Path, journals: Sequence[Journal], disturbances: Sequence[tuple[float, float]]) -> Reckoning:
    """``disturbances``: from when to when the count of deliveries was lost, because the group or all data went."""
    jobs = _read(_rows(folder))
    result = Reckoning()
    _count(result, jobs, journals)
    _judge_adds(result, jobs, journals)
    _judge_ends(result, jobs, journals)
    _judge_runs(result, jobs, journals, disturbances)
    _judge_events(result, jobs, journals)
    result.breaches += [f"unexpected: {text}" for text in jobs.odd_errors]
    result.breaches += [breach for journal in journals for breach in journal.breaches]
    return result


def _rows(folder: Path) -> Iterator[tuple[str, Row]]:
    """Every line of every process, with its role's name; processes of one role in their order."""
    ledgers = [(path.name.split(".")[0], int(path.name.split(".")[1]), path) for path in folder.glob("*.jsonl")]
    for name, _, path in sorted(ledgers):
        with path.open() as file:
            for line in file:
                if line.endswith("\n"):  # else its writer was killed over it
                    yield name, json.loads(line)


def _read(rows: Iterable[tuple[str, Row]]) -> _Jobs:
    jobs = _Jobs()
    for name, row in rows:
        match row["event"]:
            case "start":
                jobs.starts[row["id"]].append((row["at"], row["run"], row["redelivered"]))
            case "end":
                jobs.ends[row["id"]] += 1
            case "seen":
                jobs.seen[name].append(row["event_id"])
            case "gap":
                jobs.gaps[name] += 1
            case "adding":
                for token, delay in zip(row["tokens"], row["delays"], strict=True):
                    jobs.delays.setdefault(token, delay)
                    jobs.asked_at.setdefault(token, row["at"])
            case "added":
                jobs.confirmed |= dict(zip(row["tokens"], row["ids"], strict=True))
            case "refused":
                jobs.refused.update(row["tokens"])
            case "unknown":
                jobs.unknown.update(row["tokens"])
            case "removed":
                jobs.removed.update(row["tokens"])
            case "answered" | "wrong answer":
                jobs.answers[row["event"]] += 1
            case "error" | "trouble":
                jobs.lost_leases += "LeaseLostError" in row["text"]
                if not any(kind in row["text"] for kind in EXPECTED_ERRORS):
                    jobs.odd_errors.append(f"{name}: {row['text']}")
    return jobs


def _count(result: Reckoning, jobs: _Jobs, journals: Sequence[Journal]) -> None:
    total: Counter[str] = sum((journal.counts for journal in journals), Counter())
    starts = sum(len(rows) for rows in jobs.starts.values())
    first_runs = sum(len({run for _, run, _ in rows}) for rows in jobs.starts.values())
    result.numbers |= {
        "asked for": len(jobs.delays),
        "confirmed": len(jobs.confirmed),
        "refused": len(jobs.refused),
        "added": total["added"],
        "fired by schedules": total["fired"],
        "promoted": total["promoted"],
        "runs begun": starts,
        "runs ended well": jobs.ends.total(),
        "acknowledged": total["acknowledged"],
        "retried": total["retried"],
        "dead": total["dead"],
        "replayed": total["replayed"],
        "cancelled": total["cancelled"],
        "redelivered": starts - first_runs,
        "leases lost": jobs.lost_leases,
        "events read": sum(map(len, jobs.seen.values())),
        "results asked for": jobs.answers.total(),
        "gone with the data": sum(len(journal.waiting) for journal in journals[:-1]),
    }


def _judge_adds(result: Reckoning, jobs: _Jobs, journals: Sequence[Journal]) -> None:
    arrived = {token for journal in journals for token in journal.tokens.values()}
    lost = jobs.confirmed.keys() - arrived
    untrue = (jobs.refused - jobs.unknown - jobs.confirmed.keys()) & arrived
    doubled = [job_id for journal in journals for job_id, times in journal.added.items() if times > 1]
    open_ = jobs.delays.keys() - jobs.confirmed.keys() - jobs.refused
    result.numbers |= {
        "never answered": len(open_),
        "… of them arrived": len(open_ & arrived),
        "lost adds": len(lost),
        "doubled adds": len(doubled),
        "untrue refusals": len(untrue),
        "wrong answers": jobs.answers["wrong answer"],
    }
    result.breaches += [f"{token} was confirmed and never arrived" for token in sorted(lost)]
    result.breaches += [f"{token} was said to have had no effect and arrived" for token in sorted(untrue)]
    result.breaches += [f"job {job_id} was added twice" for job_id in doubled]
    result.breaches += ["a result was given to the wrong caller"] * jobs.answers["wrong answer"]
    strangers = arrived - jobs.delays.keys()
    result.breaches += [f"{token} arrived and nobody had added it" for token in sorted(strangers)]


def _judge_ends(result: Reckoning, jobs: _Jobs, journals: Sequence[Journal]) -> None:
    """Each job ends in exactly one way, and none is acknowledged that did not run to its end."""
    lost: list[str] = []
    doubled: list[str] = []
    for number, journal in enumerate(journals):
        is_last = number == len(journals) - 1
        waiting, in_dlq = journal.waiting, journal.jobs_in("dlq")
        if is_last:
            result.breaches += [f"job {job_id} is left waiting" for job_id in sorted(waiting)]
        lost += [job_id for job_id in journal.acknowledged if not jobs.ends[job_id]]
        doubled += [job_id for job_id, times in journal.acknowledged.items() if times > 1]
        for job_id in journal.tokens:
            ends = [
                name
                for name, has in {
                    "done": journal.acknowledged[job_id],
                    "cancelled": journal.cancelled[job_id],
                    "dead": job_id in in_dlq,
                    "waiting": job_id in waiting,
                }.items()
                if has
            ]
            if len(ends) != 1:
                result.breaches.append(f"job {job_id} ended as {ends} in life {number + 1}")
    result.numbers |= {"lost": len(lost), "doubled successes": len(doubled)}
    result.breaches += [f"job {job_id} was acknowledged and never ran to its end" for job_id in lost]
    result.breaches += [f"job {job_id} was acknowledged twice" for job_id in doubled]


def _judge_runs(
    result: Reckoning, jobs: _Jobs, journals: Sequence[Journal], disturbances: Sequence[tuple[float, float]]
) -> None:
    tokens = {job_id: token for journal in journals for job_id, token in journal.tokens.items()}
    replayed = {job_id for journal in journals for job_id in journal.replayed}
    early = unsaid = 0
    for job_id, rows in jobs.starts.items():
        rows.sort()
        token = tokens.get(job_id)
        if token is not None:
            if rows[0][0] + WHOLE_MS < jobs.asked_at[token] + jobs.delays[token] / 1000:
                early += 1
                result.breaches.append(f"job {job_id} started before it was due")
            if token in jobs.removed:
                result.breaches.append(f"job {job_id} was removed and ran")
        # The first delivery of a run does not say that it came again. Its line may be the later one all the same: a
        # process that is stopped between a job's start and its own note writes when it goes on.
        first_deliveries: dict[int, list[float]] = defaultdict(list)
        for at, run, redelivered in rows:
            if not redelivered:
                first_deliveries[run].append(at)
        for run, times in first_deliveries.items():
            for before, at in pairwise(times):
                was_disturbed = job_id in replayed or any(
                    before - WAITING_S <= over and begun <= at for begun, over in disturbances
                )
                if not was_disturbed:
                    unsaid += 1
                    result.breaches.append(f"run {run} of job {job_id} came again and did not say so")
    result.numbers |= {"early starts": early, "unsaid redeliveries": unsaid}


def _judge_events(result: Reckoning, jobs: _Jobs, journals: Sequence[Journal]) -> None:
    """Every reader has every event once, except those that went with the data before it had come to them."""
    missed = repeated = 0
    for name, seen in jobs.seen.items():
        order = [tuple(map(int, event_id.split("-"))) for event_id in seen]
        repeated += sum(after <= before for before, after in pairwise(order))
        for journal in journals:
            there = set(journal.events)
            read = there.intersection(seen)
            last = max((journal.events.index(event_id) for event_id in read), default=-1)
            expected = journal.events if journal is journals[-1] else journal.events[: last + 1]
            missed += len(set(expected) - read)
        if jobs.gaps[name] > len(journals) - 1:
            result.breaches.append(f"{name} was told of {jobs.gaps[name]} gaps")
    result.numbers |= {"events missed": missed, "events repeated": repeated}
    if missed or repeated:
        result.breaches.append(f"{missed} events were missed and {repeated} came twice")
