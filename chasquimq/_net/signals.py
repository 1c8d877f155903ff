"""Where signals can be handled: Python delivers them to the main thread, and to no other."""

from __future__ import annotations

import threading

from chasquimq.errors import NotSupportedError

__all__ = ["check_can_handle_signals"]


def check_can_handle_signals(wanted: bool) -> None:
    """Raises NotSupportedError where ``handle_signals=True`` cannot work."""
    if wanted and threading.current_thread() is not threading.main_thread():
        raise NotSupportedError(
            "handle_signals=True works in the main thread only: Python delivers signals there. "
            "Call run() without it here and close() from a signal handler of your own."
        )
