"""How properties are searched here: the same examples in every run, and no verdict about time."""

from hypothesis import settings

__all__ = ["searched"]

searched = settings(derandomize=True, deadline=None, max_examples=150, database=None)
