"""How a process of a test writes into its ledger: one line per thing, one ``write`` per line."""

import json
import os
import time
from typing import Any


class Notes:
    """The open ledger of this process."""

    def __init__(self, path: str, by: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._by = by

    def note(self, event: str, **fields: Any) -> None:
        line = {"event": event, "by": self._by, "pid": os.getpid(), "at": time.monotonic()}
        os.write(self._file, json.dumps({**line, **fields}, default=_to_json).encode() + b"\n")


def _to_json(value: Any) -> Any:
    return {"$hex": value.hex()} if isinstance(value, bytes) else repr(value)
