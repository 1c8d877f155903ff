"""Values drawn from a fuzzer's bytes.

A target that needs more than one string of bytes takes what it needs from here. When the bytes have run out, everything
is zero or empty, so that every input is a valid one and a shorter input means a simpler case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

EDGES = (
    *(0, 1, -1, 127, 128, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31), -(2**63), -(2**63) - 1, 10**40),
)


class Source:
    """Reads from the front. ``rest`` takes all that is left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def byte(self) -> int:
        return int.from_bytes(self.take(1), "big")

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        """Up to 255 bytes; with the length 255, two more bytes say how many."""
        size = self.byte()
        return self.take(self.short() if size == 255 else size)

    def text(self) -> str:
        """Any text, also with lone surrogates: those are what bytes that are no UTF-8 become."""
        return self.binary().decode("utf-8", "surrogateescape")

    def whole(self) -> int:
        """A small number, one at an edge, or any of 64 bits."""
        kind = self.byte()
        if kind < 128:
            return kind
        if kind < 192:
            return EDGES[kind % len(EDGES)]
        return int.from_bytes(self.take(8), "big", signed=kind % 2 == 0)

    def choice(self, options: Sequence[T]) -> T:
        return options[self.byte() % len(options)]


def packed(*values: Any) -> bytes:
    """Bytes from which ``binary`` and ``text`` draw these values: seeds are written with it. A number is one byte."""
    parts = []
    for value in values:
        if isinstance(value, int):
            parts.append(bytes([value]))
            continue
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        size = len(data)
        parts.append((bytes([size]) if size < 255 else b"\xff" + size.to_bytes(2, "big")) + data)
    return b"".join(parts)
