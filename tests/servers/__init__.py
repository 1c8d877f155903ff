"""Real servers and the reference implementation for the tests: provisioning and processes."""

from .debian import NotAvailable
from .process import RedisServer, TLSFiles
from .provision import RECIPES, ServerBinary, ensure
from .reference import ensure_reference, reference_environment

__all__ = [
    "RECIPES",
    "NotAvailable",
    "RedisServer",
    "ServerBinary",
    "TLSFiles",
    "ensure",
    "ensure_reference",
    "reference_environment",
]
