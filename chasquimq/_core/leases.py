"""The book of leases: every entry that this worker holds, from the read until its end is written.

An entry is leased from the moment its read was *sent*: the server may have handed it out right then, so nothing
later can be proved. Running and waiting entries are renewed alike, well before half of the lease is over. The
book is shared by threads; it relies on single dict operations being atomic and takes no lock on the hot path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import hiredis

from chasquimq._core.call import Call, Reply, reply_error
from chasquimq._core.keys import QueueKeys
from chasquimq._core.profile import ServerProfile
from chasquimq._core.scripts import Argument, load_script
from chasquimq._fast import Entry
from chasquimq.errors import ServerReplyError

__all__ = ["LeaseBook"]

RENEWALS_PER_LEASE = 3
MAX_RENEWAL_INTERVAL_MS = 10_000
"""Workers of other kinds take over what is idle for 30 s, whatever lease this worker asked for."""
IDS_PER_CALL = 250


class LeaseBook:
    """The entries in this worker's hands, by entry id."""

    __slots__ = ("_settling", "held", "lease_ms", "renewal_interval_ms")

    def __init__(self, lease_ms: int) -> None:
        self.lease_ms = lease_ms
        self.renewal_interval_ms = min(lease_ms / RENEWALS_PER_LEASE, MAX_RENEWAL_INTERVAL_MS)
        self.held: dict[bytes, Entry] = {}
        """By entry id; ``_fast.ledger`` goes through many of them at once."""
        self._settling: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.held)

    def __contains__(self, entry_id: bytes) -> bool:
        return entry_id in self.held

    def lease_from(self, sent_at_ms: float) -> float:
        """Until when the entries are ours whose read or renewal was sent at this (monotonic) time."""
        return sent_at_ms + self.lease_ms

    def drop(self, entry_id: bytes) -> None:
        """Strikes an entry whose end is written, or that is not ours any more."""
        self.held.pop(entry_id, None)

    def settling(self, entry_ids: Iterable[bytes]) -> None:
        """Notes that the ends of these entries are on their way: not finding them now does not mean a lost lease."""
        self._settling.update(entry_ids)

    def settled(self, entry_ids: Iterable[bytes]) -> None:
        """Takes the note back: the answers are in, or the attempt failed."""
        self._settling.difference_update(entry_ids)

    def certain_after(self, now_ms: float) -> float:
        """A lease that lasts beyond this time cannot have been taken over yet, with room for the way to the server."""
        return now_ms + self.lease_ms / 10

    def ids(self) -> list[bytes]:
        return list(self.held)

    def due(self, now_ms: float) -> list[Entry]:
        """The entries whose lease is to be renewed now."""
        renew_before = now_ms + self.lease_ms - self.renewal_interval_ms
        return [entry for entry in list(self.held.values()) if entry.lease_until <= renew_before and not entry.lost]

    def renewal(
        self, entries: Sequence[Entry], keys: QueueKeys, group: bytes, consumer: bytes, profile: ServerProfile
    ) -> Call[list[int]]:
        """The Call that renews these leases; its result goes to ``renewed``."""
        script = load_script("renew_leases", profile)
        arguments: list[Argument] = [group, consumer, *(entry.entry_id for entry in entries)]

        def parse(replies: list[Reply]) -> list[int]:
            if isinstance(replies[0], hiredis.ReplyError):
                error = reply_error("worker.renew", replies[0])
                if isinstance(error, ServerReplyError) and error.code == "NOGROUP":
                    # The group was destroyed, and with it every lease of everybody.
                    return [0] * len(entries)
                raise error
            return list(replies[0])

        return Call(
            "worker.renew",
            script.evalsha([keys.stream], arguments),
            parse,
            idempotent=True,
            eval_form=lambda _: script.eval([keys.stream], arguments),
        )

    def renewed(self, entries: Sequence[Entry], flags: Sequence[int], sent_at_ms: float) -> list[Entry]:
        """Books the result of a renewal sent at this time; returns the entries that were found lost."""
        lost = []
        for entry, flag in zip(entries, flags, strict=True):
            if flag:
                entry.lease_until = self.lease_from(sent_at_ms)
            elif entry.entry_id in self.held and entry.entry_id not in self._settling:
                entry.lost = True
                lost.append(entry)
        return lost
