"""The scales on which insight counts: sizes in eighths of a doubling, lifetimes as people choose them."""

from math import log2
from typing import Final

PER_DOUBLING: Final = 8
"""Buckets of a doubling: each is 9 % wide."""

LEAST_BYTES: Final = 64
BYTES_BUCKETS: Final = 240
ENTRIES_BUCKETS: Final = 208
"""From 64 bytes to 64 GB, and from 1 entry to 64 million."""

LIFETIMES: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0)
"""Lifetimes in seconds, each of which is tried on what is looked up: from a second to 30 days."""


def bytes_bucket(size: float) -> int:
    """The bucket of a size in bytes."""
    if size <= LEAST_BYTES:
        return 0
    return min(int(log2(size / LEAST_BYTES) * PER_DOUBLING), BYTES_BUCKETS - 1)


def entries_bucket(count: float) -> int:
    """The bucket of a number of entries."""
    if count <= 1:
        return 0
    return min(int(log2(count) * PER_DOUBLING), ENTRIES_BUCKETS - 1)


def edge(bucket: int) -> float:
    """Where a bucket begins, as a multiple of the least size."""
    return float(2 ** (bucket / PER_DOUBLING))
