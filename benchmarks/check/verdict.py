"""Compares counts with the baseline.

On the baseline's own toolchain the counts of our paths are compared as they are: they repeat to a fraction of a
percent. Elsewhere a count means nothing by itself, because another interpreter or compiler changes every one of them;
there our path ÷ the bare path of the same process is compared, with a wider tolerance. It takes most of such a change
out, not all: then a baseline of that toolchain is the better answer, and the verdict says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.check.callgrind import Counts

__all__ = ["OTHER_TOLERANCE", "SAME_TOLERANCE", "Finding", "compare", "differences"]

SAME_TOLERANCE = 0.05
"""Repeated runs differ by less than 0.5 %; what a code change moves by chance, through layout and caches, by 1 to 2."""
OTHER_TOLERANCE = 0.20
"""Between Python 3.11, 3.12 and 3.13 and between -O2 and -O3 the ratios move by up to 15 %."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One path against the baseline. ``change``: +0.10 is ten percent more instructions."""

    path: str
    per_job: float
    ratio: float
    change: float
    is_slower: bool
    is_faster: bool
    """By more than the tolerance: the baseline is out of date and would let a later regression through."""


def differences(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """What is not as it was when the baseline was made."""
    return [f"{name}: {then.get(name)} → {now.get(name)}" for name in now if now.get(name) != then.get(name)]


def compare(counts: Counts, baseline: Counts, *, is_same_toolchain: bool) -> Iterator[Finding]:
    """A finding per path of the baseline. Raises KeyError when a path was not counted."""
    tolerance = SAME_TOLERANCE if is_same_toolchain else OTHER_TOLERANCE
    for path, (old, old_bare) in baseline.items():
        new, new_bare = counts[path]
        change = new / old - 1 if is_same_toolchain else (new / new_bare) / (old / old_bare) - 1
        yield Finding(path, new, new / new_bare, change, change > tolerance, change < -tolerance)
