"""A lock around what is loaded when it is first used, so that no fork falls into the middle of it.

Another thread that is just importing a module, or setting up OpenSSL, holds locks of theirs; in the child of a fork
nobody would ever let go of them. So a fork waits until it is done. Nothing that takes long may be done under this lock.
"""

from __future__ import annotations

import os
import threading

__all__ = ["first_use"]

first_use = threading.RLock()

os.register_at_fork(before=first_use.acquire, after_in_parent=first_use.release, after_in_child=first_use.release)
