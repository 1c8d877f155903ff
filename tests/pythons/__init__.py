"""Other Pythons than the one that runs the tests: found on the machine, or unpacked into the checkout."""

from .provision import SERIES, ensure, ensure_environment, ensure_newest

__all__ = ["SERIES", "ensure", "ensure_environment", "ensure_newest"]
