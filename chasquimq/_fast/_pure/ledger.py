"""The loops over a batch of entries that a worker goes through: taking in, sorting ends, striking.

Each does for many entries what ``_core`` decides for one, in the same words; there is nothing else to it. They run
for every job, which is why they are here. Dicts and deques are shared with other threads: only single operations
on them are used, each of which is atomic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chasquimq._fast._pure.entries import Entry

__all__ = ["sort_ends", "strike", "take_in"]


def take_in(
    entries: list[Entry], held: dict[bytes, Entry], ready: deque[Entry], lease_until: float, max_attempts: int
) -> tuple[int, list[Entry]]:
    """Enters the entries into ``held`` with their lease and puts those that may run into ``ready``.

    Returns how many those are, and the others: the undecodable, and those whose runs are used up on arrival
    (``_core.outcome.admit`` says why). An entry that is held already is passed over: it is our own, being worked on.
    """
    admitted = 0
    refused = []
    for entry in entries:
        if entry.entry_id in held:
            continue
        entry.lease_until = lease_until
        held[entry.entry_id] = entry
        prior = max(entry.attempt, entry.deliveries - 1)
        limit = max_attempts if entry.max_attempts is None else entry.max_attempts
        if entry.fault is None and prior < limit:
            ready.append(entry)
            admitted += 1
        else:
            refused.append(entry)
    return admitted, refused


def sort_ends(
    ended: Sequence[Entry], certain_after: float
) -> tuple[list[Entry], list[Entry], list[Entry], list[Entry]]:
    """Ended entries by the way they are acknowledged: lease certain, lease doubtful, and both with a result to store.

    A lease is certain when it lasts beyond ``certain_after`` and was not found lost.
    """
    certain: list[Entry] = []
    doubtful: list[Entry] = []
    certain_with_result: list[Entry] = []
    doubtful_with_result: list[Entry] = []
    for entry in ended:
        if entry.lease_until > certain_after and not entry.lost:
            (certain if entry.result is None else certain_with_result).append(entry)
        else:
            (doubtful if entry.result is None else doubtful_with_result).append(entry)
    return certain, doubtful, certain_with_result, doubtful_with_result


def strike(held: dict[bytes, Entry], entries: Sequence[Entry], states: Sequence[int]) -> list[tuple[Entry, int]]:
    """Takes settled entries out of ``held``; returns those whose state is not 1 (done), with their state."""
    odd = []
    for entry, state in zip(entries, states, strict=True):
        held.pop(entry.entry_id, None)
        if state != 1:
            odd.append((entry, state))
    return odd
