"""Recorded accesses of others, where they are at hand: ``TOOLCACHE_DATA`` or ``../shared/data`` beside the repository."""

import array
import json
import lzma
import os
import random
from pathlib import Path
from typing import Any

from toolcache.protocols import MemoryPolicy
from toolcache.testing.policies import PolicyDriver

_DATA = Path(os.environ.get("TOOLCACHE_DATA") or Path(__file__).parents[3] / "shared" / "data") / "traces"

QUICK = ("glimpse", "multi1", "two_pools", "web12", "cdn_sized")
"""Traces that take no more than a few seconds together, whatever the policy."""


def traces(*names: str) -> list[str]:
    """Those of the traces that are at hand."""
    return [name for name in names if (_DATA / f"{name}.u32.xz").exists()]


def read_trace(name: str) -> list[str]:
    """The keys in order of access."""
    return list(map(str, read_side(name)))


def read_side(name: str) -> "array.array[int]":
    """Numbers, one for each access: sizes, instants, or the keys themselves."""
    numbers = array.array("I")
    numbers.frombytes(lzma.decompress((_DATA / f"{name}.u32.xz").read_bytes()))
    return numbers


def made_trace() -> list[str]:
    """Few keys asked for often, many seldom, and a scan now and then; the same on every machine."""
    dice = random.Random(7)  # a fixed seed: the trace is part of the test
    trace: list[str] = []
    for round_ in range(60):
        trace += [str(int(dice.paretovariate(0.6)) % 3_000) for _ in range(400)]
        trace += [f"scan{round_}.{number}" for number in range(100)]
    return trace


def looping_trace() -> list[str]:
    """1,000 keys, one after another, a hundred times."""
    return [str(number) for number in range(1_000)] * 100


def recent_trace() -> list[str]:
    """New keys all the time, each asked for a few times within the next few hundred, and never again."""
    dice = random.Random(7)
    trace: list[str] = []
    for number in range(30_000):
        trace.append(str(number))
        trace.append(str(max(0, number - dice.randrange(400))))
    return trace


def reference(name: str) -> dict[int, dict[str, Any]]:
    """Hit counts and ratios by cache size, in entries, and policy."""
    return {int(size): counts for size, counts in _reference()["traces"][name]["sizes"].items()}


def weighted() -> dict[int, dict[str, Any]]:
    """What others find on ``cdn_sized`` by capacity in bytes; nothing if it is not at hand."""
    told = _reference().get("weighted_cdn_sized", {"capacities_bytes": {}})
    return {int(capacity): counts for capacity, counts in told["capacities_bytes"].items()}


def lifetimes(name: str) -> dict[tuple[int, float], dict[str, int]]:
    """Hits of LRU with expiry, by size in entries and lifetime in seconds."""
    found = {}
    for key, counts in _reference()["ttl"].items():
        trace, size, ttl = key.split("/")
        if trace == name and size != "inf":
            found[int(size), float(ttl.removesuffix("ms")) / 1000 if ttl.endswith("ms") else float(ttl[:-1])] = counts
    return found


def _reference() -> dict[str, Any]:
    file = _DATA / "reference.json"
    told: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return told


def hits_on(trace: list[str], policy: MemoryPolicy, size: int) -> int:
    """Hits of a cache of ``size`` entries in which every miss comes in."""
    driver = PolicyDriver(policy)
    hits = 0
    for key in trace:
        if driver.hit(key):
            hits += 1
        else:
            if len(driver.held) >= size:
                driver.evict()
            driver.write(key)
    return hits
