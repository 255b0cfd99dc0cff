"""How fast the cache is, beside other caches and beside the least that the work could take.

Each module named in ``SCRIPTS`` answers one question, and runs alone: ``python -m benchmarks.hits --quick``. All of them:
``make bench``, which is ``python -m benchmarks``.
"""

from typing import Final

SCRIPTS: Final = (
    "hits",
    "footprint",
    "redis_ops",
    "embeddings",
    "files",
    "log",
    "keys",
    "start",
    "waits",
    "guarantees",
    "dispatch",
    "observing",
)
