"""How evenly keys spread over shards: ``shard_of`` of docs/scale.md, with keys that are used more or less alike."""

from __future__ import annotations

import math
import zlib
from array import array
from functools import lru_cache

__all__ = ["MOST", "busiest_share", "largest_share", "shards_for"]

MOST = 10.0


def busiest_share(keys: int, shards: int, skew: float) -> float:
    """The share of all jobs that goes to the busiest shard.

    The key in place n is used in proportion to 1/n^skew (Zipf): with 0 all alike, with 1 the first of a million keys
    has 7 % of everything.
    """
    weights = _weights(keys, skew)
    shares = [0.0] * shards
    for place, hashed in enumerate(_hashes(keys)):
        shares[hashed % shards] += weights[place]
    return max(shares) / sum(weights)


def largest_share(keys: int, skew: float) -> float:
    """The share of all jobs that the most used key has: no shard can have less."""
    weights = _weights(keys, skew)
    return weights[0] / sum(weights)


def shards_for(times: float, keys: int, skew: float) -> int | None:
    """How many shards it takes until the busiest one has no more than one shard can bear.

    ``times``: how often what one shard bears goes into everything. None when it takes more than ``MOST`` times as many
    as with jobs that spread by themselves.
    """
    shards = max(1, math.ceil(times))
    while shards <= MOST * times:
        if busiest_share(keys, shards, skew) <= 1 / times:
            return shards
        shards = int(shards * 1.03) + 1
    return None


@lru_cache
def _hashes(keys: int) -> array[int]:
    return array("L", (zlib.crc32(b"customer-%d" % number) for number in range(keys)))


@lru_cache
def _weights(keys: int, skew: float) -> array[float]:
    return array("d", (place**-skew for place in range(1, keys + 1)))
