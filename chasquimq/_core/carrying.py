"""What cannot be carried to another process: whatever holds connections, threads or tasks.

Decides that such objects refuse to be pickled or copied, with a message that says what to carry instead. A connection's
password would travel with them, and a copy of a worker would be a second one of the same name.
"""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

from chasquimq.errors import InvalidOptionTypeError

__all__ = ["OfOneProcess"]


class OfOneProcess:
    """Base of everything that is connected to a server."""

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        kind = type(self).__name__
        raise InvalidOptionTypeError(
            f"a {kind} cannot be pickled or copied: it has connections of this process. Pass the queue's name and the "
            f"connection's URL to the other process, and create a {kind} there. A process that is forked may use this "
            "one as it is."
        )
