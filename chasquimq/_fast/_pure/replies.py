"""Reading the replies of the connection on which a worker reads its stream.

What the reader gives is for ``parse_entries``. The compiled twin parses the entries of ``stream`` while it reads them,
without making lists of lists in between; whatever else comes, it leaves to the reader that it was given, which is all
there is here.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EntryReader"]


class EntryReader:
    """Takes received bytes and gives replies, like the ``hiredis.Reader`` that it is given, whose methods it has."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Any, stream: bytes, max_payload_bytes: int) -> None:  # noqa: ARG002 - for the other twin
        self._reader = reader

    def feed(self, buffer: Any, offset: int, length: int) -> None:
        """These bytes were received."""
        self._reader.feed(buffer, offset, length)

    def gets(self) -> Any:
        """The next reply; False until there is a whole one."""
        return self._reader.gets()

    def has_data(self) -> bool:
        """Whether there are received bytes of a reply that was not given yet."""
        has: bool = self._reader.has_data()
        return has
