"""Both implementations of ``chasquimq._fast``, past its chooser. ``CHASQUIMQ_PURE=1`` leaves only the pure one."""

from __future__ import annotations

import os
from importlib import import_module
from types import SimpleNamespace

_MODULES = ("entries", "envelope", "frames", "payload", "replies")
_PACKAGES = {"python": "chasquimq._fast._pure", "cython": "chasquimq._fast"}


def _load(package: str) -> SimpleNamespace:
    return SimpleNamespace(**{name: import_module(f"{package}.{name}") for name in _MODULES})


PURE = _load(_PACKAGES["python"])
TWINS = [PURE] if os.environ.get("CHASQUIMQ_PURE") == "1" else [PURE, _load(_PACKAGES["cython"])]
"""The pure one first."""
