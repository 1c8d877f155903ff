"""Names that nobody else has: of consumers, producers and the holders of locks.

They are version 4 UUIDs, as with every engine of the protocol. The standard module looks at the platform when it is
loaded, which takes two milliseconds of every start.
"""

from __future__ import annotations

import os

__all__ = ["unique_name"]

_VERSION, _VERSION_MASK = 4 << 76, 0xF << 76
_VARIANT, _VARIANT_MASK = 2 << 62, 3 << 62


def unique_name() -> str:
    """A random UUID, for example ``"0b6f1c1e-6d0a-4f0e-9c7b-2f1d9a4e7c35"``."""
    number = int.from_bytes(os.urandom(16), "big") & ~(_VERSION_MASK | _VARIANT_MASK) | _VERSION | _VARIANT
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
