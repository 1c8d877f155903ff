"""The server's own book: what its append-only file says became of every job.

Each line of it is a change that took effect, a script's changes stand together, and a killed process cannot take back
what it says. So it tells, without asking the library or trusting a worker's word, how often a job was added,
acknowledged, put up for another run, set aside, replayed and cancelled, and where it is now. One ``Journal`` is one
life of the server, from empty to the end of its file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import hiredis
import msgpack

from tests.faults.state import envelope, member_envelope

Command = list[bytes]
Place = tuple[str, bytes]
"""Where a job stands: a key (stream, delayed, dlq) and the entry's id or the member."""

CHUNK = 1 << 20


class Journal:
    """One queue in one life of the server."""

    def __init__(self, queue: str) -> None:
        self._prefix = f"{{chasqui:{queue}}}:".encode()
        self.counts: Counter[str] = Counter()
        """``added, acknowledged, retried, dead, promoted, replayed, cancelled, fired``: how often."""
        self.tokens: dict[str, str] = {}
        """The token in a job's data, by job id, for jobs that a producer added."""
        self.added: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.replayed: Counter[str] = Counter()
        self._jobs = {
            "added": self.added,
            "acknowledged": self.acknowledged,
            "dead": self.dead,
            "cancelled": self.cancelled,
            "replayed": self.replayed,
        }
        self.events: list[str] = []
        self.breaches: list[str] = []
        self._ids: dict[Place, str] = {}
        self._places: defaultdict[str, set[Place]] = defaultdict(set)
        self._came: dict[Place, str] = {}
        self._went: dict[Place, str] = {}
        self._fired: dict[bytes, int] = {}
        self._next_fire: dict[bytes, float] = {}

    @classmethod
    def read(cls, folder: Path, queue: str) -> Journal:
        """The journal in an ``appendonlydir``, which began with an empty server."""
        journal = cls(queue)
        block: list[Command] | None = None
        for command in _commands(folder):
            word = command[0].upper()
            if word == b"MULTI":
                block = []
            elif word == b"EXEC":
                journal.take(block or [])
                block = None
            elif block is None:
                journal.take([command])
            else:
                block.append(command)
        return journal

    def places(self, key: str) -> set[bytes]:
        """The entry ids or members that stand in a key at the end, by this book."""
        return {mark for (where, mark) in self._ids if where == key}

    def jobs_in(self, key: str) -> set[str]:
        """The jobs that stand in a key at the end."""
        return {job_id for (where, _), job_id in self._ids.items() if where == key}

    @property
    def waiting(self) -> set[str]:
        """The jobs that are neither done nor dead nor cancelled at the end."""
        return {job_id for (where, _), job_id in self._ids.items() if where != "dlq"}

    def take(self, block: list[Command]) -> None:
        """Books commands that took effect in one step."""
        spec: bytes | None = None
        has_moved_on = False
        for command in block:
            word = command[0].upper()
            key = command[1].removeprefix(self._prefix) if len(command) > 1 else b""
            if word == b"XADD" and key in (b"stream", b"dlq"):
                entry_id, fields = _entry(command)
                if entry_id != b"*":  # a repeated add, to which IDMP gave the id of the first one
                    self._enter((key.decode(), entry_id), envelope(fields[b"d"]))
            elif word == b"XADD" and key == b"events":
                self.events.append(_entry(command)[0].decode())
            elif word == b"ZADD" and key == b"delayed":
                for member in command[(4 if command[2].upper() == b"NX" else 3) :: 2]:
                    self._enter(("delayed", member), member_envelope(member))
            elif word in (b"XACKDEL", b"XDEL") and key in (b"stream", b"dlq"):
                for entry_id in command[2:] if word == b"XDEL" else command[5:]:
                    self._leave((key.decode(), entry_id))
            elif word == b"ZREM" and key == b"delayed":
                for member in command[2:]:
                    self._leave(("delayed", member))
            elif word in (b"DEL", b"UNLINK", b"FLUSHALL", b"FLUSHDB", b"XTRIM") and key in (b"", b"stream", b"delayed"):
                raise ValueError(f"nothing here removes a queue: {command}")
            elif word == b"HSET" and key.startswith(b"repeat:spec:") and command[2] == b"fired":
                spec = key.removeprefix(b"repeat:spec:")
                self._count_fires(spec, int(command[3]), len(self._came))
            elif word == b"ZADD" and key == b"repeat":
                has_moved_on = command[3] == spec and float(command[2]) > self._next_fire.get(spec, 0.0)
                self._next_fire[command[3]] = float(command[2])
            elif word == b"ZREM" and key == b"repeat":
                has_moved_on = True
        if spec is not None and not has_moved_on:
            self.breaches.append(f"{spec!r} fired the window of {self._next_fire.get(spec)} and is not past it")
        if self._came or self._went:
            self._book(has_fired=spec is not None)

    def _enter(self, place: Place, job: list[object]) -> None:
        if place in self._ids:
            return  # a member that is there already has a new due time
        job_id, payload = str(job[0]), job[1]
        self._ids[place] = job_id
        if self._went.pop(place, None) is None:
            self._came[place] = job_id
        data = msgpack.unpackb(payload) if isinstance(payload, bytes) else None
        if isinstance(data, dict) and (token := data.get("token")):
            self.tokens[job_id] = token

    def _leave(self, place: Place) -> None:
        job_id = self._ids.pop(place, None)
        if job_id is not None and self._came.pop(place, None) is None:
            self._went[place] = job_id
        elif job_id is not None and not self._places[job_id]:
            self.tokens.pop(job_id, None)  # taken back in the same step: it was never here

    def _book(self, *, has_fired: bool) -> None:
        """What a step meant for each job that it moved."""
        moves: defaultdict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for place, job_id in self._went.items():
            moves[job_id][0].append(place[0])
            self._places[job_id].discard(place)
        for place, job_id in self._came.items():
            moves[job_id][1].append(place[0])
            self._places[job_id].add(place)
        self._went.clear()
        self._came.clear()
        for job_id, (left, entered) in moves.items():
            kind = _KINDS.get((tuple(left), tuple(entered)))
            if kind is None:
                self.breaches.append(f"job {job_id} went from {left} to {entered} in one step")
                continue
            self.counts["fired" if has_fired and kind == "added" else kind] += 1
            if kind in self._jobs:
                self._jobs[kind][job_id] += 1
            if len(self._places[job_id]) > 1:
                self.breaches.append(f"job {job_id} stands in two places at once: {sorted(self._places[job_id])}")

    def _count_fires(self, spec: bytes, fired: int, added: int) -> None:
        if fired != self._fired.get(spec, 0) + added:
            self.breaches.append(f"{spec!r} counts {fired} fires after {self._fired.get(spec, 0)} and {added} new jobs")
        self._fired[spec] = fired


_KINDS = {
    ((), ("stream",)): "added",
    ((), ("delayed",)): "added",
    (("stream",), ()): "acknowledged",
    (("stream",), ("delayed",)): "retried",
    (("stream",), ("dlq",)): "dead",
    (("delayed",), ("stream",)): "promoted",
    (("dlq",), ("stream",)): "replayed",
    (("delayed",), ()): "cancelled",
}
"""What a job's change of place means."""


def _entry(command: Command) -> tuple[bytes, dict[bytes, bytes]]:
    """The id and fields of an XADD as the server writes it down."""
    index = 2
    while (word := command[index].upper()) in _OPTIONS:
        index += _OPTIONS[word]
        if word in (b"MAXLEN", b"MINID"):
            index += command[index] in (b"=", b"~")
            index += 1
    fields = command[index + 1 :]
    return command[index], dict(zip(fields[::2], fields[1::2], strict=True))


_OPTIONS = {
    b"NOMKSTREAM": 1,
    b"KEEPREF": 1,
    b"DELREF": 1,
    b"ACKED": 1,
    b"IDMP": 3,
    b"LIMIT": 2,
    b"MAXLEN": 1,
    b"MINID": 1,
}
"""How many words an option of XADD has; the length to trim to is counted where it is met."""


def _commands(folder: Path) -> Iterator[Command]:
    files = sorted(folder.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    for path in files:
        reader = hiredis.Reader()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                reader.feed(chunk)
                while (command := reader.gets()) is not False:
                    yield command
