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
    numbers = array.array("I")
    numbers.frombytes(lzma.decompress((_DATA / f"{name}.u32.xz").read_bytes()))
    return list(map(str, numbers))


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
    sizes = json.loads((_DATA / "reference.json").read_text())["traces"][name]["sizes"]
    return {int(size): counts for size, counts in sizes.items()}


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
