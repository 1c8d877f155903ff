"""Where the server of one queue is now.

A plain address is where it says. With Sentinel and Cluster the primary has to be found, and may be another one a
minute later. One ``Location`` is shared by all connections of a client: what one of them learns (``MOVED``,
``READONLY``, a broken connection), the others follow. Finding is a generator, as the handshake is: it yields what to
ask whom and is sent the replies. It must never do I/O, and never trust old news: each report names the ``epoch`` of
the connection that it comes from, and one from before the last move is ignored.

It may be used from several threads: a race costs a look-up more, never a wrong answer, because whoever connects to
the wrong server is turned away there.
"""

from __future__ import annotations

import binascii
import itertools
from collections.abc import Callable, Generator, Sequence

import hiredis

from chasquimq._core.call import Reply
from chasquimq._dataclass import dataclass, replace
from chasquimq._fast import pack_command
from chasquimq.address import Address, Node, Sentinels, node_text
from chasquimq.errors import AuthenticationError, ChasquiError, RedisConnectionError, ServerReplyError

__all__ = ["Finding", "Location", "Question", "key_slot"]

SLOTS = 16_384
PLAIN_PATIENCE_MS = 300
"""How long a call goes on at a lone server that does not serve: enough for a name that is about to point elsewhere."""
CONFIRM_INTERVAL_MS = 1_000
"""How often a client that is in use asks the sentinels whether the primary is still the same. In a failover by hand
the old primary goes on taking writes for about ten seconds, and then forgets them."""
UNCONFIRMED_INTERVAL_MS = 10_000
"""The same when no sentinel answers: what works is not to be held up by them."""
ASKED_AT_ONCE = 5
"""How many nodes of a Cluster are asked in one attempt; the others are asked in the next one."""


@dataclass(frozen=True, slots=True)
class Question:
    """One command for a server that may know where the primary is, on a connection of its own."""

    to: Address
    request: bytes


Finding = Generator[Question, list[Reply], Address]


def key_slot(key: bytes) -> int:
    """The Cluster slot of a key: CRC16 of its hash tag, or of all of it."""
    start = key.find(b"{") + 1
    end = key.find(b"}", start) if start else -1
    return binascii.crc_hqx(key[start:end] if end > start else key, 0) % SLOTS


class Location:
    """The place of one queue. ``key``: any of its keys; they all have one slot."""

    def __init__(self, given: Address, key: bytes = b"", on_move: Callable[[], None] | None = None) -> None:
        """``on_move`` is called when connections of an older epoch are not to be used again, by whoever noticed."""
        self.given = given
        self._key = key
        self._on_move = on_move
        self._epochs = itertools.count(1)
        self.epoch = 0
        """The number of this place; raised whenever the server is another one."""
        self._is_cluster = bool(given.startup_nodes)
        sentinels = given.sentinels
        self._nodes: list[Node] = list(sentinels.nodes if sentinels is not None else given.startup_nodes)
        is_found = not (self._nodes or given.embedded)
        self.home: Address | None = given if is_found else None
        """Where connections are opened; None: it has to be found."""
        self._last = self.home
        self._guide: Node | None = None
        """Who has told where ``home`` is."""
        self.is_watched = sentinels is not None
        """Whether sentinels are to be asked now and then."""
        self._ask_at = 0.0

    @property
    def may_move(self) -> bool:
        """Whether there is somebody to ask for another server."""
        return self._is_cluster or self.given.sentinels is not None

    @property
    def patience_ms(self) -> int:
        """How long a call goes on looking for a server that serves."""
        return self.given.failover_timeout_ms if self.may_move else PLAIN_PATIENCE_MS

    # -- what connections report ----------------------------------------------------------------------------------

    def place(self, address: Address) -> None:
        """The server is there: it was found, or has just been started."""
        has_moved = self._last is not None and address != self._last
        self.home = self._last = address
        if has_moved:
            self._move()

    def lost(self, epoch: int) -> None:
        """A connection broke, or could not be opened: before the next one is, the primary is asked for again."""
        if epoch != self.epoch or not self.may_move:
            return
        self.home = None
        if self._guide is not None:
            self._ask_last(self._guide)  # who has named a server that is none may not know better
        if self._is_cluster and self._last is not None:
            self._ask_last((self._last.host, self._last.port))

    def refused(self, epoch: int) -> None:
        """The server has said that it does not serve the queue: no connection to it is of use."""
        if epoch == self.epoch:
            self.lost(epoch)
            self._move()

    def moved(self, node: Node, epoch: int) -> None:
        """The server has said who serves the queue's slot. A plain address turns out to be a Cluster's so."""
        if epoch != self.epoch:
            return
        if not self._is_cluster:
            self._is_cluster = True
            self._nodes = [] if self.given.unix_socket_path else [(self.given.host, self.given.port)]
        address = self.address_of(node)
        self._know((address.host, address.port))
        if address != self.home:
            self.home = self._last = address
            self._move()

    def begins_to_doubt(self, now_ms: float) -> bool:
        """Whether it is time to ask the sentinels again. Whoever is told so asks; the others go on meanwhile."""
        if now_ms < self._ask_at or self.home is None:
            return False
        self._ask_at = now_ms + CONFIRM_INTERVAL_MS
        return True

    def stays_in_doubt(self, now_ms: float) -> None:
        """Nobody has answered: what is known is believed for a while."""
        self._ask_at = now_ms + UNCONFIRMED_INTERVAL_MS

    def address_of(self, node: Node) -> Address:
        """How to connect to a server that another one has named."""
        host = node[0] or (self._last or self.given).host
        return replace(
            self.given,
            host=host,
            port=node[1],
            unix_socket_path=None,
            sentinels=None,
            startup_nodes=(),
            role="primary" if self.given.sentinels is not None else "any",
        )

    def _move(self) -> None:
        self.epoch = next(self._epochs)
        if self._on_move is not None:
            self._on_move()

    def _know(self, node: Node) -> None:
        if node not in self._nodes:
            self._nodes.append(node)

    def _ask_last(self, node: Node) -> None:
        if node in self._nodes:
            self._nodes = [*(other for other in self._nodes if other != node), node]

    # -- asking for it ---------------------------------------------------------------------------------------------

    def find(self) -> Finding:
        """Asks until somebody knows; returns the primary's address, which is also ``home`` from then on.

        Raises ``RedisConnectionError`` when nobody knows, ``AuthenticationError`` when nobody lets us ask, and
        ``ServerReplyError`` when there is no Cluster.
        """
        sentinels = self.given.sentinels
        found = yield from self._ask_cluster() if sentinels is None else self._ask_sentinels(sentinels)
        self.place(found)
        return found

    def _ask_sentinels(self, sentinels: Sentinels) -> Finding:
        request = pack_command([b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", sentinels.service_name])
        failures: list[Exception | str] = []
        for node in list(self._nodes):
            try:
                replies = yield Question(self._address_of_sentinel(sentinels, node), request)
            except ChasquiError as error:
                failures.append(error)
                continue
            told = replies[0]
            if isinstance(told, list) and len(told) == 2:
                self._nodes = [node, *(other for other in self._nodes if other != node)]
                self._guide = node
                return self.address_of((told[0].decode(), int(told[1])))
            what = f"says {told}" if isinstance(told, hiredis.ReplyError) else "knows no service of this name"
            failures.append(f"{node_text(node)} {what}")
        raise self._nobody_knows(f"the primary of {sentinels.service_name!r}", failures)

    def _address_of_sentinel(self, sentinels: Sentinels, node: Node) -> Address:
        return Address(
            host=node[0],
            port=node[1],
            username=sentinels.username,
            password=sentinels.password,
            tls=sentinels.tls,
            client_name=self.given.client_name,
            connect_timeout_ms=self.given.discovery_timeout_ms,
            socket_timeout_ms=self.given.discovery_timeout_ms,
            role="sentinel",
        )

    def _ask_cluster(self) -> Finding:
        slot = key_slot(self._key)
        limit_ms = self.given.discovery_timeout_ms
        failures: list[Exception | str] = []
        for node in self._nodes[:ASKED_AT_ONCE]:
            to = self.address_of(node)
            question = replace(
                to,
                connect_timeout_ms=min(to.connect_timeout_ms, limit_ms),
                socket_timeout_ms=min(to.socket_timeout_ms, limit_ms),
            )
            try:
                replies = yield Question(question, pack_command([b"CLUSTER", b"SLOTS"]))
            except ChasquiError as error:
                failures.append(error)
            else:
                owner = self._owner(replies[0], slot, to)
                if not isinstance(owner, str):
                    self._guide = node
                    return self.address_of(owner)
                failures.append(owner)
            self._ask_last(node)
        raise self._nobody_knows(f"the node that serves slot {slot}", failures)

    def _owner(self, told: Reply, slot: int, asked: Address) -> Node | str:
        """The primary of the slot in an answer to CLUSTER SLOTS, or why there is none.

        All servers in it can be asked the next time.
        """
        node = (asked.host, asked.port)
        if isinstance(told, hiredis.ReplyError):
            if str(told).startswith("NOPERM"):
                return node  # whoever may not ask is told by MOVED
            if self.given.startup_nodes and "cluster support disabled" in str(told):
                raise ServerReplyError(
                    f"{asked.display} is not a node of a Cluster ({told}). Nothing was written. "
                    "If it is a lone server, connect with redis:// instead of redis+cluster://.",
                    code=str(told).partition(" ")[0],
                )
        if not isinstance(told, list):
            return f"{node_text(node)} says {told}"
        owner = None
        for first, last, *servers in told:
            # A node that does not know its own name yet is the one that was asked, or shows as a question mark.
            nodes = [(host.decode() if host else asked.host, port) for host, port, *_ in servers]
            for each in nodes:
                if each[0] != "?":
                    self._know(each)
            if first <= slot <= last and nodes[0][0] != "?":
                owner = nodes[0]
        return owner or f"{node_text(node)} knows no node that serves slot {slot}"

    def _nobody_knows(self, what: str, failures: Sequence[Exception | str]) -> RedisConnectionError:
        reasons = " ".join(f"{str(failure).rstrip('.')}." for failure in failures)
        if all(isinstance(failure, AuthenticationError) for failure in failures):
            return AuthenticationError(
                f"Cannot ask for {what}: {reasons} The credentials of sentinels are sentinel_username and "
                "sentinel_password, others than the server's."
                if self.given.sentinels is not None
                else f"Cannot ask for {what}: {reasons}"
            )
        return RedisConnectionError(
            f"Cannot find {what} through {self.given.display}: {reasons} Nothing was sent to it. "
            "In a failover that passes by itself; else check the names, the ports, and what runs there."
        )
